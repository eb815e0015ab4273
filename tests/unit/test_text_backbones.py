"""Text encoders come from safetensors alone, run no code of their folder, and say what is missing."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file, save_file

from core.errors import InvalidInput, LeptonError
from core.modality.text import FILE, IDS, MASK, TOKENIZER
from core.session import Session
from core.statistics import GRID
from exporters.backbone import Backbone, member
from exporters.compose import Member, compose
from exporters.parity import raw
from exporters.template import identity
from exporters.transform import Transform
from training.backbone import minilm, transformers, wordllama
from training.zoo import Setting


@pytest.fixture
def bert(tmp_path: Path) -> Path:
    return Path(transformers.examples(tmp_path)[0][0])


def load(name: str) -> Backbone:
    return transformers.load(name, Setting())


def test_a_folder_tells_its_windows_and_brings_its_tokenizer(bert: Path) -> None:
    backbone = load(str(bert))
    assert json.loads(backbone.files[FILE]) == {"overlap": 16, "pad": 1, "special": True, "tokens": 66, "windows": 4}
    assert backbone.files[TOKENIZER] == (bert / "tokenizer.json").read_bytes()
    assert (backbone.name, backbone.source, backbone.dimension) == ("transformers:bert", "folder bert", 32)


def test_the_folder_that_weights_are_in_is_no_part_of_their_template(bert: Path, tmp_path: Path) -> None:
    shutil.copytree(bert, tmp_path / "elsewhere" / bert.name)
    one, other = load(str(bert)), load(str(tmp_path / "elsewhere" / bert.name))
    assert isinstance(one.body, torch.nn.Module) and isinstance(other.body, torch.nn.Module)
    assert identity(one.body) == identity(other.body)


def test_what_was_trained_with_shorter_texts_gets_shorter_windows(bert: Path) -> None:
    (bert / "sentence_bert_config.json").write_text('{"max_seq_length": 24}')
    assert json.loads(load(str(bert)).files[FILE])["tokens"] == 24


def test_the_pooling_is_what_the_folder_or_the_name_says(bert: Path) -> None:
    rows = {IDS: np.array([[[2, 65, 66, 3]]]), MASK: np.ones((1, 1, 4), np.int64)}
    mean, first = raw(load(str(bert)), rows), raw(load(f"{bert}@cls"), rows)
    assert not np.allclose(mean, first, atol=1e-3)
    (bert / "1_Pooling").mkdir()
    (bert / "1_Pooling" / "config.json").write_text('{"pooling_mode_cls_token": true}')
    assert np.array_equal(raw(load(str(bert)), rows), first)
    assert np.array_equal(raw(load(f"{bert}@mean"), rows), mean)


@pytest.mark.parametrize("name", ["config.json", "tokenizer.json", "model.safetensors"])
def test_a_folder_that_lacks_a_file_is_refused_by_its_name(bert: Path, name: str) -> None:
    (bert / name).rename(bert / "pytorch_model.bin")
    with pytest.raises(InvalidInput, match=rf"has no .*{name.replace('model.', '')}"):
        load(str(bert))


@pytest.mark.parametrize(
    "config",
    [
        b"{",
        b'{"model_type": "t5"}',
        b'{"model_type": "homemade", "auto_map": {"AutoModel": "code.Model", "AutoConfig": "code.Config"}}',
    ],
)
def test_a_folder_of_something_else_is_refused_and_its_code_never_runs(bert: Path, config: bytes) -> None:
    (bert / "config.json").write_bytes(config)
    (bert / "code.py").write_text(f"import pathlib\npathlib.Path({str(bert / 'ran')!r}).touch()\n")
    with pytest.raises(InvalidInput, match="cannot be loaded"):
        load(str(bert))
    assert not (bert / "ran").exists()


def test_damaged_weights_are_refused(bert: Path) -> None:
    (bert / "model.safetensors").write_bytes(b"not tensors")
    with pytest.raises(InvalidInput, match="cannot be loaded"):
        load(str(bert))


def test_weights_that_lack_a_tensor_are_refused_and_never_filled_up(bert: Path) -> None:
    tensors = load_file(bert / "model.safetensors")
    lost = next(name for name in tensors if name.endswith("LayerNorm.weight"))
    save_file({name: tensor for name, tensor in tensors.items() if name != lost}, bert / "model.safetensors")
    with pytest.raises(InvalidInput, match="lack 1 tensors"):
        load(str(bert))


def test_names_that_lead_nowhere_are_errors_for_people(bert: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(InvalidInput, match="pooling 'max'"):
        load(f"{bert}@max")
    with pytest.raises(LeptonError, match="is no folder here"):
        load("nobody/nothing")
    for plugin in (minilm, wordllama):
        with pytest.raises(LookupError, match="choose"):
            plugin.load("other", Setting())


@pytest.mark.parametrize("family", ["CLIP", "Siglip"])
def test_of_a_model_of_texts_and_pictures_the_half_that_reads_is_taken_and_exported_alike(
    family: str, bert: Path
) -> None:
    import transformers as library

    size = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 64}
    text = size | {"vocab_size": 128, "max_position_embeddings": 66, "bos_token_id": 2, "eos_token_id": 3}
    config = getattr(library, f"{family}Config")(text_config=text, vision_config=size | {"image_size": 32})
    getattr(library, f"{family}Model")(config).save_pretrained(bert)
    backbone = load(str(bert))
    ids = np.random.default_rng(0).integers(4, 120, (3, 2, 16))
    rows = {IDS: ids, MASK: np.ones_like(ids)}
    session = Session(compose([Member(graph=member(backbone), transform=Transform(kind="l2"))]))
    assert np.abs(session.features(rows) / GRID - raw(backbone, rows)).max() <= backbone.tolerance + 0.5 / GRID

"""CLIP and SigLIP as two backbones: what each half computes is what transformers computes, and what is refused."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tokenizers import Tokenizer

from core.errors import InvalidInput, Unavailable
from core.modality.text import IDS, MASK
from core.types import Floats
from exporters.backbone import Backbone, member
from exporters.compose import Member, compose
from exporters.parity import ROWS, check
from exporters.transform import Transform
from tests.inputs import preprocessor_of, rows_of
from training import zoo
from training.backbone import transformers, transformers_clip
from training.zoo import Setting

TEXTS = ("a photo of a dog", "cat", "two words, and 3 more. it's long enough for all tokens of a window " * 2)


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    return [name for name, _ in transformers_clip.examples(tmp_path_factory.mktemp("towers"))]


def original(folder: str) -> Any:
    from transformers import AutoModel

    return AutoModel.from_pretrained(folder, attn_implementation="eager").eval()


def unit(rows: torch.Tensor) -> Floats:
    found: Floats = (rows / rows.norm(dim=1, keepdim=True)).numpy()
    return found


def body(backbone: Backbone) -> torch.nn.Module:
    assert isinstance(backbone.body, torch.nn.Module)
    return backbone.body


def test_the_half_that_sees_is_the_one_of_transformers(folders: list[str]) -> None:
    for folder in folders:
        backbone = transformers_clip.load(folder, Setting())
        pixels = np.random.default_rng(0).integers(0, 256, (3, *backbone.size, 3), np.uint8)
        model = original(folder)
        clip = model.config.model_type == "clip"
        mean = torch.tensor((0.48145466, 0.4578275, 0.40821073) if clip else (0.5, 0.5, 0.5))
        deviation = torch.tensor((0.26862954, 0.26130258, 0.27577711) if clip else (0.5, 0.5, 0.5))
        seen = ((torch.from_numpy(pixels) / 255.0 - mean) / deviation).permute(0, 3, 1, 2)
        with torch.inference_mode():
            wanted = model.get_image_features(pixel_values=seen).pooler_output
            found = body(backbone)(image=torch.from_numpy(pixels))
        np.testing.assert_allclose(found.numpy(), wanted.numpy(), atol=2e-5)


def test_the_half_that_reads_is_the_one_of_transformers_at_any_filling(folders: list[str]) -> None:
    for folder in folders:
        backbone = transformers_clip.reader(folder)
        model = original(folder)
        reader = preprocessor_of(backbone)
        tokenizer = Tokenizer.from_file(str(Path(folder) / "tokenizer.json"))
        config = model.config.text_config
        for text in TEXTS[:2]:
            ids = tokenizer.encode(text).ids
            if model.config.model_type == "siglip":  # trained on texts filled up, and unmasked
                ids += [config.pad_token_id] * (config.max_position_embeddings - len(ids))
            with torch.inference_mode():
                wanted = model.get_text_features(input_ids=torch.tensor([ids])).pooler_output
            together = reader.batch([reader.read(word.encode()) for word in (text, *TEXTS)])
            with torch.inference_mode():
                told = {name: torch.from_numpy(together[name]) for name in (IDS, MASK)}
                found = body(backbone)(input_ids=told[IDS], attention_mask=told[MASK])
            np.testing.assert_allclose(found.numpy()[:1], unit(wanted), atol=2e-5)


def test_the_half_that_reads_is_exported_as_it_is(folders: list[str]) -> None:
    backbone = transformers_clip.reader(folders[1])  # SigLIP's, which fills texts up; CLIP's is in the road of names
    model = compose([Member(graph=member(backbone), transform=Transform(kind="l2"))])
    reader = preprocessor_of(backbone)
    assert check([(backbone, Transform(kind="l2"))], model, reader.batch(rows_of(backbone))).rows == ROWS


def test_both_halves_are_of_the_same_weights_and_width(folders: list[str]) -> None:
    for folder in folders:
        sees, reads = zoo.load(f"transformers_clip:{folder}", Setting()), zoo.reader(f"transformers_clip:{folder}")
        assert (sees.digest, sees.dimension) == (reads.digest, reads.dimension)
        assert (sees.modality, reads.modality) == ("image", "text")
    assert not zoo.reads("efficientnet_lite0")


def test_a_folder_that_is_no_such_model_is_refused(folders: list[str], tmp_path: Path) -> None:
    bert = transformers.examples(tmp_path)[0][0]
    with pytest.raises(InvalidInput, match="it is a bert"):
        transformers_clip.load(bert, Setting())
    with pytest.raises(InvalidInput, match=r"no tokenizer\.json and no \*\.safetensors"):
        (tmp_path / "empty").mkdir()
        (tmp_path / "empty" / "config.json").write_text("{}")
        transformers_clip.load(str(tmp_path / "empty"), Setting())
    for words, content in (("2 values", '{"image_std": [1, 1]}'), ("not above 0", '{"image_std": [1, 0, 1]}')):
        file = Path(folders[0]) / "preprocessor_config.json"
        file.write_text(content)
        with pytest.raises(InvalidInput, match=words):
            transformers_clip.load(folders[0], Setting())
        file.unlink()


def test_a_name_of_the_hub_needs_the_hub(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(Unavailable, match="transformers_clip:/path/to/model"):
        transformers_clip.load("openai/clip-vit-base-patch32", Setting())

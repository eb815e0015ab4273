"""Encoders of transformers hear what their own feature extractors would give them; other folders are refused."""

import json
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file, save_file

from core.errors import InvalidInput, Unavailable
from core.modality.audio import preprocessor
from core.preprocess import Limits
from exporters.backbone import Backbone
from tests import sounds
from training import zoo
from training.backbone import transformers_audio

kinds: Any = import_module("transformers")


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """One seeded encoder of each family."""
    made = transformers_audio.examples(tmp_path_factory.mktemp("encoders"))
    return {Path(name).name: Path(name) for name, _ in made}


def loaded(folder: Path) -> Backbone:
    return zoo.load(f"transformers_audio:{folder}", zoo.Setting())


def heard(backbone: Backbone, seconds: float) -> NDArray[np.float32]:
    """(1, W, S) of a sound."""
    reader = preprocessor(backbone.inputs, backbone.files, Limits())
    return reader.batch([reader.read(sounds.wav(4, seconds))])["audio"]


def raw(backbone: Backbone, audio_BWS: NDArray[np.float32]) -> NDArray[np.float32]:
    assert isinstance(backbone.body, torch.nn.Module)
    with torch.inference_mode():
        out: NDArray[np.float32] = backbone.body(audio=torch.from_numpy(audio_BWS)).numpy()
    return out


def own(folder: Path, **inputs: torch.Tensor) -> Any:
    """The answer of the model itself, loaded by transformers alone."""
    model = kinds.AutoModel.from_pretrained(folder).eval()
    with torch.inference_mode():
        return (model.encoder if model.config.model_type == "whisper" else model)(**inputs)


def test_wav2vec_hears_samples_of_unit_power(folders: dict[str, Path]) -> None:
    backbone = loaded(folders["wav2vec2"])
    audio_BWS = heard(backbone, 2.0)
    given = kinds.Wav2Vec2FeatureExtractor()(audio_BWS[0, 0], sampling_rate=16_000, return_tensors="pt")
    states_TD = own(folders["wav2vec2"], input_values=given.input_values).last_hidden_state[0].numpy()
    assert np.abs(raw(backbone, audio_BWS)[0] - states_TD.mean(axis=0)).max() < 1e-3


def test_the_spectrogram_transformer_hears_kaldis_bands(folders: dict[str, Path]) -> None:
    backbone = loaded(folders["ast"])
    audio_BWS = heard(backbone, 3.0)  # more than a window: no frame of zeros, which it is shown as such
    given = kinds.ASTFeatureExtractor(num_mel_bins=32, max_length=128)(
        audio_BWS[0, 0], sampling_rate=16_000, return_tensors="pt"
    )
    pooled_D = own(folders["ast"], input_values=given.input_values).pooler_output[0].numpy()
    assert np.abs(raw(backbone, audio_BWS[:, :1])[0] - pooled_D).max() < 1e-3


def test_whisper_hears_its_own_bands(folders: dict[str, Path]) -> None:
    backbone = loaded(folders["whisper"])
    audio_BWS = heard(backbone, 2.0)
    given = kinds.WhisperFeatureExtractor(feature_size=40, chunk_length=2)(
        audio_BWS[0, 0], sampling_rate=16_000, return_tensors="pt"
    )
    states_TD = own(folders["whisper"], input_features=given.input_features).last_hidden_state[0].numpy()
    assert np.abs(raw(backbone, audio_BWS)[0] - states_TD.mean(axis=0)).max() < 1e-3


@pytest.mark.parametrize("family", ["wav2vec2", "ast", "whisper"])
def test_windows_of_zeros_beside_a_sound_change_nothing_and_silence_is_zeros(
    folders: dict[str, Path], family: str
) -> None:
    backbone = loaded(folders[family])
    rows = np.concatenate([heard(backbone, seconds)[:, :1] for seconds in (0.3, 0.7, 1.1)])
    padded = np.concatenate([rows, np.zeros_like(rows)], axis=1)
    assert np.abs(raw(backbone, padded) - raw(backbone, rows)).max() < 1e-5
    both = np.concatenate([rows[:1], rows[1:2]], axis=1)
    assert np.abs(raw(backbone, both) - raw(backbone, rows[:2]).mean(axis=0)).max() < 1e-5
    assert not raw(backbone, np.zeros_like(rows)).any()


def test_what_is_no_encoder_of_sounds_is_refused(folders: dict[str, Path], tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="safetensors"):
        loaded(tmp_path)
    weights = next(folders["ast"].glob("*.safetensors")).read_bytes()
    (tmp_path / "model.safetensors").write_bytes(weights)
    for config in ("{}", "{", json.dumps({"model_type": "bert"}), json.dumps({"model_type": "whisper"})):
        (tmp_path / "config.json").write_text(config)
        with pytest.raises(InvalidInput, match="encoder of sounds"):
            loaded(tmp_path)


def test_weights_that_lack_a_tensor_are_refused_and_never_filled_up(folders: dict[str, Path], tmp_path: Path) -> None:
    tensors = load_file(folders["ast"] / "model.safetensors")
    del tensors[next(name for name in sorted(tensors) if ".1." in name)]
    save_file(tensors, tmp_path / "model.safetensors", metadata={"format": "pt"})
    (tmp_path / "config.json").write_bytes((folders["ast"] / "config.json").read_bytes())
    with pytest.raises(InvalidInput, match="lack 1 tensors"):
        loaded(tmp_path)


def test_another_sampling_rate_is_refused(folders: dict[str, Path]) -> None:
    front = folders["wav2vec2"] / "preprocessor_config.json"
    front.write_text(json.dumps({"sampling_rate": 8_000}))
    try:
        with pytest.raises(InvalidInput, match="8000 samples a second"):
            loaded(folders["wav2vec2"])
    finally:
        front.unlink()


def test_a_name_that_is_neither_a_folder_nor_on_the_hub_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    import huggingface_hub.constants

    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(Unavailable, match="no folder here"):
        zoo.load("transformers_audio:nobody/no-such-model", zoo.Setting())


def test_a_name_without_an_owner_is_looked_for_nowhere() -> None:
    with pytest.raises(LookupError, match="OWNER/NAME"):
        zoo.load("transformers_audio:no_such_folder", zoo.Setting())

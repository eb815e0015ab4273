"""Encoders of sounds in the layout of transformers: wav2vec 2.0, HuBERT, WavLM, AST and Whisper's encoder.

When to use: speech in many languages (wav2vec 2.0 XLS-R, Whisper) and sounds of every kind (AST), where there is time
or a GPU: a second of sound costs ten times what the packaged backbones take, and more. Limit: 16 kHz; weights are not
packaged. Promises that nothing is unpickled and no code of a folder runs. Knows nothing of selection.

A name is a folder (config.json, *.safetensors and, where there is one, preprocessor_config.json) or a name on the hub.

>>> names()
()
"""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from core.errors import InvalidInput, Unavailable
from core.modality.audio import FILE, Windows
from training.zoo import Row, Setting

if TYPE_CHECKING:
    import torch

    from exporters.backbone import Backbone

_CONFIG, _FRONT = "config.json", "preprocessor_config.json"
_WANTED = (_CONFIG, _FRONT, "*.safetensors")
_RATE, _HOP = 16_000, 160
_FRAME, _PADDED = 400, 512  # samples of a frame, and of AST's transform
_WAVES = ("wav2vec2", "hubert", "wavlm")
_UNUSED = ("masked_spec_embed", "decoder.", "lm_head", "proj_out")  # parts that are for training or for answers
_MEAN, _DEVIATION = -4.2677393, 4.5689974  # of AST's bands on AudioSet, where the folder states none
_TINY = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 64}


def names() -> tuple[Row, ...]:
    """None: they are named by folder or by the hub's name."""
    return ()


def examples(folder: Path) -> tuple[tuple[str, Setting], ...]:
    """One seeded encoder of each family, a few thousand parameters each, written to ``folder``."""
    import torch

    from training import saved

    kinds = saved.package()
    convolutions = {"conv_dim": (16, 16), "conv_kernel": (10, 8), "conv_stride": (20, 16)}
    waves = {**_TINY, **convolutions, "num_conv_pos_embeddings": 8, "num_conv_pos_embedding_groups": 2}
    halves = {"encoder_layers": 2, "decoder_layers": 1, "encoder_attention_heads": 2, "decoder_attention_heads": 2}
    whisper = {"d_model": 32, "encoder_ffn_dim": 64, "decoder_ffn_dim": 64, "max_source_positions": 100, **halves}
    whisper |= {"num_mel_bins": 40, "vocab_size": 64}
    ends = dict.fromkeys(("pad_token_id", "bos_token_id", "eos_token_id", "decoder_start_token_id"), 1)
    makers: dict[str, Callable[[], Any]] = {
        "wav2vec2": lambda: kinds.Wav2Vec2Model(kinds.Wav2Vec2Config(**waves, vocab_size=8)),
        "ast": lambda: kinds.ASTModel(kinds.ASTConfig(**_TINY, max_length=128, num_mel_bins=32)),
        "whisper": lambda: kinds.WhisperModel(kinds.WhisperConfig(**whisper, **ends)),
    }
    for name, make in makers.items():
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            make().save_pretrained(folder / name)
    return tuple((str(folder / name), Setting()) for name in makers)


def load(name: str, setting: Setting) -> Backbone:
    """The encoder in the folder ``name``, or that the hub has under it.

    Raises:
        LookupError: no such folder; Unavailable: neither cached nor to be fetched from the hub; InvalidInput: no
        encoder of sounds that this version of transformers knows.
    """
    del setting
    from exporters.backbone import Backbone
    from exporters.hearing import Windowed, inputs
    from training import saved

    folder = Path(name) if Path(name).is_dir() else _fetched(name)
    short = folder.name if Path(name).is_dir() else name
    weights = saved.weights(folder, f"transformers_audio:{short}")
    try:
        encoder, windows, width = _encoder(folder)
    except Exception as error:  # transformers raises whatever its models' code leads it into
        raise InvalidInput(
            f"{short} cannot be loaded as an encoder of sounds: {str(error)[:300]}",
            "give a model of wav2vec 2.0, HuBERT, WavLM, AST or Whisper at 16 kHz, saved as safetensors",
        ) from error
    read = [folder / _CONFIG, *weights, *([folder / _FRONT] if (folder / _FRONT).is_file() else [])]
    return Backbone(
        name=f"transformers_audio:{short}",
        source=f"folder {short}" if Path(name).is_dir() else f"hub {name}",
        modality="audio",
        digest=saved.digest(read),
        licence="unknown",
        parameters=sum(parameter.numel() for parameter in encoder.parameters()),
        dimension=width,
        inputs=inputs(windows),
        files={FILE: windows.to_bytes()},
        body=Windowed(encoder).eval(),
        tolerance=1e-3,  # of logarithms of faint bands, in 32 bits
    )


def _encoder(folder: Path) -> tuple[torch.nn.Module, Windows, int]:
    """The encoder behind its spectrogram, the windows that it hears, and D."""
    from training import saved

    config = saved.config(folder)
    front = json.loads((folder / _FRONT).read_text()) if (folder / _FRONT).is_file() else {}
    if front.get("sampling_rate", _RATE) != _RATE:
        raise ValueError(f"it hears {front['sampling_rate']} samples a second; expected {_RATE}")
    if config.model_type not in (*_WAVES, "audio-spectrogram-transformer", "whisper"):
        raise ValueError(f"it is a {config.model_type}")
    model = saved.model("AutoModel", folder, _UNUSED)
    model.eval()
    if config.model_type in _WAVES:
        return _waves(model, front)
    return _frames(model, front) if config.model_type == "whisper" else _patches(model, front)


def _waves(model: Any, front: dict[str, Any]) -> tuple[torch.nn.Module, Windows, int]:
    from exporters.hearing import Waves

    return Waves(model, bool(front.get("do_normalize", True))), Windows(), int(model.config.hidden_size)


def _patches(model: Any, front: dict[str, Any]) -> tuple[torch.nn.Module, Windows, int]:
    from transformers.audio_utils import mel_filter_bank

    from exporters.hearing import Bands, Patches, kaldi

    samples = _FRAME + _HOP * (model.config.max_length - 1)
    with warnings.catch_warnings(action="ignore"):  # of 128 bands the lowest hold no frequency; it was trained so
        bands = mel_filter_bank(
            num_frequency_bins=_PADDED // 2 + 1,
            num_mel_filters=model.config.num_mel_bins,
            min_frequency=20,
            max_frequency=_RATE // 2,
            sampling_rate=_RATE,
            norm=None,
            mel_scale="kaldi",
            triangularize_in_mel_space=True,
        )
    heard = Bands(*kaldi(_PADDED, _FRAME, 0.97), bands, _HOP)
    encoder = Patches(model, heard, front.get("mean", _MEAN), front.get("std", _DEVIATION))
    return encoder, Windows(samples=samples, hop=samples // 2, most=2), int(model.config.hidden_size)


def _frames(model: Any, front: dict[str, Any]) -> tuple[torch.nn.Module, Windows, int]:
    from exporters.hearing import Bands, Frames
    from exporters.sound import fourier
    from training import saved

    del front
    bands = saved.package().WhisperFeatureExtractor(feature_size=model.config.num_mel_bins).mel_filters
    samples = 2 * _HOP * model.config.max_source_positions
    heard = Bands(*fourier(_FRAME, _FRAME), bands, _HOP)
    return Frames(model.encoder, heard), Windows(samples=samples, hop=samples // 2, most=2), int(model.config.d_model)


def _fetched(name: str) -> Path:
    """The model's folder in the hub's cache, else from the hub: weights as safetensors, and no code."""
    from huggingface_hub import snapshot_download

    if name.count("/") != 1:
        raise LookupError(f"{name!r} is no folder here, and no name of the hub's either: those are OWNER/NAME")
    try:
        return Path(snapshot_download(name, allow_patterns=list(_WANTED), local_files_only=True))
    except Exception:  # not cached, or no name that a hub could have
        pass
    try:
        return Path(snapshot_download(name, allow_patterns=list(_WANTED)))
    except Exception as error:  # no network, no such model, offline mode: a class each, and httpx's own
        raise Unavailable(
            f"{name!r} is no folder here, and cannot be fetched from the hub: {' '.join(str(error).split())[:200]}",
            "give a folder (transformers_audio:/path/to/model), or choose openwakeword, resemblyzer or logmel",
        ) from error

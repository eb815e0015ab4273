"""The speaker encoder of the package resemblyzer: whose voice it is.

When to use: who speaks, and what a voice is like; trained to tell some thousand speakers apart whatever they say, so
it is of little use for words. Limit: 16 kHz, mostly English in training; a room or a microphone colours it too.
Promises weights read with ``weights_only=True`` and checked by shape. Knows nothing of selection or export.

Per window: 40 mel bands every 10 ms and an LSTM of three layers, read at the last frame with sound, because silence
that follows would wash it out. Windows are averaged, as the package averages parts of an utterance; its voice activity
detector is left out, quiet ends being cut off already.

Install with ``pip install --no-deps resemblyzer`` (see weights.txt): of the package only the weights are used.
Reference: Wan et al., Generalized end-to-end loss for speaker verification, arXiv 1710.10467;
github.com/resemble-ai/Resemblyzer.

>>> [row.dimension for row in names()]
[256]
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from importlib import util
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from core.errors import BadConfiguration
from core.modality.audio import FILE, KEY, Windows
from core.types import Doubles, Floats, Input
from training.zoo import Row, Setting

if TYPE_CHECKING:
    from exporters.backbone import Backbone
    from exporters.sound import Graph

_NAME = "resemblyzer"
_SOURCE = "package resemblyzer"
_LICENCE = "Apache-2.0"
_PARAMETERS = 1_423_616
_HIDDEN, _LAYERS, _DIMENSION = 256, 3, 256
_SIZE, _HOP, _BANDS, _HIGHEST = 400, 160, 40, 8_000.0  # samples, samples, bands, Hz
_GAIN = 0.5  # our loudest tenth of a second is at -20 dB, the package's utterance as a whole at -30
_GATES = (0, 3, 1, 2)  # torch stores input, forget, cell, output; ONNX wants input, output, forget, cell


def names() -> tuple[Row, ...]:
    """The one, whether or not the package is installed here."""
    return (
        Row(
            name=_NAME,
            modality="audio",
            dimension=_DIMENSION,
            parameters=_PARAMETERS,
            licence=_LICENCE,
            source=_SOURCE,
            offline=util.find_spec("resemblyzer") is not None,
        ),
    )


def examples(folder: Path) -> tuple[tuple[str, Setting], ...]:
    """The one, where it is installed."""
    del folder
    return ((_NAME, Setting()),) if names()[0].offline else ()


def load(name: str, setting: Setting) -> Backbone:
    """The backbone.

    Raises:
        LookupError: another name; BadConfiguration: the package is missing or not as expected.
    """
    del setting
    if name != _NAME:
        raise LookupError(f"no backbone of package resemblyzer is named {name!r}; choose {_NAME}")
    from exporters.backbone import Backbone, MemberGraph

    path, windows = _path(), Windows()
    return Backbone(
        name=_NAME,
        source=_SOURCE,
        modality="audio",
        digest=hashlib.sha256(path.read_bytes()).hexdigest(),
        licence=_LICENCE,
        parameters=_PARAMETERS,
        dimension=_DIMENSION,
        inputs={KEY: Input(shape=(None, windows.samples), dtype=np.dtype(np.float32))},
        files={FILE: windows.to_bytes()},
        transform="l2",
        body=MemberGraph(model=graph(weights(path), windows)),
    )


def weights(path: Path) -> dict[str, Floats]:
    """The network's tensors by torch's names.

    Raises:
        BadConfiguration: tensors are missing, or have other shapes.
    """
    import torch

    stored = torch.load(path, map_location="cpu", weights_only=True)["model_state"]
    found = {name: stored[name].numpy() for name in _shapes() if name in stored}
    if {name: array.shape for name, array in found.items()} != _shapes():
        raise BadConfiguration(
            f"{path.name} does not hold the {len(_shapes())} tensors of the speaker encoder",
            "install the version in weights.txt",
        )
    return found


def graph(stored: Mapping[str, Floats], windows: Windows) -> bytes:
    """The whole backbone as an ONNX graph of (B, W, S) sounds."""
    from exporters import sound

    made = sound.Graph()
    flat = made.add("Mul", made.windows(windows.samples), made.constant(_GAIN))
    padded = made.add("Pad", flat, made.axes(0, _SIZE // 2, 0, _SIZE // 2))
    bands_FM = sound.triangles(_SIZE, windows.rate, _edges()) * _heights()
    power = made.frames(made.spectrum(padded, *sound.fourier(_SIZE, _SIZE), _HOP), bands_FM)
    hidden = made.add("Transpose", power, perm=[1, 0, 2])  # time first
    for layer in range(_LAYERS):
        hidden = _lstm(made, hidden, stored, layer)
    held = made.sounding(padded, _SIZE, _HOP)
    frames = sound.count(windows.samples + _SIZE, _SIZE, _HOP)
    later_TT = np.tril(np.ones((frames, frames)), -1)  # of each frame, how many with sound come later
    none_later = made.add("Equal", made.add("MatMul", held, made.constant(later_TT)), made.constant(0.0))
    last = made.add("Mul", held, made.add("Cast", none_later, to=1))
    state = made.mean(made.add("Transpose", hidden, perm=[1, 0, 2]), last)
    weight = made.constant(stored["linear.weight"].T)
    voice = made.add("Relu", made.add("Add", made.add("MatMul", state, weight), made.constant(stored["linear.bias"])))
    length = made.add("ReduceL2", voice, made.axes(1), keepdims=1)
    unit = made.add("Div", voice, made.add("Max", length, made.constant(1e-6)))
    return made.member(made.sound(unit, _DIMENSION), windows, _DIMENSION)


def _lstm(made: Graph, values: str, stored: Mapping[str, Floats], layer: int) -> str:
    """One layer: (T, N, inputs) to (T, N, hidden)."""
    names_of = [f"lstm.{part}_l{layer}" for part in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")]
    inner, recurrent, bias, more = (_gates(stored[name]) for name in names_of)
    biases = np.concatenate([bias, more])
    operands = [made.constant(array[None]) for array in (inner, recurrent, biases)]
    out = made.add("LSTM", values, *operands, hidden_size=_HIDDEN)
    return made.add("Squeeze", out, made.axes(1))


def _gates(stacked: Floats) -> Floats:
    """The four gates in the order of ONNX."""
    parts = np.split(stacked, 4)
    ordered: Floats = np.concatenate([parts[gate] for gate in _GATES])
    return ordered


def _edges() -> Doubles:
    """Edges of the mel bands in Hz, on Slaney's scale: even up to 1 kHz, then 27 steps to a factor of 6.4."""
    per_mel, knee = 200 / 3, 1_000.0
    ratio = np.log(6.4) / 27
    top = knee / per_mel + np.log(_HIGHEST / knee) / ratio
    mels = np.linspace(0, top, _BANDS + 2)
    return np.where(mels < knee / per_mel, mels * per_mel, knee * np.exp(ratio * (mels - knee / per_mel)))


def _heights() -> Floats:
    """Slaney's bands all have area 1."""
    edges = _edges()
    heights: Floats = (2 / (edges[2:] - edges[:-2])).astype(np.float32)
    return heights


def _shapes() -> dict[str, tuple[int, ...]]:
    shapes: dict[str, tuple[int, ...]] = {
        "linear.weight": (_DIMENSION, _HIDDEN),
        "linear.bias": (_DIMENSION,),
    }
    for layer in range(_LAYERS):
        width = _HIDDEN if layer else _BANDS
        shapes[f"lstm.weight_ih_l{layer}"] = (4 * _HIDDEN, width)
        shapes[f"lstm.weight_hh_l{layer}"] = (4 * _HIDDEN, _HIDDEN)
        shapes[f"lstm.bias_ih_l{layer}"] = shapes[f"lstm.bias_hh_l{layer}"] = (4 * _HIDDEN,)
    return shapes


def _path() -> Path:
    spec = util.find_spec("resemblyzer")  # nothing of the package is imported
    path = Path(spec.origin).parent / "pretrained.pt" if spec and spec.origin else Path()
    if not path.is_file():
        raise BadConfiguration(
            "the weights of resemblyzer are not installed here",
            "pip install --no-deps resemblyzer==0.1.4, or choose another backbone (lepton backbones)",
        )
    return path

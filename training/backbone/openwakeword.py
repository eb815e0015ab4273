"""The speech embedding of the package openwakeword: spoken words and commands.

When to use: short speech (commands, wake words, spoken digits); trained by Google to tell words apart whoever speaks,
so it is of little use for who speaks. Limit: 16 kHz, English in training; the package calls its files non-commercial.
Promises the package's two ONNX files as one graph, of which every row is a matter of its own (the package's own
spectrogram scales a batch by the loudest of its rows). Knows nothing of selection or export.

Per window: the package's mel spectrogram, then 96 numbers every 80 ms; of these the first four half waves of a cosine
over the sounding part. Windows are averaged.

Install with ``pip install --no-deps openwakeword`` (see weights.txt): it asks for onnxruntime, which owns the same
module as onnxruntime-gpu. Reference: Lin et al., Training keyword spotters with limited and synthesized speech data,
arXiv 2002.01322; github.com/dscripka/openWakeWord.

>>> [row.dimension for row in names()]
[384]
"""

from __future__ import annotations

import hashlib
from importlib import util
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from core.errors import BadConfiguration
from core.modality.audio import FILE, KEY, Windows
from core.types import Input
from training.zoo import Row, Setting

if TYPE_CHECKING:
    from onnx import ModelProto

    from core.types import Floats
    from exporters.backbone import Backbone
    from exporters.sound import Graph

_NAME = "openwakeword"
_SOURCE = "package openwakeword"
_LICENCE = "Apache-2.0 (code, and Google's speech_embedding); the package calls its model files CC-BY-NC-SA-4.0"
_MODELS = ("melspectrogram.onnx", "embedding_model.onnx")
_PARAMETERS = 328_201
_WIDTH, _WAVES = 96, 4
_DIMENSION = _WIDTH * _WAVES
_SIZE, _HOP = 512, 160  # samples of a frame, and from frame to frame
_SEEN, _STRIDE = 76, 8  # frames that the embedding sees, and from place to place
_FULL_SCALE = 32_767.0  # it was made for 16-bit samples
_FAINTEST, _DECIBELS, _RANGE = 1e-10, 10 / np.log(10), 80.0
_SLOPE, _OFFSET = 0.1, 2.0  # the package's own adjustment to what Google's model saw in training


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
            offline=util.find_spec("openwakeword") is not None,
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
        raise LookupError(f"no backbone of package openwakeword is named {name!r}; choose {_NAME}")
    from exporters.backbone import Backbone, MemberGraph
    from exporters.compose import read

    stored = [path.read_bytes() for path in _paths()]
    windows = Windows()
    return Backbone(
        name=_NAME,
        source=_SOURCE,
        modality="audio",
        digest=hashlib.sha256(b"".join(hashlib.sha256(data).digest() for data in stored)).hexdigest(),
        licence=_LICENCE,
        parameters=_PARAMETERS,
        dimension=_DIMENSION,
        inputs={KEY: Input(shape=(None, windows.samples), dtype=np.dtype(np.float32))},
        files={FILE: windows.to_bytes()},
        body=MemberGraph(model=graph(read(stored[0]), read(stored[1]), windows)),
    )


def graph(spectrogram: ModelProto, embedding: ModelProto, windows: Windows) -> bytes:
    """Both files as one ONNX graph of (B, W, S) sounds."""
    from exporters import sound

    made = sound.Graph()
    flat = made.windows(windows.samples)
    levels = _levels(made, flat, spectrogram)
    places = _embedded(made, levels, embedding)
    held = made.add("Unsqueeze", made.sounding(flat, _SIZE, _HOP), made.axes(1))
    seen = made.add("AveragePool", held, kernel_shape=[_SEEN], strides=[_STRIDE])
    shares = made.shares(made.add("Squeeze", seen, made.axes(1)))
    frames = sound.count(windows.samples, _SIZE, _HOP)
    raw = made.course(places, shares, sound.count(frames, _SEEN, _STRIDE), _WAVES)
    return made.member(made.sound(raw, _DIMENSION), windows, _DIMENSION)


def _levels(made: Graph, flat: str, spectrogram: ModelProto) -> str:
    """(N, T, 32) decibels as the embedding expects them, at most 80 under the loudest of the window."""
    stored = _arrays(spectrogram, "0.stft.conv_real.weight", "0.stft.conv_imag.weight", "1.melW")
    scaled = made.add("Mul", flat, made.constant(_FULL_SCALE))
    power = made.frames(made.spectrum(scaled, stored[0][:, 0], stored[1][:, 0], _HOP), stored[2])
    heard = made.add("Max", power, made.constant(_FAINTEST))
    decibels = made.add("Mul", made.add("Log", heard), made.constant(_DECIBELS))
    loudest = made.add("ReduceMax", decibels, made.axes(1, 2), keepdims=1)
    bounded = made.add("Max", decibels, made.add("Sub", loudest, made.constant(_RANGE)))
    return made.add("Add", made.add("Mul", bounded, made.constant(_SLOPE)), made.constant(_OFFSET))


def _embedded(made: Graph, levels: str, embedding: ModelProto) -> str:
    """(N, T, 32) to (N, P, 96): the convolutions run over all frames at once, which gives a place every 8 frames."""
    import onnx.compose

    from exporters.compose import at_opset

    network = onnx.compose.add_prefix(at_opset(embedding, _NAME), "speech/").graph
    body = [node for node in network.node if node.op_type not in ("Pad", "Reshape")]
    if len(network.node) - len(body) != 3 or body[0].op_type != "Conv" or body[-1].op_type != "Conv":
        raise _unexpected(f"{_MODELS[1]} has another form")
    planes = made.add("Unsqueeze", levels, made.axes(1))
    padded = made.add("Pad", planes, made.axes(0, 0, 0, 1, 0, 0, 0, 1))
    made.nodes.append(onnx.helper.make_node("Identity", [padded], [body[0].input[0]]))
    made.nodes.extend(body)
    needed = {name for node in body for name in node.input}
    made.constants.extend(tensor for tensor in network.initializer if tensor.name in needed)
    return made.add("Transpose", made.add("Squeeze", body[-1].output[0], made.axes(3)), perm=[0, 2, 1])


def _arrays(model: ModelProto, *wanted: str) -> list[Floats]:
    from onnx import numpy_helper

    stored = {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
    if not stored.keys() >= set(wanted):
        raise _unexpected(f"{_MODELS[0]} holds no {' and no '.join(sorted(set(wanted) - stored.keys()))}")
    return [stored[name] for name in wanted]


def _paths() -> list[Path]:
    spec = util.find_spec("openwakeword")  # nothing of the package is imported
    folder = Path(spec.origin).parent / "resources" / "models" if spec and spec.origin else Path()
    paths = [folder / name for name in _MODELS]
    if spec is None or not all(path.is_file() for path in paths):
        raise BadConfiguration(
            "the weights of openwakeword are not installed here",
            "pip install --no-deps openwakeword==0.4.0, or choose another backbone (lepton backbones)",
        )
    return paths


def _unexpected(what: str) -> BadConfiguration:
    return BadConfiguration(f"package openwakeword is not as expected: {what}", "install the version in weights.txt")

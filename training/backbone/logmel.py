"""Statistics of a log-mel spectrogram, without any learned weight: the baseline for sounds that is always there.

When to use: machine sounds, alarms, a first look, and as the yardstick that every learned backbone must beat. Limit: it
knows loudness by band and how that runs, and nothing else. Promises the same features from a window whatever comes
beside it. Knows nothing of selection or export.

Per window: 40 bands from 20 Hz to 8 kHz, every 10 ms, in logarithms over a floor of -32 dB; of these the first four
half waves of a cosine over the sounding part (mean, slope, bow, …), the deviation, and the size of the step from frame
to frame. Windows are averaged.

>>> [row.dimension for row in names()]
[240]
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from core.modality.audio import FILE, KEY, Windows
from core.types import Input
from training.zoo import Row, Setting

if TYPE_CHECKING:
    from exporters.backbone import Backbone
    from exporters.sound import Graph

_NAME = "logmel"
_SIZE, _LENGTH, _HOP = 512, 400, 160  # samples: of the transform, of the Hann window in it, from frame to frame
_BANDS, _LOWEST, _HIGHEST = 40, 20.0, 8_000.0  # Hz
_FLOOR = 1e-3  # of a band's power; a sound at -20 dB has about 1 to 10
_WAVES = 4
_DIMENSION = _BANDS * (_WAVES + 2)
_PARAMETERS = (_SIZE // 2 + 1) * (2 * _SIZE + _BANDS)  # all fixed, none learned: the transform and the bands


def names() -> tuple[Row, ...]:
    """The one, which needs nothing."""
    return (
        Row(
            name=_NAME,
            modality="audio",
            dimension=_DIMENSION,
            parameters=_PARAMETERS,
            licence="Apache-2.0",
            source="computed, no weights",
            offline=True,
        ),
    )


def examples(folder: Path) -> tuple[tuple[str, Setting], ...]:
    """The one."""
    del folder
    return ((_NAME, Setting()),)


def load(name: str, setting: Setting) -> Backbone:
    """The baseline.

    Raises:
        LookupError: another name.
    """
    del setting
    if name != _NAME:
        raise LookupError(f"no computed backbone of sounds is named {name!r}; choose {_NAME}")
    from exporters.backbone import Backbone, MemberGraph

    windows = Windows()
    model = graph(windows)
    return Backbone(
        name=_NAME,
        source="computed, no weights",
        modality="audio",
        digest=hashlib.sha256(model).hexdigest(),
        licence="Apache-2.0",
        parameters=_PARAMETERS,
        dimension=_DIMENSION,
        inputs={KEY: Input(shape=(None, windows.samples), dtype=np.dtype(np.float32))},
        files={FILE: windows.to_bytes()},
        transform="l2",
        body=MemberGraph(model=model),
    )


def graph(windows: Windows) -> bytes:
    """The whole backbone as an ONNX graph of (B, W, S) sounds."""
    from exporters import sound

    made = sound.Graph()
    flat = made.windows(windows.samples)
    bands_FM = sound.mel(_SIZE, windows.rate, _BANDS, _LOWEST, _HIGHEST)
    power = made.frames(made.spectrum(flat, *sound.fourier(_SIZE, _LENGTH), _HOP), bands_FM)
    raised = made.add("Add", power, made.constant(_FLOOR))
    levels = made.add("Log", made.add("Div", raised, made.constant(_FLOOR)))
    held = made.sounding(flat, _SIZE, _HOP)
    shares = made.shares(held)
    course = made.course(levels, shares, sound.count(windows.samples, _SIZE, _HOP), _WAVES)
    later, earlier = _pair(made, levels, 1)
    step = made.add("Sub", later, earlier)
    both = made.shares(made.add("Mul", *_pair(made, held, 1)))
    change = made.add("Sqrt", made.mean(made.add("Mul", step, step), both))
    raw = made.add("Concat", course, made.deviation(levels, shares), change, axis=1)
    return made.member(made.sound(raw, _DIMENSION), windows, _DIMENSION)


def _pair(made: Graph, values: str, axis: int) -> tuple[str, str]:
    """All but the first, and all but the last along an axis."""
    largest = np.iinfo(np.int64).max
    later = made.add("Slice", values, made.axes(1), made.axes(largest), made.axes(axis))
    return later, made.add("Slice", values, made.axes(0), made.axes(-1), made.axes(axis))

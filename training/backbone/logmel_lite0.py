"""EfficientNet-Lite0, trained on photographs, looking at a log-mel spectrogram: sounds of every kind.

When to use: sounds that are neither words nor voices (machines, animals, alarms), where shapes in time and pitch tell
classes apart that plain statistics (logmel) do not. Limit: it has never heard a sound in training; on spoken words and
on voices it lost to logmel by 8 to 22 points (benchmarks/sounds.py), so compare the two. Promises weights as in
training.backbone.packaged. Knows nothing of selection.

Per window: 96 bands from 20 Hz to 8 kHz every 10 ms, in logarithms from -32 dB (black) to 23 dB (white) of a band's
power, as a grey picture. Windows are averaged. The idea: Palanisamy et al., Rethinking CNN models for audio
classification, arXiv 2007.11154.

>>> [row.dimension for row in names()]
[1280]
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING

from core.modality.audio import FILE, Windows
from training.backbone import packaged
from training.zoo import Row, Setting

if TYPE_CHECKING:
    from exporters.backbone import Backbone

_NAME = "logmel_lite0"
_SEES = "efficientnet_lite0"
_SIZE, _LENGTH, _HOP = 512, 400, 160  # samples: of the transform, of the Hann window in it, from frame to frame
_BANDS, _LOWEST, _HIGHEST = 96, 20.0, 8_000.0  # Hz
_FLOOR, _CEILING = 1e-3, 200.0  # of a band's power


def names() -> tuple[Row, ...]:
    """The one, whether or not the weights are installed here."""
    (seen,) = (row for row in packaged.names() if row.name == _SEES)
    return (
        Row(
            name=_NAME,
            modality="audio",
            dimension=seen.dimension,
            parameters=seen.parameters,
            licence=seen.licence,
            source=seen.source,
            offline=seen.offline,
        ),
    )


def examples(folder: Path) -> tuple[tuple[str, Setting], ...]:
    """The one."""
    del folder
    return ((_NAME, Setting()),)


def load(name: str, setting: Setting) -> Backbone:
    """The backbone.

    Raises:
        LookupError: another name; BadConfiguration: the package of the weights is missing or not as expected.
    """
    del setting
    if name != _NAME:
        raise LookupError(f"no backbone that looks at sounds is named {name!r}; choose {_NAME}")
    from exporters.backbone import Backbone, Normalised
    from exporters.hearing import Bands, Pictures, Windowed, inputs
    from exporters.sound import fourier, mel

    windows = Windows()
    sees = packaged.load(_SEES, Setting(size=_BANDS))
    assert isinstance(sees.body, Normalised)
    bands = Bands(*fourier(_SIZE, _LENGTH), mel(_SIZE, windows.rate, _BANDS, _LOWEST, _HIGHEST), _HOP)
    told = f"{sees.digest} {_SIZE} {_LENGTH} {_HOP} {_BANDS} {_LOWEST} {_HIGHEST} {_FLOOR} {_CEILING}"
    return Backbone(
        name=_NAME,
        source=sees.source,
        modality="audio",
        digest=hashlib.sha256(told.encode()).hexdigest(),
        licence=sees.licence,
        parameters=sees.parameters,
        dimension=sees.dimension,
        inputs=inputs(windows),
        files={FILE: windows.to_bytes()},
        body=Windowed(Pictures(sees.body.model, bands, _FLOOR, _CEILING)).eval(),
        tolerance=1e-3,  # of logarithms of faint bands, in 32 bits
    )

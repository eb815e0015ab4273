"""Any image model of timm, with weights from a local safetensors file or from the Hugging Face hub.

When to use: a GPU, a network or a weights file is at hand and the packaged backbones are not enough. Limit: timm's
models are ImageNet-like; licences differ and are shown. Promises weights from safetensors alone (no pickle), and an
error with its remedy where there is no network. Knows nothing of selection or export.

A name is timm's own (``resnet18``) or that and a weights file: ``resnet18@/path/model.safetensors``.

Reference: Wightman, PyTorch Image Models, doi 10.5281/zenodo.4414861.

>>> [row.name for row in names()][0]
'timm:mobilenetv3_small_050'
"""

from __future__ import annotations

import hashlib
import sys
from importlib import util
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from core.errors import InvalidInput, NotFound, Unavailable
from training.zoo import Row, Setting

if TYPE_CHECKING:
    import torch

    from exporters.backbone import Backbone


class _Known(NamedTuple):
    name: str
    hub: str
    dimension: int
    parameters: int  # without the classifier
    licence: str = "Apache-2.0"


# A short list to choose from; any other name of timm loads as well.
_TABLE = (
    _Known("mobilenetv3_small_050", "timm/mobilenetv3_small_050.lamb_in1k", 1024, 568_224),
    _Known("mobilenetv3_large_100", "timm/mobilenetv3_large_100.ra_in1k", 1280, 4_202_032),
    _Known("vit_tiny_patch16_224", "timm/vit_tiny_patch16_224.augreg_in21k_ft_in1k", 192, 5_524_416),
    _Known("resnet18", "timm/resnet18.a1_in1k", 512, 11_176_512),
    _Known("vit_small_patch16_224", "timm/vit_small_patch16_224.augreg_in21k_ft_in1k", 384, 21_665_664),
    _Known("resnet50", "timm/resnet50.a1_in1k", 2048, 23_508_032),
    _Known("convnext_tiny", "timm/convnext_tiny.in12k_ft_in1k", 768, 27_820_128),
)
_FILE = "model.safetensors"
_PIXEL = 255.0  # timm states mean and deviation for pixels in 0 to 1


def names() -> tuple[Row, ...]:
    """A short list of models worth trying, with what the hub's cache on this machine holds marked as offline."""
    return tuple(
        Row(
            name=f"timm:{known.name}",
            modality="image",
            dimension=known.dimension,
            parameters=known.parameters,
            licence=known.licence,
            source=f"hub {known.hub}",
            offline=_cached(known.hub) is not None,
        )
        for known in _TABLE
    )


def examples(folder: Path) -> tuple[tuple[str, Setting], ...]:
    """timm's smallest convolutional and transformer models, with seeded weights written to ``folder``."""
    import timm
    import torch
    from safetensors.torch import save_file

    made = []
    for name, size in (("test_resnet", 64), ("test_vit", 64)):
        with torch.random.fork_rng():
            torch.manual_seed(0)
            model = timm.create_model(name, pretrained=False)
        path = folder / f"{name}.safetensors"
        save_file(model.state_dict(), path)
        made.append((f"{name}@{path}", Setting(size=size)))
    return tuple(made)


def load(name: str, setting: Setting) -> Backbone:
    """The backbone for pictures of ``setting.size`` by as much.

    Raises:
        LookupError: timm has no such model; NotFound: no such file; Unavailable: neither cached nor to be fetched;
        InvalidInput: the weights or the size do not fit the model.
    """
    import timm

    from exporters.backbone import Backbone, Normalised, pictures

    size = setting.side
    model_name, _, given = name.partition("@")
    if not timm.is_model(model_name):
        near = timm.list_models(f"*{model_name[:6]}*")[:10] or timm.list_models()[:10]
        raise LookupError(f"timm has no model named {model_name!r}; choose for example one of: {', '.join(near)}")
    settings = timm.models.get_pretrained_cfg(model_name)
    assert settings is not None
    path = _local(given) if given else _fetched(model_name, settings.hf_hub_id)
    try:
        model, dimension = _built(model_name, size, path, settings.fixed_input_size)
    except Exception as error:  # timm's models and loaders raise what they please
        raise InvalidInput(
            f"{model_name} at {size} pixels does not work with {path.name}: {str(error)[:300]}",
            "give the safetensors file of that very model, and a size that it takes (try 224)",
        ) from error
    return Backbone(
        name=f"timm:{model_name}",
        source=f"file {path.name}" if given else f"hub {settings.hf_hub_id}",
        modality="image",
        digest=hashlib.sha256(path.read_bytes()).hexdigest(),
        licence=settings.license or "unknown",
        parameters=sum(parameter.numel() for parameter in model.parameters()),
        dimension=dimension,
        inputs=pictures((size, size)),
        body=Normalised(model, _scaled(settings.mean), _scaled(settings.std)).eval(),
    )


def _built(name: str, size: int, path: Path, sized: bool) -> tuple[torch.nn.Module, int]:
    """The model without its classifier, every other weight read, and its width.

    Models of fixed size (transformers) are built for ``size``; timm's own filter of that architecture renames and
    resizes what older files hold.
    """
    import timm
    import torch

    extra: dict[str, Any] = {"img_size": size} if sized else {}
    model = timm.create_model(name, pretrained=False, num_classes=0, **extra)
    fitted = getattr(sys.modules[type(model).__module__], "checkpoint_filter_fn", None)
    found = timm.models.load_checkpoint(model, str(path), strict=False, filter_fn=fitted)
    if found.missing_keys:
        raise ValueError(f"the file lacks {len(found.missing_keys)} tensors, among them {found.missing_keys[0]}")
    with torch.inference_mode():
        width = model.eval()(torch.zeros(1, 3, size, size)).shape[1]
    return model, int(width)


def _local(given: str) -> Path:
    path = Path(given)
    if path.suffix != ".safetensors":
        raise InvalidInput(
            f"weights file {path.name!r} is not a safetensors file",
            "convert it with safetensors.torch.save_file; pickled weights are never read",
        )
    if not path.is_file():
        raise NotFound(f"there is no weights file {path}", "give the path of an existing .safetensors file")
    return path


def _fetched(name: str, hub: str | None) -> Path:
    """The weights from the hub's cache, else from the hub."""
    from huggingface_hub import hf_hub_download

    remedy = f"give a local file (timm:{name}@/path/model.safetensors), or choose efficientnet_lite0, which is packaged"
    if hub is None:
        raise Unavailable(f"timm states no weights on the hub for {name}", remedy)
    cached = _cached(hub)
    if cached is not None:
        return cached
    try:
        return Path(hf_hub_download(hub, _FILE))
    except Exception as error:  # no network, no such file, offline mode: one class each, and httpx's own
        raise Unavailable(f"the weights of {name} ({hub}) cannot be fetched: {str(error)[:200]}", remedy) from error


def _cached(hub: str) -> Path | None:
    if util.find_spec("huggingface_hub") is None:
        return None
    from huggingface_hub import try_to_load_from_cache

    found = try_to_load_from_cache(hub, _FILE)
    return Path(found) if isinstance(found, str) else None


def _scaled(values: tuple[float, ...]) -> tuple[float, ...]:
    return tuple(value * _PIXEL for value in values)

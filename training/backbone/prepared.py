"""A backbone that was prepared for small scenes (training.preparation): ``prepared:FOLDER``.

When to use: a new scene of few labels whose classes are like those it was prepared on; name it beside the untouched
backbone, and leave-one-out chooses. Limit: where they are not alike it may be the worse one. Promises that loading
reads safetensors, never a pickle. Knows nothing of how it was prepared.

>>> names()
()
"""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from core.errors import BadConfiguration, InvalidInput
from training.zoo import Row, Setting

if TYPE_CHECKING:
    from exporters.backbone import Backbone

WEIGHTS = "backbone.safetensors"


def names() -> tuple[Row, ...]:
    """None: they are known by their folders."""
    return ()


def examples(folder: Path) -> tuple[tuple[str, Setting], ...]:
    """A small network of pictures as if it had been prepared, for pictures of the same size and of another."""
    from training import zoo
    from training.backbone import timm

    name, setting = timm.examples(folder)[0]
    write(replace(zoo.load(f"timm:{name}", setting), recipe="prepare"), folder / "prepared")
    return tuple((str(folder / "prepared"), Setting(size=size)) for size in (64, 96))


def write(backbone: Backbone, folder: Path) -> None:
    """A torch backbone of the zoo into a folder, whole or not at all."""
    from training import tuned

    folder.mkdir(parents=True, exist_ok=True)
    part = folder / f"{WEIGHTS}.part"
    part.write_bytes(tuned.to_bytes(backbone))
    part.rename(folder / WEIGHTS)


def load(name: str, setting: Setting) -> Backbone:
    """The backbone in the folder ``name``.

    Raises:
        BadConfiguration: there is none in the folder; InvalidInput: it cannot be built again, or not of this size.
    """
    from training import tuned

    folder = Path(name)
    try:
        data = (folder / WEIGHTS).read_bytes()
    except OSError as error:
        raise BadConfiguration(
            f"{WEIGHTS} in {folder.name!r} cannot be read: {error.strerror}",
            "give the folder that lepton prepare has written",
        ) from error
    found = tuned.from_bytes(data, f"prepared:{folder.name}", setting.size)
    if "image" not in found.inputs and setting.size is not None:
        raise InvalidInput(f"prepared:{folder.name} takes {found.modality}, and the data are pictures", "name another")
    return replace(
        found,
        name=f"prepared:{folder.name}",
        source=f"folder {folder.name}, from {found.source}",
        digest=hashlib.sha256(data).hexdigest(),
        licence=f"{found.licence}, and as the rows that it was prepared on",
        recipe="",
    )

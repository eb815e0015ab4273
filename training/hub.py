"""A model's folder from the Hugging Face hub, or from what its cache on this machine holds.

Promises that no file is fetched beside those that were asked for, so no code and no pickle, and an error with its
remedy where there is no network. Knows nothing of what is in the files.
"""

from __future__ import annotations

from collections.abc import Sequence
from importlib import util
from pathlib import Path
from typing import NamedTuple

from core.errors import Unavailable
from training.zoo import Row


class Known(NamedTuple):
    """A model that is worth naming; ``parameters`` of what is used of it."""

    hub: str
    dimension: int
    parameters: int
    licence: str


def rows(plugin: str, modality: str, table: Sequence[Known], needed: Sequence[str]) -> tuple[Row, ...]:
    """What a plugin of the zoo knows by name, those marked as offline whose files the hub's cache here holds."""
    return tuple(
        Row(
            name=f"{plugin}:{known.hub}",
            modality=modality,
            dimension=known.dimension,
            parameters=known.parameters,
            licence=known.licence,
            source=f"hub {known.hub}",
            offline=cached(known.hub, needed) is not None,
        )
        for known in table
    )


def cached(name: str, files: Sequence[str]) -> Path | None:
    """The folder of the hub's cache that holds all of ``files``."""
    if util.find_spec("huggingface_hub") is None:
        return None
    from huggingface_hub import try_to_load_from_cache

    found = [try_to_load_from_cache(name, file) for file in files]
    return Path(found[0]).parent if isinstance(found[0], str) and all(isinstance(f, str) for f in found) else None


def fetched(name: str, files: Sequence[str], remedy: str) -> Path:
    """The folder with those of ``files`` that the model has.

    Raises:
        Unavailable: no network, no such model, offline mode, or a name that the hub cannot have.
    """
    from huggingface_hub import snapshot_download

    try:
        return Path(snapshot_download(name, allow_patterns=list(files)))
    except Exception as error:  # one class each, and httpx's own
        told = " ".join(str(error).split())[:200]
        raise Unavailable(
            f"the model {name[:200]!r} is no folder here, and cannot be fetched from the hub: {told}", remedy
        ) from error

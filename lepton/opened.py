"""What commands open: a version with the newest head that serves it, and the rooms that need the training packages.

Promises a clear word where either is missing.
"""

from __future__ import annotations

import importlib
from typing import Any

from core.errors import BadConfiguration, NotFound
from core.home import Home
from core.registry import short
from core.types import Head, Scene, Version


def served(home: Home, scene: str, version: str | None) -> tuple[Scene, Version, Head]:
    """Scene, version and the newest head that serves it."""
    held = home.registry.scene(scene)
    if version is None:
        alias = home.registry.champion(scene)
        if alias is None:
            raise NotFound(f"scene {scene!r} has no version yet", "make one with lepton adapt")
        version = alias.version
    chosen = home.registry.version(scene, version)
    revision = home.registry.latest_revision(scene, chosen.version)
    if revision is None:
        raise NotFound(
            f"the heads of version {short(chosen.version)} were erased", "start the learner: it makes a new one"
        )
    return held, chosen, revision.head


def training_module(name: str) -> Any:
    """A module of training/, or a clear word where its packages are not installed."""
    try:
        return importlib.import_module(f"training.{name}")
    except ModuleNotFoundError as error:
        raise BadConfiguration(
            f"this command needs the package {error.name}, which is not installed",
            "install Lepton with its training extra: pip install -c constraints.txt -e '.[train]'",
        ) from error

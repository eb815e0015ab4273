"""The registered versions that are to be fused, each checked and opened.

Promises that what is refused is refused before any work, with the version named. Knows nothing of methods.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass, field

from core import plugins
from core.bundle import Bundle, Manifest
from core.errors import Conflict, InvalidInput, NotFound
from core.federation import FOREIGN
from core.home import Home
from core.preprocess import Preprocessor
from core.registry import short
from core.session import Session
from core.types import Scene, Version

TRANSFER = "training.transfer"


@dataclass(frozen=True, kw_only=True)
class Parent:
    """One version, opened."""

    version: Version
    bundle: Bundle = field(repr=False)
    home: Home = field(repr=False)

    @property
    def name(self) -> str:
        """What people call it: its number and what is in it."""
        return f"{self.version.number} ({' + '.join(member.name for member in self.manifest.members)})"

    @property
    def manifest(self) -> Manifest:
        """What is known of it."""
        return self.bundle.manifest

    @functools.cached_property
    def session(self) -> Session:
        """Its model, on one thread, as candidates are compared."""
        return Session(self.bundle.model)

    @functools.cached_property
    def preprocessor(self) -> Preprocessor:
        """What reads examples for it."""
        return self.home.preprocessor(self.bundle, self.session)


def parents(home: Home, scene: Scene, named: Sequence[str]) -> tuple[Parent, ...]:
    """The versions by their names.

    Raises:
        InvalidInput: fewer than two, one of them twice, or two that compute the same features.
        NotFound: no such version of the scene; where another scene has it, that is said.
        Conflict: a version is quarantined. BrokenBundle: its files are gone or changed.
    """
    if len(named) < 2:
        raise InvalidInput(
            f"{len(named)} version leaves nothing to fuse", f"name at least two: lepton versions {scene.name}"
        )
    found = [_version(home, scene, name) for name in named]
    for place, version in enumerate(found):
        if version.version in [other.version for other in found[:place]]:
            raise InvalidInput(f"version {short(version.version)} is named twice", "name each version once")
        if version.state == "quarantined":
            raise Conflict(
                f"version {short(version.version)} is quarantined: {version.reason}",
                f"leave it out, or release it: lepton versions {scene.name} --release {short(version.version)}",
            )
    opened = tuple(Parent(version=version, bundle=home.bundle(version.version), home=home) for version in found)
    for parent in opened:
        check_rows(parent)
    for place, parent in enumerate(opened):
        same = next((p for p in opened[:place] if p.manifest.extractor == parent.manifest.extractor), None)
        if same is not None:
            raise InvalidInput(
                f"versions {same.name} and {parent.name} compute the same features, so there is nothing to fuse",
                "name versions of other backbones or other weights",
            )
    return opened


def check_rows(parent: Parent) -> None:
    """Whether what a version learned from would have features under another graph.

    Raises:
        InvalidInput: its head includes rows that are not here, or rows of another extractor.
    """
    if parent.manifest.recipe in plugins.names(TRANSFER):
        raise InvalidInput(
            f"version {parent.name} was made by {parent.manifest.recipe} for inputs without labels: its labelled "
            "examples keep features of another extractor, which a fused graph would not give",
            "fuse versions that were adapted without --unlabelled",
        )
    if FOREIGN in parent.bundle.files:
        raise InvalidInput(
            f"the head of version {parent.name} includes sums of other sites, which are of its own features",
            "fuse the versions first, then let every site export its statistics of the fused one",
        )


def _version(home: Home, scene: Scene, name: str) -> Version:
    try:
        return home.registry.version(scene.name, name)
    except NotFound as error:
        for other in home.registry.scenes():
            held = [each for each in home.registry.versions(other.name) if each.version.startswith(name)]
            if other.name != scene.name and held and not name.isdigit():
                raise NotFound(
                    f"version {name[:12]} belongs to scene {other.name!r}, not to {scene.name!r}",
                    "fuse versions of one scene; scenes over one backbone add up by --method statistics",
                ) from error
        raise


def check_reading(parents: Sequence[Parent]) -> None:
    """Whether all versions take the very same inputs.

    Raises:
        InvalidInput: they do not; the two that differ are named.
    """
    first = parents[0]
    for parent in parents[1:]:
        if dict(parent.session.inputs) != dict(first.session.inputs):
            raise InvalidInput(
                f"versions {first.name} and {parent.name} take other inputs: {_told(first)} and {_told(parent)}",
                "adapt them again at one size: lepton adapt … --size",
            )
        same_files = dict(parent.preprocessor.files) == dict(first.preprocessor.files)
        if parent.manifest.preprocessing != first.manifest.preprocessing or not same_files:
            raise InvalidInput(
                f"versions {first.name} and {parent.name} read their input in different ways",
                "fuse versions that share a tokenizer, a schema or windows",
            )


def _told(parent: Parent) -> str:
    return ", ".join(f"{name} {list(held.shape)}" for name, held in sorted(parent.session.inputs.items()))

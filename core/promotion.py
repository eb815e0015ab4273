"""Making a version champion: only with features for all that stands, and with the head of today's labels.

Promises that alias, revision and audit row move together or not at all. Knows nothing of gates or of traffic.
"""

from __future__ import annotations

from collections.abc import Callable

from core.embed import embed
from core.errors import Conflict
from core.home import Home
from core.registry import Alias
from core.session import Session
from core.types import Head


def promote(home: Home, scene: str, version: str, *, expected_generation: int, action: str = "promote") -> Alias:
    """Promote a version that has features for everything that stands.

    Raises:
        NotFound: no such scene or version.
        Conflict: the champion moved, the version is quarantined, or examples still lack features under it.
        BrokenBundle: its files are not what they should be.
    """
    held, chosen = home.registry.scene(scene), home.registry.version(scene, version)
    if chosen.state == "quarantined":
        raise Conflict(f"version {chosen.version[:12]} is quarantined: {chosen.reason}", "promote another version")
    home.bundle(chosen.version)
    follower = home.follower(held, chosen)
    follower.catch_up()
    waiting = [example for example in follower.missing if home.evidence.input(example) is not None]
    if waiting:
        raise Conflict(
            f"{len(waiting)} standing examples have no features under version {chosen.version[:12]} yet",
            f"run: lepton promote {scene} {chosen.version[:12]}",
        )

    detail: dict[str, object] = {"unavailable": len(follower.missing)}

    def today() -> Head | None:
        follower.catch_up()
        detail["sequence"] = follower.sequence
        return follower.head()

    return home.registry.promote(
        scene,
        chosen.version,
        expected_generation=expected_generation,
        head=today,
        action=action,
        detail=detail,
    )


def prepare(home: Home, scene: str, version: str, progress: Callable[[int, int], None]) -> int:
    """Embed what stands but lacks features under a version; returns how many examples have no input any more."""
    held, chosen = home.registry.scene(scene), home.registry.version(scene, version)
    follower = home.follower(held, chosen)
    follower.catch_up()
    if not follower.missing:
        return 0
    bundle = home.bundle(chosen.version)
    session = Session(bundle.model, threads=2)
    reader = home.preprocessor(bundle, session)
    done = embed(home.evidence, session, reader, follower.extractor, follower.missing, progress=progress)
    return len(done.unavailable)

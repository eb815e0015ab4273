"""Making a version champion, or challenger: only with features for all that stands, and today's labels in its head.

Promises that alias, revision and audit row move together or not at all. Knows nothing of gates or of traffic.
"""

from __future__ import annotations

from collections.abc import Callable

from core.challenges import Challenge, Judge, Mode, check
from core.embed import embed
from core.errors import Conflict, LeptonError
from core.follow import Follower
from core.home import Home
from core.registry import Alias
from core.session import Session
from core.types import Head, Version


def promote(
    home: Home, scene: str, version: str, *, expected_generation: int, action: str = "promote", why: str = ""
) -> Alias:
    """Promote a version that has features for everything that stands; ``why`` goes into the audit.

    Raises:
        NotFound: no such scene or version.
        Conflict: the champion moved, the version is quarantined, or examples still lack features under it.
        BrokenBundle: its files are not what they should be.
    """
    held, chosen = home.registry.scene(scene), home.registry.version(scene, version)
    if chosen.state == "quarantined":
        raise Conflict(
            f"version {chosen.version[:12]} is quarantined: {chosen.reason}",
            f"promote another version, or release it: lepton versions {scene} --release {chosen.version[:12]}",
        )
    home.bundle(chosen.version)
    follower = home.follower(held, chosen, upto=home.holds.upto(scene))
    follower.catch_up()
    _complete(home, follower, chosen, f"lepton promote {scene} {chosen.version[:12]}")
    detail: dict[str, object] = {"unavailable": len(follower.missing)} | ({"reason": why} if why else {})

    def today() -> Head | None:
        head = _today(home, follower, chosen)
        detail["sequence"] = follower.sequence
        return head

    return home.registry.promote(
        scene,
        chosen.version,
        expected_generation=expected_generation,
        head=today,
        action=action,
        detail=detail,
    )


def challenge(
    home: Home,
    scene: str,
    version: str,
    *,
    mode: Mode,
    share: float,
    expected_generation: int,
    judge: Judge = "people",
    probation: bool = False,
) -> Challenge:
    """Let a version that has features for everything that stands challenge the champion.

    Raises:
        NotFound: no such scene or version.
        InvalidInput: no such mode or share, or the version is champion.
        Conflict: the challenge moved, the version is quarantined, or examples still lack features under it.
        BrokenBundle: its files are not what they should be.
    """
    held, chosen = home.registry.scene(scene), home.registry.version(scene, version)
    check(mode, share, judge)
    home.bundle(chosen.version)
    follower = home.follower(held, chosen, upto=home.holds.upto(scene))
    follower.catch_up()
    _complete(home, follower, chosen, f"lepton challenge {scene} {chosen.version[:12]} --mode {mode} --share {share}")

    def today() -> Head | None:
        return _today(home, follower, chosen)

    return home.challenges.begin(
        scene,
        chosen.version,
        mode=mode,
        share=share,
        expected_generation=expected_generation,
        head=today,
        judge=judge,
        probation=probation,
    )


def watch_over(home: Home, scene: str, former: str) -> str:
    """Let the former champion shadow the new one for a probation, where the settings ask for one, so that evidence may
    bring it back, in the place of an earlier probation; where that cannot be, the promotion stands all the same, and
    the words say why."""
    if not home.settings.challenge.probation_labels:
        return ""
    held = home.challenges.of(scene)
    if held is not None and not held.probation:
        return "another challenge is running"
    generation = home.challenges.generation(scene)
    try:
        challenge(
            home,
            scene,
            former,
            mode="shadow",
            share=1.0,
            expected_generation=generation,
            judge="evidence",
            probation=True,
        )
    except LeptonError as error:
        return str(error)
    return ""


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


def _today(home: Home, follower: Follower, version: Version) -> Head | None:
    """The head of what stands; a task of which nothing does has the one of the bundle. None where nothing stands."""
    follower.catch_up()
    return follower.head(home.registry.first_head(version.scene, version.version)) if follower.serves else None


def _complete(home: Home, follower: Follower, version: Version, remedy: str) -> None:
    """Whether all that stands and can be read has features under the version."""
    waiting = [example for example in follower.missing if home.evidence.input(example) is not None]
    if waiting:
        raise Conflict(
            f"{len(waiting)} standing examples have no features under version {version.version[:12]} yet",
            f"run: {remedy}",
        )

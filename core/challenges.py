"""Challengers: of each scene at most one version that takes a copy, or a share, of the champion's traffic.

Promises that a challenge begins, changes and ends with its audit row in one transaction, by compare-and-swap on a
generation that never goes back. Knows nothing of traffic, nor of who wins.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, cast

import sqlalchemy as sa

from core.audit import note
from core.database import Database, aliases, challenges, insert, versions
from core.errors import Conflict, InvalidInput, NotFound
from core.revisions import insert_revision, last_number
from core.types import Head, Revision

Mode = Literal["shadow", "split"]
MODES: tuple[Mode, ...] = ("shadow", "split")
Judge = Literal["people", "evidence"]
JUDGES: tuple[Judge, ...] = ("people", "evidence")


@dataclass(frozen=True, kw_only=True)
class Challenge:
    """A running challenge.

    Attributes:
        mode: ``shadow``: the challenger gets a copy, and nobody its answer; ``split``: it answers its share.
        share: of the traffic, 0 to 1.
        generation: counts begins, changes and ends.
        judge: ``people`` promote or stop it; ``evidence``: the learner does, as soon as labels show who is better.
        probation: whether the challenger is the champion of before, watching the one that was promoted by evidence.
        began_at: since when this version has been challenging in this mode; seconds since the epoch.
    """

    scene: str
    version: str
    mode: Mode
    share: float
    generation: int
    began_at: float
    judge: Judge = "people"
    probation: bool = False


class Challenges:
    """Reads and writes challenges."""

    def __init__(self, database: Database, clock: Callable[[], float] = time.time):
        self.database = database
        self._clock = clock

    def all(self) -> dict[str, Challenge]:
        """The running challenges, by scene."""
        with self.database.read() as connection:
            rows = connection.execute(sa.select(challenges).where(challenges.c.version.is_not(None)))
            return {row.scene: Challenge(**row._mapping) for row in rows}

    def of(self, scene: str) -> Challenge | None:
        """The running challenge of a scene."""
        return self.all().get(scene)

    def generation(self, scene: str) -> int:
        """How often the scene's challenge has begun, changed or ended; 0 where there was none."""
        with self.database.read() as connection:
            return _generation(connection, scene)

    def begin(
        self,
        scene: str,
        version: str,
        *,
        mode: Mode,
        share: float,
        expected_generation: int,
        head: Callable[[], Head | None],
        judge: Judge = "people",
        probation: bool = False,
    ) -> Challenge:
        """Let a version challenge, or change how; it answers with ``head``, which is solved while nobody writes.

        Raises:
            InvalidInput: no such mode or share, or the version is champion.
            Conflict: somebody began, changed or ended a challenge since, or the version is quarantined.
        """
        check(mode, share, judge)
        with self.database.write() as connection:
            generation = _generation(connection, scene)
            if generation != expected_generation:
                raise Conflict(
                    f"the challenge of {scene!r} is at generation {generation}, not {expected_generation}",
                    "read the scene again, then decide again",
                )
            _check_version(connection, scene, version)
            now, held = self._clock(), _running(connection, scene)
            goes_on = held is not None and (held.version, held.mode) == (version, mode)
            if held is None or held.version != version:
                _publish(connection, scene, version, head(), now)
            row: dict[str, object] = {"version": version, "mode": mode, "share": share, "generation": generation + 1}
            row |= {"judge": judge, "probation": probation}
            row["began_at"] = held.began_at if held is not None and goes_on else now
            written = insert(connection, challenges).values(scene=scene, **row)
            connection.execute(written.on_conflict_do_update(index_elements=["scene"], set_=row))
            detail: dict[str, object] = {"mode": mode, "share": share}
            detail |= {"judge": judge, "probation": probation} if judge == "evidence" else {}
            note(connection, scene, now, "challenge", version=version, generation=generation + 1, detail=detail)
            made = _running(connection, scene)
        assert made is not None, "it was written just now"
        return made

    def end(self, scene: str, reason: str = "it was stopped") -> Challenge:
        """End the challenge; returns what it was.

        Raises:
            NotFound: there is none.
        """
        with self.database.write() as connection:
            held = _running(connection, scene)
            if held is None:
                raise NotFound(f"scene {scene[:80]!r} has no challenger", "begin a challenge with lepton challenge")
            end_of(connection, scene, held.version, self._clock(), reason)
        return held


def check(mode: str, share: float, judge: str = "people") -> None:
    """Whether a challenge may be so.

    Raises:
        InvalidInput: it may not.
    """
    if mode not in MODES:
        raise InvalidInput(f"there is no mode {mode[:40]!r}", f"choose one of: {', '.join(MODES)}")
    if not 0 <= share <= 1:
        raise InvalidInput(f"share is {share}", "give a share of the traffic from 0 to 1")
    if judge not in JUDGES:
        raise InvalidInput(f"there is no judge {judge[:40]!r}", f"choose one of: {', '.join(JUDGES)}")


def end_of(connection: sa.Connection, scene: str, version: str, now: float, reason: str) -> None:
    """End the challenge of this version, where it runs, inside the caller's transaction."""
    held = _running(connection, scene)
    if held is None or held.version != version:
        return
    generation = held.generation + 1
    ended = {"version": None, "mode": None, "share": None, "generation": generation, "began_at": now}
    connection.execute(sa.update(challenges).where(challenges.c.scene == scene).values(**ended))
    note(
        connection,
        scene,
        now,
        "end challenge",
        version=version,
        generation=generation,
        detail={"reason": reason, "mode": held.mode, "share": held.share},
    )


def _check_version(connection: sa.Connection, scene: str, version: str) -> None:
    champion = sa.select(aliases.c.version).where(aliases.c.scene == scene, aliases.c.alias == "champion")
    if connection.execute(champion).scalar() == version:
        raise InvalidInput(f"version {version[:12]} is the champion of {scene!r}", "let another version challenge it")
    here = sa.select(versions.c.state, versions.c.reason).where(
        versions.c.scene == scene, versions.c.version == version
    )
    row = connection.execute(here).one()
    if row.state == "quarantined":
        raise Conflict(
            f"version {version[:12]} is quarantined: {row.reason}",
            f"let another version challenge, or release it: lepton versions {scene} --release {version[:12]}",
        )


def _publish(connection: sa.Connection, scene: str, version: str, head: Head | None, now: float) -> None:
    if head is not None:
        number = last_number(connection, scene, version) + 1
        insert_revision(connection, Revision(scene=scene, version=version, number=number, head=head), now)


def _generation(connection: sa.Connection, scene: str) -> int:
    counted = sa.select(challenges.c.generation).where(challenges.c.scene == scene)
    return cast("int", connection.execute(counted).scalar() or 0)


def _running(connection: sa.Connection, scene: str) -> Challenge | None:
    here = (challenges.c.scene == scene) & challenges.c.version.is_not(None)
    row = connection.execute(sa.select(challenges).where(here)).first()
    return None if row is None else Challenge(**row._mapping)

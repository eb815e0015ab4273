"""The registry: scenes, their versions, who is champion, and the head revisions of each version.

Promises that an alias moves with its audit row and the new champion's revision in one transaction, by compare-and-swap
on the alias generation, and that a revision is seen whole or not at all. Knows nothing of how models are made.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Literal

import sqlalchemy as sa

from core.audit import note
from core.challenges import end_of
from core.database import Database, aliases, audit, insert, label_events, revisions, scenes, versions
from core.errors import Conflict, NotFound, Overtaken
from core.failpoint import passes
from core.ids import check_scene
from core.lease import Lease, confirm
from core.revisions import insert_revision, last_number, revision_of
from core.scenes import merged, row_of, scene_of
from core.tasks import check_tasks
from core.types import Head, Revision, Scene, Version

CHAMPION = "champion"
SHORTEST_PREFIX = 6


@dataclass(frozen=True, kw_only=True)
class Alias:
    """Which version an alias names; ``generation`` counts its moves, ``updated_at`` is when the last one was."""

    version: str
    generation: int
    updated_at: float = 0.0


class Registry:
    """Reads and writes scenes, versions, aliases and revisions.

    ``job`` is the job that this process works for; it is noted with every version that is registered.
    """

    def __init__(self, database: Database, clock: Callable[[], float] = time.time):
        self.database = database
        self.job: str | None = None
        self._clock = clock

    def declare(self, scene: Scene) -> Scene:
        """Make the scene, or bring new labels to the one there is (appended, so that class order is kept).

        Raises:
            InvalidInput: the scene exists with other tasks or another modality, or a name cannot be used.
        """
        check_scene(scene.name)
        if scene.further:
            check_tasks([task.task_name for task in scene.tasks])
        with self.database.write() as connection:
            row = connection.execute(sa.select(scenes).where(scenes.c.name == scene.name)).first()
            if row is None:
                made = row_of(replace(scene, hash_key=scene.hash_key or os.urandom(32)))
                connection.execute(sa.insert(scenes).values(**made, created_at=self._clock()))
            else:
                now = merged(scene_of(row._mapping), scene)
                connection.execute(sa.update(scenes).where(scenes.c.name == scene.name).values(**row_of(now)))
        return self.scene(scene.name)

    def scene(self, name: str) -> Scene:
        """The scene.

        Raises:
            NotFound: there is none of that name.
        """
        with self.database.read() as connection:
            row = connection.execute(sa.select(scenes).where(scenes.c.name == name)).first()
        if row is None:
            known = ", ".join(scene.name for scene in self.scenes()) or "none yet"
            raise NotFound(f"there is no scene {name[:80]!r}; there is: {known}", "check the name, or run lepton adapt")
        return scene_of(row._mapping)

    def scenes(self) -> list[Scene]:
        """All scenes, by name."""
        with self.database.read() as connection:
            return [scene_of(row._mapping) for row in connection.execute(sa.select(scenes).order_by(scenes.c.name))]

    def register(
        self,
        scene: str,
        version: str,
        manifest: Mapping[str, object],
        head: Head,
        *,
        origin: Literal["own", "foreign"] = "own",
        learned: int | None = None,
    ) -> Version:
        """Add a version with the head in its bundle as revision 0; a scene's first version becomes champion.

        One of ``foreign`` origin is tried in a process of its own before a worker loads it.

        Args:
            learned: the last label event of which anything but its head may have learned.

        Raises:
            Overtaken: somebody of whom it may have learned was erased since.
        """
        with self.database.write() as connection:
            if learned is not None and _erased(connection, scene, learned):
                raise Overtaken(
                    f"somebody was erased from {scene!r} while a version was made that may have learned of them",
                    "begin again: they are learned without them",
                )
            here = sa.select(versions).where(versions.c.scene == scene)
            if connection.execute(here.where(versions.c.version == version)).first() is None:
                last = sa.select(sa.func.max(versions.c.number)).where(versions.c.scene == scene)
                number = (connection.execute(last).scalar() or 0) + 1
                row = {"scene": scene, "version": version, "number": number, "manifest": dict(manifest)}
                row |= {"origin": origin, "job": self.job}
                connection.execute(sa.insert(versions), row | {"state": "ready", "created_at": self._clock()})
                first = Revision(scene=scene, version=version, number=0, head=head)
                insert_revision(connection, first, self._clock())
                note(connection, scene, self._clock(), "register", version=version)
                if _alias(connection, scene, CHAMPION) is None:
                    self._move(connection, scene, version, None, "promote", {"reason": "first version"})
        return self.version(scene, version)

    def version(self, scene: str, version: str) -> Version:
        """A version by its digest, or by the beginning of it, or by its number.

        Raises:
            NotFound: none such, or more than one.
        """
        self.scene(scene)
        found = [
            held
            for held in self.versions(scene)
            if held.version == version
            or str(held.number) == version
            or (len(version) >= SHORTEST_PREFIX and held.version.startswith(version))
        ]
        if len(found) != 1:
            raise NotFound(
                f"scene {scene!r} has {'no' if not found else 'more than one'} version {version[:80]!r}",
                "list them with lepton versions",
            )
        return found[0]

    def versions(self, scene: str) -> list[Version]:
        """All versions of a scene, oldest first."""
        with self.database.read() as connection:
            rows = connection.execute(sa.select(versions).where(versions.c.scene == scene).order_by(versions.c.number))
            return [Version(**row._mapping) for row in rows]

    def champion(self, scene: str) -> Alias | None:
        """The champion of a scene, or None where it has no version yet."""
        with self.database.read() as connection:
            return _alias(connection, scene, CHAMPION)

    def promote(
        self,
        scene: str,
        version: str,
        *,
        expected_generation: int,
        head: Callable[[], Head | None],
        action: str = "promote",
        detail: Mapping[str, object] | None = None,
    ) -> Alias:
        """Make a version champion, together with the head that it serves from now on.

        ``head`` is called while nobody can write, so that no label can come between the solve and the move.

        Raises:
            Conflict: somebody moved the alias since; the message names where it is.
        """
        with self.database.write() as connection:
            held = _alias(connection, scene, CHAMPION)
            generation = held.generation if held else 0
            if generation != expected_generation:
                raise Conflict(
                    f"the champion of {scene!r} is at generation {generation}, not {expected_generation}: "
                    f"{held.version[:12] if held else 'none'} was promoted meanwhile",
                    "read the scene again, then decide again",
                )
            solved = head()
            if solved is not None:
                number = last_number(connection, scene, version) + 1
                revision = Revision(scene=scene, version=version, number=number, head=solved)
                insert_revision(connection, revision, self._clock())
            moved = self._move(connection, scene, version, held, action, detail or {})
            passes("champion.moved")
            return moved

    def previous_champion(self, scene: str) -> str:
        """The version that was champion before the present one, and can be served.

        Raises:
            NotFound: there was none.
        """
        with self.database.read() as connection:
            held = _alias(connection, scene, CHAMPION)
            earlier = [version for version in _champions(connection, scene) if held and version != held.version]
        if not earlier:
            raise NotFound(f"scene {scene!r} has had one champion only", "promote a version by name instead")
        return earlier[0]

    def quarantine(self, scene: str, version: str, reason: str) -> None:
        """Mark a version that cannot be served, with the reason; where it is champion, the one before takes over."""
        with self.database.write() as connection:
            connection.execute(
                sa.update(versions)
                .where(versions.c.scene == scene, versions.c.version == version)
                .values(state="quarantined", reason=reason)
            )
            note(connection, scene, self._clock(), "quarantine", version=version, detail={"reason": reason})
            end_of(connection, scene, version, self._clock(), f"quarantined: {reason}")
            held, earlier = _alias(connection, scene, CHAMPION), _champions(connection, scene)
            if held is not None and held.version == version and earlier:
                self._move(connection, scene, earlier[0], held, "rollback", {"reason": reason})

    def release(self, scene: str, version: str) -> Version:
        """Lift a version's quarantine, so that it can be promoted and is tried again.

        Raises:
            NotFound: no such version. Conflict: it is not quarantined.
        """
        held = self.version(scene, version)
        with self.database.write() as connection:
            lifted = connection.execute(
                sa.update(versions)
                .where(versions.c.scene == scene, versions.c.version == held.version, versions.c.state == "quarantined")
                .values(state="ready", reason="")
            ).rowcount
            if not lifted:
                raise Conflict(f"version {short(held.version)} is not quarantined", "promote it as it is")
            detail = {"reason": held.reason}
            note(connection, scene, self._clock(), "release", version=held.version, detail=detail)
        return self.version(scene, held.version)

    def publish(self, scene: str, version: str, head: Head, *, lease: Lease, keep: int) -> Revision:
        """Publish a head as the version's next revision, and drop the arrays of those beyond the last ``keep``.

        Revision 0, the head of the bundle, is kept: it serves where nothing stands.

        Raises:
            LeadershipLost: another learner has taken the lead since.
        """
        with self.database.write() as connection:
            confirm(connection, lease)
            number = last_number(connection, scene, version) + 1
            revision = Revision(scene=scene, version=version, number=number, head=head)
            insert_revision(connection, revision, self._clock())
            connection.execute(
                sa.update(revisions)
                .where(
                    revisions.c.scene == scene,
                    revisions.c.version == version,
                    revisions.c.number.between(max(1, number - 2 * keep), number - keep),  # promotions leave gaps
                    revisions.c.weight.is_not(None),
                )
                .values(weight=None, bias=None, further=None)
            )
        return revision

    def latest_revision(self, scene: str, version: str, above: int = -1) -> Revision | None:
        """The newest revision whose arrays are kept, if its number is above ``above``; None where an erasure has
        removed them all."""
        with self.database.read() as connection:
            row = connection.execute(
                sa.select(revisions)
                .where(
                    revisions.c.scene == scene,
                    revisions.c.version == version,
                    revisions.c.number > above,
                    revisions.c.weight.is_not(None),
                )
                .order_by(revisions.c.number.desc())
                .limit(1)
            ).first()
        return None if row is None else revision_of(row._mapping)

    def first_head(self, scene: str, version: str) -> Head | None:
        """The head that a version was registered with; None where an erasure has removed it."""
        with self.database.read() as connection:
            row = connection.execute(
                sa.select(revisions).where(
                    revisions.c.scene == scene,
                    revisions.c.version == version,
                    revisions.c.number == 0,
                    revisions.c.weight.is_not(None),
                )
            ).first()
        return None if row is None else revision_of(row._mapping).head

    def served_since(self, scene: str, sequence: int, *, taken_back: bool = False) -> tuple[str, int] | None:
        """The first version and revision whose head includes the event with this sequence, of those that have been
        champion: a challenger answers some at most. ``taken_back``: it withdraws or erases, which is never held."""
        included = revisions.c.sequence if taken_back else sa.func.coalesce(revisions.c.upto, revisions.c.sequence)
        led = sa.select(audit.c.version).where(audit.c.scene == scene, audit.c.action.in_(["promote", "rollback"]))
        with self.database.read() as connection:
            row = connection.execute(
                sa.select(revisions.c.version, revisions.c.number)
                .join(versions, (versions.c.scene == revisions.c.scene) & (versions.c.version == revisions.c.version))
                .where(
                    revisions.c.scene == scene,
                    included >= sequence,
                    (revisions.c.number > 0) | (versions.c.number == 1),  # a later bundle's own head never serves
                    revisions.c.version.in_(led),
                )
                .order_by(revisions.c.created_at, revisions.c.number)
                .limit(1)
            ).first()
        return None if row is None else (row.version, row.number)

    def history(self, scene: str, limit: int = 100) -> list[dict[str, object]]:
        """What was done to a scene's versions, newest first."""
        with self.database.read() as connection:
            rows = connection.execute(
                sa.select(audit).where(audit.c.scene == scene).order_by(audit.c.id.desc()).limit(limit)
            )
            return [dict(row._mapping) for row in rows]

    def _move(
        self,
        connection: sa.Connection,
        scene: str,
        version: str,
        held: Alias | None,
        action: str,
        detail: Mapping[str, object],
    ) -> Alias:
        moved = Alias(version=version, generation=(held.generation if held else 0) + 1, updated_at=self._clock())
        row = {"version": version, "generation": moved.generation, "updated_at": moved.updated_at}
        connection.execute(
            insert(connection, aliases)
            .values(scene=scene, alias=CHAMPION, **row)
            .on_conflict_do_update(index_elements=["scene", "alias"], set_=row)
        )
        end_of(connection, scene, version, self._clock(), "it became champion")
        previous = held.version if held else None
        note(
            connection,
            scene,
            self._clock(),
            action,
            version=version,
            previous=previous,
            generation=moved.generation,
            detail=detail,
        )
        return moved


def _erased(connection: sa.Connection, scene: str, after: int) -> bool:
    later = (label_events.c.scene == scene) & (label_events.c.kind == "erase") & (label_events.c.sequence > after)
    return connection.execute(sa.select(label_events.c.sequence).where(later).limit(1)).first() is not None


def _alias(connection: sa.Connection, scene: str, alias: str) -> Alias | None:
    here = (aliases.c.scene == scene) & (aliases.c.alias == alias)
    row = connection.execute(
        sa.select(aliases.c.version, aliases.c.generation, aliases.c.updated_at).where(here)
    ).first()
    return None if row is None else Alias(**row._mapping)


def _champions(connection: sa.Connection, scene: str) -> list[str]:
    """Versions that have been champion and can be served, the latest first."""
    rows = connection.execute(
        sa.select(audit.c.version)
        .join(versions, (versions.c.scene == audit.c.scene) & (versions.c.version == audit.c.version))
        .where(audit.c.scene == scene, audit.c.action.in_(["promote", "rollback"]), versions.c.state == "ready")
        .order_by(audit.c.id.desc())
    )
    return list(dict.fromkeys(rows.scalars()))


def short(version: str) -> str:
    """The first twelve digits of a version, as people read it."""
    return version[:12]

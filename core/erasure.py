"""Erasing a person: inputs, features, labels and every head that was solved with them.

Promises that when it returns nothing of the subject is left in the databases and blobs, nor any weights that a search
of its scenes tried, and that a crash on the way leaves the subject findable, so that erasing again finishes the work.
On PostgreSQL no row is left; free space of the server's files may hold bytes until it is used again. Files that were
referred to in place belong to the user: they are named in the answer, not deleted. A certificate of it stays. Knows
nothing of solving; the learner re-solves without them.
"""

from __future__ import annotations

import hashlib
import shutil
import time
from dataclasses import dataclass, field

import sqlalchemy as sa

from core import holdouts, holds, untouched
from core.cache import FeatureCache
from core.certificates import Buried, certify
from core.database import aliases, features, inputs, label_events, revisions, tombstones, versions, waiting
from core.errors import NotFound
from core.events import next_sequence
from core.home import Home
from core.ids import uuid7
from core.label_tables import held_labels
from core.predictions import PredictionLog
from core.standing import digest_of

PAGE = 500


@dataclass(frozen=True, kw_only=True)
class Erasure:
    """What was erased, and what of it only the user can remove.

    Attributes:
        sequences: scene → sequence of its erase event.
        tainted: versions whose backbone was tuned on the subject.
        stored_heads: versions whose bundle still holds, as its default, a head solved with the subject's labels; what
            is served is the head of what stands.
        files: inputs that were referred to in place.
        certificate: the id under which all this stays on record (``core/certificates.py``).
    """

    examples: int
    events: int
    predictions: int
    sequences: dict[str, int]
    tainted: tuple[str, ...]
    stored_heads: tuple[str, ...]
    files: tuple[str, ...]
    certificate: str = field(default="", compare=False)


def erase(home: Home, subject: str) -> Erasure:
    """Erase a subject from every scene.

    Raises:
        NotFound: no label names this subject.
        Unavailable: a database is locked; erase again.
    """
    try:
        home.untouched.adopt(
            [version for scene in home.registry.scenes() for version in home.registry.versions(scene.name)]
        )
        return _erase(home, subject)
    finally:
        home.ledger.database.scrub()
        home.predictions.database.scrub()


def _erase(home: Home, subject: str) -> Erasure:
    with home.ledger.database.write() as connection:
        examples = _examples_of(connection, subject, home.predictions)
        rows = _rows_of(connection, subject, examples)
        if not rows:
            raise NotFound("no label names this subject", "check the subject; it may have been erased before")
        listed = _paths(connection, examples)
        # First what no transaction covers: a crash from here on leaves the labels, so that erasing again finds them.
        predictions = home.predictions.erase(examples)
        for example in examples:
            home.artifacts.delete(example)
        with FeatureCache(home.cache) as cache:
            cache.forget(examples)
        buried: dict[str, Buried] = {}
        stored: set[str] = set()
        for scene in sorted({row.scene for row in rows}):
            for folder in home.runs(scene):  # whatever its searches tried may have been tuned on the subject
                shutil.rmtree(folder, ignore_errors=True)
            mine = [row for row in rows if row.scene == scene]
            since = _since(connection, scene, min(row.sequence for row in mine))
            tainted = tuple(sorted(version for version, tuned in since.items() if tuned))
            buried[scene] = _buried(connection, scene, mine, tainted)
            holds.forget(connection, scene, [row.event_id for row in mine])
            stored |= since.keys()
        holdouts.forget(connection, examples)
        untouched.forget(connection, examples)
        counts = {"examples": len(examples), "events": len(rows), "predictions": predictions}
        certificate = certify(connection, subject, time.time(), counts, buried)
        for start in range(0, len(examples), PAGE):
            part = examples[start : start + PAGE]
            connection.execute(sa.delete(features).where(features.c.example.in_(part)))
            connection.execute(sa.delete(inputs).where(inputs.c.example.in_(part)))
            connection.execute(sa.delete(held_labels).where(held_labels.c.example.in_(part)))
    return Erasure(
        examples=len(examples),
        events=len(rows),
        predictions=predictions,
        sequences={scene: each.sequence for scene, each in buried.items()},
        tainted=tuple(sorted({version for each in buried.values() for version in each.tainted})),
        stored_heads=tuple(sorted(stored)),
        files=listed,
        certificate=certificate,
    )


@dataclass(frozen=True)
class _Label:
    event_id: str
    scene: str
    sequence: int
    example: str | None
    prediction_id: str | None


def _examples_of(connection: sa.Connection, subject: str, log: PredictionLog) -> list[str]:
    """The subject's examples: those of its labels, and those of logged predictions that its labels still wait for."""
    named = _labels(connection, label_events.c.subject == subject)
    waits = [label.prediction_id for label in named if label.example is None and label.prediction_id is not None]
    known = {label.example for label in named if label.example is not None}
    return sorted(known | {prediction.example for prediction in log.find(waits).values()})


def _rows_of(connection: sa.Connection, subject: str, examples: list[str]) -> list[_Label]:
    """Label events of the subject, and everybody's label events on the subject's examples."""
    found = {label.event_id: label for label in _labels(connection, label_events.c.subject == subject)}
    for start in range(0, len(examples), PAGE):
        part = examples[start : start + PAGE]
        joins = sa.select(label_events.c.target).where(label_events.c.kind == "join", label_events.c.example.in_(part))
        here = sa.or_(label_events.c.example.in_(part), label_events.c.event_id.in_(joins))
        found |= {label.event_id: label for label in _labels(connection, here)}
    return list(found.values())


def _labels(connection: sa.Connection, condition: sa.ColumnElement[bool]) -> list[_Label]:
    join = label_events.alias("joined")
    rows = connection.execute(
        sa.select(
            label_events.c.event_id,
            label_events.c.scene,
            label_events.c.sequence,
            sa.func.coalesce(label_events.c.example, join.c.example),
            label_events.c.prediction_id,
        )
        .select_from(label_events.outerjoin(join, (join.c.target == label_events.c.event_id) & (join.c.kind == "join")))
        .where(label_events.c.kind == "label", condition)
    )
    return [_Label(*row) for row in rows]


def _paths(connection: sa.Connection, examples: list[str]) -> tuple[str, ...]:
    found: list[str] = []
    for start in range(0, len(examples), PAGE):
        rows = connection.execute(
            sa.select(inputs.c.path).where(
                inputs.c.example.in_(examples[start : start + PAGE]), inputs.c.path.is_not(None)
            )
        )
        found += rows.scalars()
    return tuple(sorted(found))


def _buried(connection: sa.Connection, scene: str, rows: list[_Label], tainted: tuple[str, ...]) -> Buried:
    """Bury the events of one scene; what of it goes into the certificate."""
    events = sorted(row.event_id for row in rows)
    champion = sa.select(aliases.c.version).where(aliases.c.scene == scene, aliases.c.alias == "champion")
    return Buried(
        sequence=_bury(connection, scene, events, min(row.sequence for row in rows)),
        champion=connection.execute(champion).scalar(),
        tainted=tainted,
        labels=hashlib.sha256("".join(sorted(map(digest_of, events))).encode()).hexdigest(),
    )


def _bury(connection: sa.Connection, scene: str, events: list[str], first: int) -> int:
    """Replace events by one erase event and tombstones, and drop the heads that included them."""
    sequence = next_sequence(connection, 1)
    for start in range(0, len(events), PAGE):
        part = events[start : start + PAGE]
        gone = sa.or_(label_events.c.event_id.in_(part), label_events.c.target.in_(part))
        connection.execute(sa.delete(label_events).where(gone))
        connection.execute(sa.delete(waiting).where(waiting.c.event_id.in_(part)))
        connection.execute(
            sa.insert(tombstones), [{"digest": digest_of(event), "sequence": sequence} for event in part]
        )
    row = {"sequence": sequence, "event_id": uuid7(), "kind": "erase", "scene": scene, "received_at": time.time()}
    connection.execute(sa.insert(label_events), row)
    connection.execute(
        sa.update(revisions)
        .where(revisions.c.scene == scene, revisions.c.sequence >= first)
        .values(weight=None, bias=None, further=None)
    )
    return sequence


def _since(connection: sa.Connection, scene: str, first: int) -> dict[str, bool]:
    """Versions of a scene that were made with events from ``first`` on, and whether their backbones were tuned."""
    found: dict[str, bool] = {}
    for row in connection.execute(sa.select(versions).where(versions.c.scene == scene)):
        if row.manifest["lineage"]["sequence"] >= first:
            found[row.version] = any(member["tuned"] for member in row.manifest["members"])
    return found

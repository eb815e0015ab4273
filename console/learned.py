"""What became of a label: the first revision that includes it, or why it waits.

Promises what the registry and the ledger say now, whoever gave the label and whichever way. Knows nothing of pages.
"""

from __future__ import annotations

from dataclasses import dataclass

import sqlalchemy as sa

from core.database import label_events, revisions
from core.errors import NotFound
from core.events import TRAINING
from core.home import Home
from core.look.html import Html, tag

WAITS = {
    "pending": "waits for its prediction",
    "orphaned": "its prediction never came",
    "conflict": "annotators tie, so it does not count",
}


@dataclass(frozen=True, kw_only=True)
class Learned:
    """Where a label stands.

    Attributes:
        status: as the ledger says. waits: why it does not count yet; empty where it does, or will in a moment.
        version: number of the version whose head was the first to include it. seconds: how long after it was said.
    """

    status: str
    waits: str = ""
    version: int | None = None
    revision: int | None = None
    seconds: float | None = None


@dataclass(frozen=True, kw_only=True)
class Label:
    """A label of feedback that was said; ``example`` None while its prediction is waited for."""

    event_id: str
    example: str | None
    said: str
    task: str
    annotator: str
    at: float


def learned(home: Home, scene: str, event_id: str) -> Learned:
    """Look now. Raises NotFound where there is no such label."""
    receipt = home.ledger.status(event_id)
    taken_back = receipt.status == "withdrawn"
    if receipt.status in WAITS:
        return Learned(status=receipt.status, waits=WAITS[receipt.status])
    held = None if taken_back else home.holds.about(event_id, receipt.sequence)
    if held is not None:
        return Learned(status=receipt.status, waits=held.words)
    since = home.registry.served_since(scene, receipt.sequence, taken_back=taken_back)
    if since is None:
        return Learned(status=receipt.status)
    version, number = since
    said = sa.select(label_events.c.received_at).where(label_events.c.sequence == receipt.sequence)
    here = (revisions.c.scene == scene) & (revisions.c.version == version) & (revisions.c.number == number)
    with home.ledger.database.read() as connection:
        began = connection.execute(said).scalar()
        ended = connection.execute(sa.select(revisions.c.created_at).where(here)).scalar()
    return Learned(
        status=receipt.status,
        version=home.registry.version(scene, version).number,
        revision=number,
        seconds=None if began is None or ended is None else max(0.0, ended - began),
    )


def newest(home: Home, scene: str, task: str, most: int) -> list[Label]:
    """The newest labels of feedback for a task that were not taken back, newest first."""
    gone = sa.select(label_events.c.target).where(label_events.c.scene == scene, label_events.c.kind == "withdraw")
    here = (label_events.c.scene == scene) & (label_events.c.kind == "label") & (label_events.c.task == task)
    here &= (label_events.c.source != TRAINING) & label_events.c.event_id.not_in(gone)
    rows = sa.select(label_events).where(here).order_by(label_events.c.sequence.desc()).limit(most)
    with home.ledger.database.read() as connection:
        return [
            Label(
                event_id=row.event_id,
                example=row.example,
                said=row.label if row.value is None else f"{row.value:g}",
                task=row.task,
                annotator=row.annotator,
                at=row.received_at,
            )
            for row in connection.execute(rows)
        ]


def fate(home: Home, scene: str, event_id: str) -> Html:
    """In words."""
    try:
        told = learned(home, scene, event_id)
    except NotFound:
        return tag("span", "it is not in the ledger any more", class_="soft")
    return words(told)


def words(told: Learned) -> Html:
    """Where a label stands, in words.

    >>> words(Learned(status="accepted", version=2, revision=7, seconds=0.4321))
    '<span class="good">served since revision 7 of version 2, 0.4 s later</span>'
    """
    if told.waits:
        return tag("span", f"waits: {told.waits}" if told.status == "accepted" else told.waits, class_="soft")
    if told.revision is None:
        return tag("span", "kept; the learner has not taken it in yet", class_="soft")
    later = "" if told.seconds is None else f", {told.seconds:.1f} s later"
    verb = "forgotten" if told.status == "withdrawn" else "served"
    return tag("span", f"{verb} since revision {told.revision} of version {told.version}{later}", class_="good")

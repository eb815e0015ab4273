"""A scene at a glance: who serves it, how well that goes, what was labelled today, whether it drifts.

Promises answers that were given before their labels for the live accuracy, and look-ups that are bounded whatever the
databases hold. Knows nothing of pages.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from core.database import Database, label_events, revisions
from core.drift import DriftReading
from core.events import TRAINING
from core.home import Home
from core.jobs import Job
from core.live_accuracy import live_accuracy
from core.outcomes import answered, measure
from core.types import Scene, Version

LOOKED_AT = 400  # labelled answers of the champion, the newest
WINDOW = 20  # of them, for a point of the course
POINTS = 24


@dataclass(frozen=True, kw_only=True)
class Facts:
    """What is known of a scene.

    Attributes:
        champion: None where it has no version yet. revision: the newest head of it.
        live: how accurate the champion is on its traffic, by so many labelled answers (``counted``); of a regression
            their mean squared error; None where nothing is labelled.
        course: of a classification, the share of right ones in windows of labelled answers, oldest first.
        labels: that feedback brought since midnight, and in all. drift: the champion's newest readings by detector.
        training: jobs of the scene that wait or run.
    """

    scene: Scene
    champion: Version | None
    revision: int | None
    examples: int
    classes: int
    live: float | None
    counted: int
    course: Sequence[float]
    today: int
    drift: Sequence[DriftReading]
    training: Sequence[Job]


def facts(home: Home, scene: Scene, since: float) -> Facts:
    """Look at a scene now; ``since`` is midnight."""
    alias = home.registry.champion(scene.name)
    champion = home.registry.version(scene.name, alias.version) if alias else None
    head = _head(home.ledger.database, scene.name, champion.version) if champion else None
    answers = answered(home, scene.name, champion.version, LOOKED_AT) if champion else []
    classes = scene.task == "classification"
    live = live_accuracy(home, scene.tasks[0], answers, LOOKED_AT) if answers and classes else None
    return Facts(
        scene=scene,
        champion=champion,
        revision=head.number if head else None,
        examples=head.examples if head else 0,
        classes=len(head.labels) if head else len(scene.labels),
        live=live if classes else measure(scene.task, [(each.said, each.truth) for each in answers]).value,
        counted=len(answers),
        course=course([each.said == each.truth for each in answers]) if classes else (),
        today=labels_since(home.ledger.database, scene.name, since),
        drift=tuple(home.drift.last(scene.name, champion.version).values()) if champion else (),
        training=home.jobs.listed(scene.name, states=("queued", "running"), most=5),
    )


def course(right: Sequence[bool]) -> tuple[float, ...]:
    """Shares of right ones in overlapping windows, at most ``POINTS`` of them; one window where there are few.

    >>> course([True, False])
    (0.5,)
    >>> course([True] * 20 + [False] * 20)[0], course([True] * 20 + [False] * 20)[-1]
    (1.0, 0.0)
    """
    if not right:
        return ()
    if len(right) <= WINDOW:
        return (sum(right) / len(right),)
    ends = range(WINDOW, len(right) + 1, max(1, (len(right) - WINDOW) // (POINTS - 1)))
    found = [sum(right[end - WINDOW : end]) / WINDOW for end in ends]
    return (*found, sum(right[-WINDOW:]) / WINDOW)


def labels_since(database: Database, scene: str, since: float) -> int:
    """Labels that feedback brought since a moment."""
    here = (label_events.c.scene == scene) & (label_events.c.kind == "label") & (label_events.c.source != TRAINING)
    wanted = sa.select(sa.func.count()).select_from(label_events).where(here, label_events.c.received_at >= since)
    with database.read() as connection:
        return connection.execute(wanted).scalar() or 0


def _head(database: Database, scene: str, version: str) -> Any:
    """The newest revision without its arrays; None where there is none."""
    newest = (
        sa.select(revisions.c.number, revisions.c.examples, revisions.c.labels)
        .where(revisions.c.scene == scene, revisions.c.version == version)
        .order_by(revisions.c.number.desc())
        .limit(1)
    )
    with database.read() as connection:
        return connection.execute(newest).first()

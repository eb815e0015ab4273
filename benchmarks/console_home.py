"""A home as large as one after months: many predictions, labels, versions and jobs, written by the row.

Promises the numbers that it is asked for, spread over thirty days, with features as wide as EfficientNet's. What is in
the rows is drawn at random: pages are measured with it, not models. Knows nothing of pages.
"""

from __future__ import annotations

import hashlib
import itertools
import time
from pathlib import Path

import numpy as np
import sqlalchemy as sa

from core.config import Settings
from core.database import audit, counters, drift_readings, label_events, latencies, revisions, versions
from core.home import Home, open_home
from core.ids import prediction_id, uuid7
from core.latencies import KEPT_DAYS, MINUTE
from core.types import Prediction
from tests import pico

SCENE = "line"
WIDE = 1280
DAYS = 30
GROUP = 1000
DETECTORS = ("confidence", "errors", "inputs", "predictions")


def make(folder: Path, predictions: int, labels: int, many: int, jobs: int = 200) -> None:
    """Make the home."""
    home = open_home(Settings(home=folder))
    pico.register(home, SCENE)
    chance, now = np.random.default_rng(0), time.time()
    examples = _predict(home, predictions, chance, now)
    _label(home, examples, labels, chance, now)
    _versions(home, many, now)
    _drift(home, chance, now)
    _time(home, now)
    for number in range(jobs):
        job = home.jobs.file("adapt", SCENE, {"scene": SCENE, "seed": number})
        home.progress.stage(job.id, "reading and checking the data")
        home.jobs.cancel(job.id)
    home.close()


def _predict(home: Home, many: int, chance: np.random.Generator, now: float) -> list[tuple[str, str, float]]:
    """Answers of the champion; returns their ids, examples and moments."""
    champion = home.registry.champion(SCENE)
    assert champion is not None, "it was registered just now"
    made: list[tuple[str, str, float]] = []
    for start in range(0, many, GROUP):
        batch = []
        for place in range(start, min(many, start + GROUP)):
            at = now - DAYS * 86400 * (1 - place / many)
            example = hashlib.sha256(str(place).encode()).hexdigest()
            sure = float(chance.uniform(0.5, 1.0))
            batch.append(
                Prediction(
                    prediction_id=prediction_id(SCENE),
                    scene=SCENE,
                    version=champion.version,
                    extractor="0" * 64,
                    revision=place // 100,
                    example=example,
                    features=chance.integers(0, 2000, WIDE, np.int16),
                    label=str(chance.choice(pico.LABELS)),
                    value=None,
                    confidence=sure,
                    margin=2 * sure - 1,
                    created_at=at,
                    media="image/png",
                )
            )
            made.append((batch[-1].prediction_id, example, at))
        home.predictions.append(batch)
    return made


def _label(
    home: Home, examples: list[tuple[str, str, float]], many: int, chance: np.random.Generator, now: float
) -> None:
    """Labels of every so-manieth answer, a minute after it."""
    chosen = examples[:: max(1, len(examples) // many)][:many]
    with home.ledger.database.write() as connection:
        first = int(connection.execute(sa.select(sa.func.max(label_events.c.sequence))).scalar() or 0) + 1
        rows = [
            {
                "sequence": first + place,
                "event_id": uuid7(at),
                "kind": "label",
                "scene": SCENE,
                "example": example,
                "prediction_id": prediction,
                "label": str(chance.choice(pico.LABELS)),
                "annotator": f"annotator {place % 5}",
                "source": "feedback",
                "confidence": 1.0,
                "body_digest": example,
                "received_at": min(now, at + 60),
            }
            for place, (prediction, example, at) in enumerate(chosen)
        ]
        connection.execute(sa.insert(label_events), rows)
        connection.execute(sa.update(counters).values(value=first + len(rows)))


def _versions(home: Home, many: int, now: float) -> None:
    """More versions in a line of descent, each with revision 0, the oldest ones promoted in turn."""
    first = home.registry.versions(SCENE)[0]
    names = [
        first.version,
        *(hashlib.sha256(f"version {number}".encode()).hexdigest() for number in range(2, many + 1)),
    ]
    with home.ledger.database.write() as connection:
        head = dict(connection.execute(sa.select(revisions).where(revisions.c.number == 0)).one()._mapping)
        for number, (parent, name) in enumerate(itertools.pairwise(names), 2):
            at = now - DAYS * 86400 * (1 - number / many)
            figure = {"value": 0.8 + number / 500, "low": 0.78, "high": 0.95, "rows": 900}
            manifest = first.manifest | {
                "metrics": {"balanced_accuracy": figure, "accuracy": figure, "calibration_error": figure},
                "lineage": {"data_digest": f"{number // 7:064x}", "sequence": number, "parent": parent, "code": "test"},
            }
            row = {"scene": SCENE, "version": name, "number": number, "manifest": manifest, "state": "ready"}
            connection.execute(sa.insert(versions), row | {"reason": "", "created_at": at, "origin": "own"})
            connection.execute(sa.insert(revisions), head | {"version": name, "created_at": at})
            told = {"scene": SCENE, "at": at, "action": "register", "version": name, "detail": {}}
            connection.execute(sa.insert(audit), told)


def _drift(home: Home, chance: np.random.Generator, now: float) -> None:
    champion = home.registry.champion(SCENE)
    assert champion is not None, "it was registered just now"
    rows = [
        {
            "scene": SCENE,
            "version": champion.version,
            "detector": detector,
            "number": number,
            "value": float(chance.uniform(0, 1.1)),
            "words": f"{detector} moved",
            "until": now - (200 - number) * 3600,
            "at": now - (200 - number) * 3600,
        }
        for detector in DETECTORS
        for number in range(1, 200)
    ]
    with home.ledger.database.write() as connection:
        connection.execute(sa.insert(drift_readings), rows)


def _time(home: Home, now: float) -> None:
    """Requests in every minute that is kept, each minute's within eight bounds."""
    last = int(now // MINUTE)
    with home.predictions.database.write() as connection:
        for first in range(last - KEPT_DAYS * 24 * 60, last, GROUP):
            minutes = range(first, min(last, first + GROUP))
            rows = [
                {"scene": SCENE, "minute": minute, "place": place, "requests": 1 + minute % 7}
                for minute in minutes
                for place in range(8, 16)
            ]
            connection.execute(sa.insert(latencies), rows)

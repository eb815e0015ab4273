"""The guard of one lesson: remembers the last head that was let out, questions the next, and names who moved it.

Promises that what an operator teaches (``lepton adapt``), and what is withdrawn or erased, is never held, and that
looking for the cause leaves the sums as they were, to the bit. Classifications only: of a regression no answer is
another one. Knows nothing of leases or of what is done about a doubt.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable
from dataclasses import dataclass, replace

import numpy as np
from scipy.special import softmax
from sqlalchemy.exc import SQLAlchemyError

from core.events import TRAINING
from core.follow import Followed, Follower
from core.guard import Change, anchored, fresh_rows, moved
from core.head import Checked, Row
from core.home import Home
from core.statistics import from_grid
from core.types import GridRows, Head, Scene

logger = logging.getLogger(__name__)

TRAFFIC_SECONDS = 2.0  # how long recent answers are not read again
SUSPECTS = 6  # annotators that are left out in turn, those with the most new labels
NAMED_FROM = 0.5  # of the change, that must go away without an annotator
MOST_EVENTS = 50


@dataclass(frozen=True, kw_only=True)
class Doubt:
    """Why a head is not let out.

    Attributes:
        annotator: whose new labels moved it most; None where it is nobody's alone.
        events: their label events, those first that the head before contradicts most.
        labels: how many examples with new labels wait.
    """

    words: str
    annotator: str | None
    events: tuple[str, ...]
    labels: int


@dataclass(frozen=True, eq=False)
class _Good:
    """One task as it was when its head was let out."""

    head: Head
    checked: Checked | None
    rows: dict[str, Row]


class Guard:
    """Questions the heads of one version of a scene."""

    def __init__(self, home: Home, scene: Scene, extractor: str):
        self._home = home
        self._settings = home.settings.guard
        self._scene, self._extractor = scene.name, extractor
        self._good: dict[str, _Good] = {}
        self._sequence = 0
        self._traffic_BD: GridRows = np.zeros((0, 0), np.int16)
        self._read_at = -np.inf

    def trust(self, follower: Follower, head: Head) -> None:
        """Remember what is let out; ``head`` is the one that ``follower`` has just solved."""
        self._sequence = follower.sequence if follower.upto is None else follower.upto
        for each in follower.tasks:
            name = each.task.task_name
            self._good[name] = _Good(head.of(name), each.state.checked, dict(each.state.rows))

    def question(self, follower: Follower, head: Head) -> Doubt | None:
        """Why a head is better not let out, or None; it is the one that ``follower`` has just solved."""
        if not self._settings.on:
            return None
        for each in follower.tasks:
            good = self._good.get(each.task.task_name)
            if good is not None and each.task.task == "classification":
                doubt = self._doubt(each, good, head.of(each.task.task_name))
                if doubt is not None:
                    return doubt
        return None

    def _doubt(self, each: Followed, good: _Good, head: Head) -> Doubt | None:
        if good.head.fallback or head.fallback:
            return None
        fresh = fresh_rows(good.rows, each.state.rows)
        if not fresh or any(TRAINING in self._sayers(each, example) for example in fresh):
            return None
        change = self._change(each, good, head, fresh)
        words = change.words(self._settings)
        if not words:
            return None
        annotator, share = self._cause(each, good, change, fresh)
        if share < NAMED_FROM:
            return Doubt(
                words=f"{words}; no annotator alone is the cause", annotator=None, events=(), labels=len(fresh)
            )
        events = self._events(each, good, annotator, fresh)
        name = f"annotator {annotator!r}" if annotator else "labels that name no annotator"
        words += f"; {100 * share:.0f} % of it is due to {name} ({len(events)} labels since event {self._sequence})"
        return Doubt(words=words, annotator=annotator, events=tuple(events[:MOST_EVENTS]), labels=len(fresh))

    def _change(self, each: Followed, good: _Good, head: Head, fresh: Iterable[str]) -> Change:
        before, after, rows = good.checked, each.state.checked, each.state.rows
        anchors, lost, won = anchored(before, after) if before is not None and after is not None else (0, 0, 0)
        traffic_BD = self._traffic()
        weight = sum(rows[example].weight for example in fresh if example in rows)
        return Change(
            anchors=anchors,
            lost=lost,
            won=won,
            answers=len(traffic_BD),
            moved=moved(good.head, head, traffic_BD),
            fresh=weight / max(1, each.state.parts[0].units),
        )

    def _cause(self, each: Followed, good: _Good, change: Change, fresh: list[str]) -> tuple[str, float]:
        """The annotator without whose new labels most of the change goes away, and how much of it does."""
        counts: dict[str, int] = {}
        for example in fresh:
            for name in self._sayers(each, example):
                counts[name] = counts.get(name, 0) + 1
        whole = self._measure(change)
        found = {
            name: 1.0 - self._measure(self._without(each, good, name, fresh)) / whole
            for name in sorted(counts, key=lambda name: (-counts[name], name))[:SUSPECTS]
        }
        most = max(found, key=lambda name: found[name], default="")
        return most, found.get(most, 0.0)

    def _measure(self, change: Change) -> float:
        return max(0.0, float(change.net)) / max(1, change.anchors) + change.churn

    def _without(self, each: Followed, good: _Good, name: str, fresh: list[str]) -> Change:
        """What the head would change without an annotator's new labels; the sums are then put back as they were."""
        state, checked = each.state, each.state.checked
        theirs = [example for example in fresh if name in self._sayers(each, example)]
        kept = [state.rows[example] for example in theirs]
        others = [row for row in (_left(each, row, name) for row in kept) if row is not None]
        state.remove(theirs)
        state.add(others)
        try:
            head = state.solve()
            if head is None:
                return Change(anchors=0, lost=0, won=0, answers=0, moved=0, fresh=0.0)
            return self._change(each, good, head, [example for example in fresh if example in state.rows])
        finally:
            state.remove(row.example for row in others)
            state.add(kept)
            state.checked = checked

    def _sayers(self, each: Followed, example: str) -> set[str]:
        """Annotators who said something new of an example."""
        return {v.said.annotator for v in each.standing.votes(example) if v.moment > self._sequence}

    def _events(self, each: Followed, good: _Good, name: str, fresh: list[str]) -> list[str]:
        told: list[tuple[float, str]] = []
        for example in fresh:
            row = each.state.rows[example]
            for vote in each.standing.votes(example):
                if vote.said.annotator == name and vote.moment > self._sequence:
                    told.append((_probability(good.head, row.features, vote.said.label), vote.said.event_id))
        return [event_id for _, event_id in sorted(told)]

    def _traffic(self) -> GridRows:
        """Features of recent answers, one an example."""
        now = time.monotonic()
        if now - self._read_at > TRAFFIC_SECONDS:
            self._read_at = now
            try:
                found = self._home.predictions.newest(self._scene, self._extractor, self._settings.traffic)
            except SQLAlchemyError:  # the anchors still tell
                logger.exception("scene %s: the prediction log could not be read", self._scene)
                found = {}
            self._traffic_BD = np.stack(list(found.values())) if found else np.zeros((0, 0), np.int16)
        return self._traffic_BD


def _left(each: Followed, row: Row, name: str) -> Row | None:
    """What stands for a row's example without an annotator, at the row's weight; None where nothing does."""
    outcome = each.standing.outcome(row.example, without=name)
    if outcome is None or outcome.conflict:
        return None
    return replace(each.row(row.example, outcome, row.features), weight=row.weight)


def _probability(head: Head, features: GridRows, label: str | None) -> float:
    if label not in head.labels:
        return 0.0
    told_K = softmax(from_grid(features) @ head.weight + head.bias)
    return float(told_K[head.labels.index(label)])

"""The guard of one lesson: remembers the last head that was let out, questions the next, and names who moved it.

Promises that what an operator teaches (``lepton adapt``), and what is withdrawn or erased, is never held, and that
looking for the cause leaves the sums as they were, to the bit. Classifications only: of a regression no answer is
another one. Knows nothing of leases or of what is done about a doubt.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace

import numpy as np
from scipy.special import softmax
from sqlalchemy.exc import SQLAlchemyError

from core.events import TRAINING
from core.follow import Followed, Follower
from core.guard import Anchors, Change, anchored, fresh_rows, moved
from core.head import Row
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
    """One task as it was when its head was let out.

    Attributes:
        fed: examples that feedback alone has labelled.
        feedback, sample: anchor → whether the head answers it rightly without itself.
    """

    head: Head
    rows: Mapping[str, Row]
    fed: frozenset[str]
    feedback: Mapping[str, bool]
    sample: Mapping[str, bool]


class Guard:
    """Questions the heads of one version of a scene."""

    def __init__(self, home: Home, scene: Scene, extractor: str):
        self._home = home
        self._settings = home.settings.guard
        self._scene, self._extractor = scene.name, extractor
        self._good: dict[str, _Good] = {}
        self._sequence = 0
        self._known: tuple[Head | None, dict[str, bool]] = (None, {})  # of the head that was asked last
        self._traffic_BD: GridRows = np.zeros((0, 0), np.int16)
        self._read_at = -np.inf

    def trust(self, follower: Follower, head: Head) -> None:
        """Remember what is let out; ``head`` is the one that ``follower`` has just solved."""
        self._sequence = follower.sequence if follower.upto is None else follower.upto
        if self._settings.on:
            for each in follower.tasks:
                if each.task.task == "classification":
                    name = each.task.task_name
                    self._good[name] = self._seen(each, head.of(name), self._good.get(name))

    def question(self, follower: Follower, head: Head) -> Doubt | None:
        """Why a head is better not let out, or None; it is the one that ``follower`` has just solved."""
        for each in follower.tasks:
            good = self._good.get(each.task.task_name)
            doubt = None if good is None else self._doubt(each, good, head.of(each.task.task_name))
            if doubt is not None:
                return doubt
        return None

    def _seen(self, each: Followed, head: Head, before: _Good | None) -> _Good:
        rows = dict(each.state.rows)
        old = before or _Good(head, {}, frozenset(), {}, {})
        changed = fresh_rows(old.rows, rows)
        kept = old.fed.intersection(rows).difference(changed)
        fed = kept.union(example for example in changed if not _taught(each, example))
        return _Good(head, rows, fed, self._answered(each, head, fed), self._sampled(each))

    def _answered(self, each: Followed, head: Head, fed: Collection[str]) -> dict[str, bool]:
        """Anchors of feedback → whether they are answered rightly without themselves."""
        wanted = [] if head.fallback else each.state.sample.among(fed, self._settings.anchors)
        if self._known[0] is not head:
            self._known = head, {}
        known = self._known[1]
        new = [example for example in wanted if example not in known]
        if new:
            told = each.state.answered(new, head).argmax(axis=1)
            known |= {e: head.labels[k] == each.state.rows[e].column for e, k in zip(new, told, strict=True)}
        return {example: known[example] for example in wanted}

    def _sampled(self, each: Followed) -> dict[str, bool]:
        return {} if each.state.checked is None else each.state.checked.right()

    def _doubt(self, each: Followed, good: _Good, head: Head) -> Doubt | None:
        if good.head.fallback or head.fallback:
            return None
        fresh = fresh_rows(good.rows, each.state.rows)
        if not fresh or any(TRAINING in self._sayers(each, example) for example in fresh):
            return None
        change = self._change(each, good, head)
        words = change.words(self._settings)
        if not words:
            return None
        annotator, share = self._cause(each, good, change, fresh)
        if share < NAMED_FROM:
            words += "; no annotator alone is the cause"
            return Doubt(words=words, annotator=None, events=(), labels=len(fresh))
        events = self._events(each, good, annotator, fresh)
        name = f"annotator {annotator!r}" if annotator else "labels that name no annotator"
        words += f"; {100 * share:.0f} % of it is due to {name} ({len(events)} labels since event {self._sequence})"
        return Doubt(words=words, annotator=annotator, events=tuple(events[:MOST_EVENTS]), labels=len(fresh))

    def _change(self, each: Followed, good: _Good, head: Head) -> Change:
        rows, traffic_BD = each.state.rows, self._traffic()
        same = {e for e in (*good.feedback, *good.sample) if e in rows and rows[e].same(good.rows[e])}
        asked = [example for example in good.feedback if example in same]
        after = self._answered(each, head, set(asked))
        return Change(
            feedback=anchored(good.feedback, after, same),
            sample=anchored(good.sample, self._sampled(each), same),
            answers=len(traffic_BD),
            moved=moved(good.head, head, traffic_BD),
        )

    def _cause(self, each: Followed, good: _Good, change: Change, fresh: list[str]) -> tuple[str, float]:
        """The annotator without whose new labels most of the change goes away, and how much of it does."""
        counts: dict[str, int] = {}
        for example in fresh:
            for name in self._sayers(each, example):
                counts[name] = counts.get(name, 0) + 1
        found = {
            name: 1.0 - self._without(each, good, name, fresh).damage / change.damage
            for name in sorted(counts, key=lambda name: (-counts[name], name))[:SUSPECTS]
        }
        most = max(found, key=lambda name: found[name], default="")
        return most, found.get(most, 0.0)

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
                return Change(feedback=Anchors(), sample=Anchors(), answers=0, moved=0)
            return self._change(each, good, head)
        finally:
            state.remove(row.example for row in others)
            state.add(kept)
            state.checked = checked

    def _sayers(self, each: Followed, example: str) -> set[str]:
        """Annotators who said something new of an example."""
        return {v.said.annotator for v in each.standing.votes(example) if v.moment > self._sequence}

    def _events(self, each: Followed, good: _Good, name: str, fresh: list[str]) -> list[str]:
        told = [
            (_probability(good.head, each.state.rows[example].features, vote.said.label), vote.said.event_id)
            for example in fresh
            for vote in each.standing.votes(example)
            if vote.said.annotator == name and vote.moment > self._sequence
        ]
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


def _taught(each: Followed, example: str) -> bool:
    return any(vote.said.annotator == TRAINING for vote in each.standing.votes(example))


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

"""The guard of one lesson: remembers a head that was let out, questions the next ones, and names who moved them.

Promises that what an operator teaches (``lepton adapt``), and what is withdrawn or erased, is never held, and that
looking for the cause leaves the sums as they were, to the bit. Every task of the scene is asked for itself, classes and
values alike. Knows nothing of leases or of what is done about a doubt.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from scipy.special import softmax
from sqlalchemy.exc import SQLAlchemyError

from core.events import TRAINING
from core.follow import Followed, Follower
from core.guard import Anchors, Change, anchored, fresh_rows, moved
from core.head import Row
from core.home import Home
from core.labels import target_of
from core.misses import missed, usual
from core.statistics import GRID, from_grid
from core.types import GridRows, Head, LabelEvent, Scene

logger = logging.getLogger(__name__)

TRAFFIC_SECONDS = 2.0  # how long recent answers are not read again
SUSPECTS = 6  # annotators that are left out in turn, those with the most new labels
NAMED_FROM = 0.5  # of the change, that must go away without an annotator
MOST_EVENTS = 50


@dataclass(frozen=True, kw_only=True)
class Doubt:
    """Why a head is not let out.

    Attributes:
        base: the last label event of the head that it was compared with.
        annotator: whose new labels moved it most; None where it is nobody's alone.
        events: their label events, those first that the head before contradicts most.
        newest: of every example with new labels, the event that said the last of it.
    """

    words: str
    base: int
    annotator: str | None
    events: tuple[str, ...]
    newest: tuple[int, ...]


@dataclass(frozen=True, eq=False)
class _Good:
    """One task as it was when its head was let out.

    Attributes:
        upto: the last label event in it.
        fed: examples that feedback alone has labelled.
        usual: its usual miss of values (``core/misses.py``), 0 of classes.
        feedback, sample: anchor → by how much the head misses it without itself.
    """

    upto: int
    head: Head
    rows: Mapping[str, Row]
    fed: frozenset[str]
    usual: float
    feedback: Mapping[str, float]
    sample: Mapping[str, float]


class Guard:
    """Questions the heads of one version of a scene."""

    def __init__(self, home: Home, scene: Scene, extractor: str):
        self._home = home
        self._settings = home.settings.guard
        self._scene, self._extractor = scene.name, extractor
        self._good: dict[str, _Good] = {}
        self._known: tuple[Head | None, dict[str, float]] = (None, {})  # misses of the head that was asked last
        self._traffic_BD: GridRows = np.zeros((0, 0), np.int16)
        self._read_at = -np.inf

    def trust(self, follower: Follower, head: Head, *, anew: bool = False) -> None:
        """Take note of a head that is let out, the one that ``follower`` has just solved.

        It is compared with from now on where enough is new in it, where training data are, and ``anew``.
        """
        if not self._settings.on:
            return
        upto = follower.sequence if follower.upto is None else follower.upto
        for each in follower.tasks:
            good = self._good.get(each.task.task_name)
            if anew or good is None or self._is_old(each, good):
                self._good[each.task.task_name] = self._seen(each, head.of(each.task.task_name), good, upto)

    def _is_old(self, each: Followed, good: _Good) -> bool:
        fresh = fresh_rows(good.rows, each.state.rows)
        taught = any(TRAINING in _sayers(each, good, example) for example in fresh)
        enough = min(self._settings.window, max(1, len(good.fed) // 4))
        return taught or _silent(each, good) or len(fresh) >= enough

    def question(self, follower: Follower, head: Head, suspect: str | None = None) -> Doubt | None:
        """Why a head is better not let out, or None; it is the one that ``follower`` has just solved.

        ``suspect`` is who was named before, who is looked at first.
        """
        for each in follower.tasks:
            good = self._good.get(each.task.task_name)
            doubt = None if good is None else self._doubt(each, good, head.of(each.task.task_name), suspect)
            if doubt is not None:
                return doubt
        return None

    def _seen(self, each: Followed, head: Head, before: _Good | None, upto: int) -> _Good:
        rows = dict(each.state.rows)
        changed = fresh_rows({} if before is None else before.rows, rows)
        kept = frozenset[str]() if before is None else before.fed.intersection(rows).difference(changed)
        fed = kept.union(example for example in changed if not _taught(each, example))
        sample = self._sampled(each, head)
        as_usual = usual(np.array(list(sample.values()))) if each.task.task == "regression" else 0.0
        return _Good(upto, head, rows, fed, as_usual, self._answered(each, head, fed), sample)

    def _answered(self, each: Followed, head: Head, fed: Collection[str]) -> dict[str, float]:
        """Anchors of feedback → by how much they are missed without themselves."""
        return self._missed(each, head, [] if head.fallback else each.state.sample.among(fed, self._settings.anchors))

    def _sampled(self, each: Followed, head: Head) -> dict[str, float]:
        """The same of the sample, which a head of classes is asked when it is solved."""
        if each.task.task == "regression":
            return self._missed(each, head, [] if head.fallback else each.state.sample.examples())
        checked = each.state.checked
        return {} if checked is None else {example: float(not right) for example, right in checked.right().items()}

    def _missed(self, each: Followed, head: Head, examples: Sequence[str]) -> dict[str, float]:
        """A head is asked of each example once."""
        if self._known[0] is not head:
            self._known = head, {}
        known = self._known[1]
        known |= missed(each.state, head, [example for example in examples if example not in known])
        return {example: known[example] for example in examples}

    def _doubt(self, each: Followed, good: _Good, head: Head, suspect: str | None) -> Doubt | None:
        if _silent(each, good) or head.fallback:
            return None
        fresh = fresh_rows(good.rows, each.state.rows)
        if not fresh or any(TRAINING in _sayers(each, good, example) for example in fresh):
            return None
        change = self._change(each, good, head)
        words = change.words(self._settings)
        if not words:
            return None
        if self._without(each, good, None, fresh).damage > NAMED_FROM * change.damage:
            return None  # it comes of what was withdrawn or erased
        newest = tuple(max(vote.moment for vote in each.standing.votes(example)) for example in fresh)
        annotator, share = self._cause(each, good, change, fresh, suspect)
        if share < NAMED_FROM:
            words += "; no annotator alone is the cause"
            return Doubt(words=words, base=good.upto, annotator=None, events=(), newest=newest)
        events = self._events(each, good, annotator, fresh)
        name = f"annotator {annotator!r}" if annotator else "labels that name no annotator"
        words += f"; {100 * share:.0f} % of it is due to {name} ({len(events)} labels since event {good.upto})"
        told = tuple(events[:MOST_EVENTS])
        return Doubt(words=words, base=good.upto, annotator=annotator, events=told, newest=newest)

    def _change(self, each: Followed, good: _Good, head: Head) -> Change:
        rows, traffic_BD, valued = each.state.rows, self._traffic(), each.task.task == "regression"
        same = {e for e in (*good.feedback, *good.sample) if e in rows and rows[e].same(good.rows[e])}
        asked = [example for example in good.feedback if example in same]
        after = self._answered(each, head, set(asked))
        return Change(
            feedback=anchored(good.feedback, after, same, good.usual),
            sample=anchored(good.sample, self._sampled(each, head), same, good.usual),
            answers=len(traffic_BD),
            moved=moved(good.head, head, traffic_BD, good.usual if valued else None),
            usual=good.usual * each.task.scale if valued else None,
        )

    def _cause(
        self, each: Followed, good: _Good, change: Change, fresh: list[str], suspect: str | None
    ) -> tuple[str, float]:
        """The annotator without whose new labels most of the change goes away, and how much of it does."""
        counts: dict[str, int] = {}
        for example in fresh:
            for name in _sayers(each, good, example):
                counts[name] = counts.get(name, 0) + 1
        found: dict[str, float] = {}
        for name in sorted(counts, key=lambda name: (name != suspect, -counts[name], name))[:SUSPECTS]:
            found[name] = 1.0 - self._without(each, good, name, fresh).damage / change.damage
            if name == suspect and found[name] >= NAMED_FROM:
                break
        most = max(found, key=lambda name: found[name], default="")
        return most, found.get(most, 0.0)

    def _without(self, each: Followed, good: _Good, name: str | None, fresh: list[str]) -> Change:
        """What the head would change without an annotator's new labels (None: without any); the sums are then put back
        as they were."""
        state, checked = each.state, each.state.checked
        theirs = [example for example in fresh if name is None or name in _sayers(each, good, example)]
        kept = [state.rows[example] for example in theirs]
        left = (good.rows.get(row.example) if name is None else _left(each, row, name) for row in kept)
        others = [row for row in left if row is not None]
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

    def _events(self, each: Followed, good: _Good, name: str, fresh: list[str]) -> list[str]:
        told = [
            (_likely(each, good.head, each.state.rows[example].features, vote.said), vote.said.event_id)
            for example in fresh
            for vote in each.standing.votes(example)
            if vote.said.annotator == name and vote.moment > good.upto
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


def _silent(each: Followed, good: _Good) -> bool:
    """Whether a head tells nothing of the next one: nothing stood, or the values that stood were all the same."""
    return good.head.fallback or (each.task.task == "regression" and good.usual < 1 / GRID)


def _sayers(each: Followed, good: _Good, example: str) -> set[str]:
    """Annotators who have said something new of an example."""
    return {vote.said.annotator for vote in each.standing.votes(example) if vote.moment > good.upto}


def _taught(each: Followed, example: str) -> bool:
    return any(vote.said.annotator == TRAINING for vote in each.standing.votes(example))


def _left(each: Followed, row: Row, name: str) -> Row | None:
    """What stands for a row's example without an annotator, at the row's weight; None where nothing does."""
    outcome = each.standing.outcome(row.example, without=name)
    if outcome is None or outcome.conflict:
        return None
    return replace(each.row(row.example, outcome, row.features), weight=row.weight)


def _likely(each: Followed, head: Head, features: GridRows, said: LabelEvent) -> float:
    """More for what a head is likelier to say: the probability of a class; of a value, its miss below zero."""
    told_K = from_grid(features) @ head.weight + head.bias
    if said.value is not None:
        return -abs(float(told_K[0]) - target_of(each.task, said.value) / GRID)
    if said.label not in head.labels:
        return 0.0
    return float(softmax(told_K)[head.labels.index(said.label)])

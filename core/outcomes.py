"""Champion against challenger on the labels that came since the challenge began: what a gate decides by.

Promises that an answer counts only where it was given before anything was said of its example: else the head had
learned what it is asked. Of an example that was asked about several times, the first answer counts. One task at a
time: labels and answers of others do not matter to it. Knows nothing of who is to win.

Wilson, "Probable inference, the law of succession, and statistical inference" (1927), for intervals of shares.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, cast

import sqlalchemy as sa

from core.challenges import Challenge
from core.database import label_events, predictions
from core.errors import NotFound
from core.events import TRAINING
from core.gate import evidence
from core.home import Home
from core.paired import Counts
from core.predictions import replies
from core.recall import standing_of
from core.tasks import task_of
from core.types import Scene, Task

Z = 1.959963984540054  # of a two-sided interval of 95 %
PAGE = 500
MOST = 5_000  # labelled examples, the newest; about a second

Said = str | float


@dataclass(frozen=True, kw_only=True)
class Paired:
    """What stands for an example, and what was answered before: None where that version was not asked."""

    example: str
    truth: Said
    champion: Said | None
    challenger: Said | None


@dataclass(frozen=True, kw_only=True)
class Measured:
    """How one version did on ``count`` labelled answers.

    Attributes:
        value: share of right answers, or the mean squared error of a regression; None where nothing is labelled.
        low, high: interval of 95 %.
    """

    count: int
    value: float | None
    low: float | None
    high: float | None


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """Both versions on labelled traffic.

    Attributes:
        metric: ``accuracy`` or ``squared_error``.
        paired: examples that both answered. A shadow and its champion are measured on these alone; of a split, each
            on its own share.
        agreement: share of examples with both answers, labelled or not, that are the same; None without any, and for
            a regression.
        wins, losses: examples on which the challenger alone was right, and the champion alone; of a regression, which
            came nearer. Of a split, the n-th labelled answer of one beside the n-th of the other.
        brought: the same two numbers, of a shadow of which the gate could not tell: by the fresh labels that it saw.
        evidence: e-values for ``challenger``, with what it brought, and for ``champion``. If neither is better, the
            chance that one ever reaches 20 is at most 5 %, however often it is looked at (see ``core.gate.evidence``).
    """

    metric: str
    paired: int
    champion: Measured
    challenger: Measured
    agreement: float | None
    wins: int
    losses: int
    evidence: dict[str, float]
    brought: tuple[int, int] = (0, 0)


def outcomes(
    home: Home, challenge: Challenge, champion: str, most: int = MOST, *, task: str | None = None
) -> list[Paired]:
    """Labelled examples that either has answered since the challenge began, in the order of their first labels.

    ``task`` is the name of the task, by default the first.
    """
    asked, since = task_of(home.registry.scene(challenge.scene), task), challenge.began_at
    first = _first_words(home, asked, since, most)
    answers = _answers(home, asked, [champion, challenge.version], since, first)
    truths = _truths(home, asked, sorted(answers))
    return [
        Paired(
            example=example,
            truth=truths[example],
            champion=said.get(champion),
            challenger=said.get(challenge.version),
        )
        for example, said in sorted(answers.items(), key=lambda pair: first[pair[0]])
        if example in truths
    ]


@dataclass(frozen=True, kw_only=True)
class Answered:
    """An answer that was given before its label: when the example was first labelled, what was said, what stands."""

    example: str
    at: float
    said: Said
    truth: Said


def answered(
    home: Home,
    scene: str,
    version: str,
    most: int = MOST,
    *,
    task: str | None = None,
    since: float = 0.0,
    until: float = math.inf,
    oldest: bool = False,
) -> list[Answered]:
    """What a version has answered to examples before they were labelled; in the order of their first labels.

    ``task`` as ``outcomes`` takes it. What was answered ``since`` and labelled before ``until``, in seconds since the
    epoch; of so ``most`` examples that were labelled then, the newest, or the ``oldest``.
    """
    asked = task_of(home.registry.scene(scene), task)
    first = _first_words(home, asked, since, most, until, oldest)
    answers = _answers(home, asked, [version], since, first)
    truths = _truths(home, asked, sorted(answers))
    rows = [
        Answered(example=example, at=first[example], said=said[version], truth=truths[example])
        for example, said in answers.items()
        if example in truths
    ]
    return sorted(rows, key=lambda row: row.at)


def compare(home: Home, challenge: Challenge, champion: str, *, task: str | None = None) -> Comparison:
    """Both versions measured on what was labelled since the challenge began; ``task`` as ``outcomes`` takes it."""
    asked = task_of(home.registry.scene(challenge.scene), task)
    rows = outcomes(home, challenge, champion, task=task)
    both = [row for row in rows if row.champion is not None and row.challenger is not None]
    counted = both if challenge.mode == "shadow" else rows
    kind = asked.task
    wins, losses = _duels(kind, [(row, row) for row in both] if challenge.mode == "shadow" else _in_turn(rows))
    before = brought(home, challenge, champion, task=task)
    wins_before, losses_before = (sum(counts[place] for counts in before.values()) for place in (1, 2))
    return Comparison(
        metric="accuracy" if kind == "classification" else "squared_error",
        paired=len(both),
        champion=measure(kind, [(row.champion, row.truth) for row in counted if row.champion is not None]),
        challenger=measure(kind, [(row.challenger, row.truth) for row in counted if row.challenger is not None]),
        agreement=_agreement(home, challenge, champion, asked.task_name) if kind == "classification" else None,
        wins=wins,
        losses=losses,
        brought=(wins_before, losses_before),
        evidence={
            "challenger": evidence(wins + wins_before, losses + losses_before),
            "champion": evidence(losses, wins),
        },
    )


def compare_all(home: Home, challenge: Challenge, champion: str) -> dict[str, Comparison]:
    """The comparison of every task of the scene, by name, the first task's first."""
    tasks = home.registry.scene(challenge.scene).tasks
    return {t.task_name: compare(home, challenge, champion, task=t.task_name or None) for t in tasks}


def brought(home: Home, challenge: Challenge, champion: str, *, task: str | None = None) -> dict[str, Counts]:
    """Class → its fresh examples that the gate saw when it could not tell between these two, and how often only the
    challenger was right, or only the champion; nothing of any other two. ``task`` as ``outcomes`` takes it."""
    if challenge.judge != "evidence" or challenge.mode != "shadow" or challenge.probation:
        return {}
    lineage = cast("dict[str, Any]", home.registry.version(challenge.scene, challenge.version).manifest["lineage"])
    try:
        decision = home.decisions.find(str(lineage.get("decision", "")))
    except NotFound:  # no cycle made it
        return {}
    if decision.champion != champion:
        return {}
    name = task_of(home.registry.scene(challenge.scene), task).task_name
    return {each: tuple(counts) for each, counts in decision.record.get("brought", {}).get(name, {}).items()}


def measure(task: Task, answers: Sequence[tuple[Said, Said]]) -> Measured:
    """Answers against the truth.

    Example:
        >>> told = measure("classification", [("cat", "cat"), ("dog", "cat")])
        >>> told.value, round(told.low or 0, 3), round(told.high or 0, 3)
        (0.5, 0.095, 0.905)
    """
    count = len(answers)
    if count == 0:
        return Measured(count=0, value=None, low=None, high=None)
    if task == "classification":
        return share(sum(said == truth for said, truth in answers), count)
    errors = [(float(said) - float(truth)) ** 2 for said, truth in answers]
    mean = sum(errors) / count
    spread = math.sqrt(sum((error - mean) ** 2 for error in errors) / max(1, count - 1))
    half = Z * spread / math.sqrt(count)
    return Measured(count=count, value=mean, low=max(0.0, mean - half), high=mean + half)


def share(right: int, count: int) -> Measured:
    """So many right ones, with Wilson's interval; of one answer at least."""
    value, scale = right / count, 1 + Z**2 / count
    middle = (value + Z**2 / (2 * count)) / scale
    half = Z / scale * math.sqrt(value * (1 - value) / count + Z**2 / (4 * count**2))
    return Measured(count=count, value=value, low=max(0.0, middle - half), high=min(1.0, middle + half))


def _in_turn(rows: Sequence[Paired]) -> list[tuple[Paired, Paired]]:
    """The n-th example that the champion answered beside the n-th of the challenger, in the order of their labels."""
    ours = [row for row in rows if row.champion is not None]
    theirs = [row for row in rows if row.challenger is not None and row.champion is None]
    return list(zip(ours, theirs, strict=False))


def _duels(task: Task, pairs: Sequence[tuple[Paired, Paired]]) -> tuple[int, int]:
    """How often exactly one of the two was right, or the nearer one: the champion on the first, the challenger on the
    second of a pair, which are one example where both answered it."""

    def miss(said: Said | None, truth: Said) -> float:
        assert said is not None, "it was answered"
        return float(said != truth) if task == "classification" else abs(float(said) - float(truth))

    misses = [(miss(ours.champion, ours.truth), miss(theirs.challenger, theirs.truth)) for ours, theirs in pairs]
    return sum(theirs < ours for ours, theirs in misses), sum(ours < theirs for ours, theirs in misses)


def _first_words(
    home: Home, task: Scene, since: float, most: int, until: float = math.inf, oldest: bool = False
) -> dict[str, float]:
    """Examples of feedback, labelled first since then → when anything was first said of them; the newest or oldest."""
    join = label_events.alias("joined")
    example = sa.func.coalesce(label_events.c.example, join.c.example)
    joined = label_events.outerjoin(join, (join.c.target == label_events.c.event_id) & (join.c.kind == "join"))
    here = (label_events.c.scene == task.name) & (label_events.c.task == task.task_name)
    here &= (label_events.c.kind == "label") & example.is_not(None)
    if until < math.inf:
        here &= label_events.c.received_at < until
    said = (
        sa.select(example.label("which"), sa.func.min(label_events.c.received_at).label("first"))
        .select_from(joined)
        .where(here)
        .group_by(example)
        .having(sa.func.min(label_events.c.received_at) >= since)
        .having(sa.func.max(sa.case((label_events.c.source != TRAINING, 1), else_=0)) == 1)
        .order_by(sa.asc("first") if oldest else sa.desc("first"))
        .limit(most)
    )
    with home.ledger.database.read() as connection:
        return {row.which: row.first for row in connection.execute(said)}


def _answers(
    home: Home, task: Scene, versions: Sequence[str], since: float, first: dict[str, float]
) -> dict[str, dict[str, Said]]:
    """Example → version → its first answer before anything was said of the example."""
    found: dict[str, dict[str, Said]] = {}
    listed = sorted(first)
    columns = [
        predictions.c[name] for name in ("example", "scene", "version", "label", "value", "further", "created_at")
    ]
    with home.predictions.database.read() as connection:
        for start in range(0, len(listed), PAGE):
            # By example alone: given the scene, too, SQLite would rather walk through all that was answered for it.
            part = predictions.c.example.in_(listed[start : start + PAGE])
            for row in connection.execute(sa.select(*columns).where(part).order_by(predictions.c.created_at)):
                if row.scene != task.name or row.version not in versions or row.created_at < since:
                    continue
                said = _said(row.label, row.value, row.further, task.task_name)
                if said is not None and row.created_at <= first[row.example]:
                    found.setdefault(row.example, {}).setdefault(row.version, said)
    return found


def _said(label: str | None, value: float | None, further: str | None, task: str) -> Said | None:
    """What a logged answer says for a task: the first, unless it is among the further ones."""
    reply = replies(further).get(task)
    if reply is not None:
        label, value = reply.label, reply.value
    return label if value is None else value


def _truths(home: Home, task: Scene, examples: Sequence[str]) -> dict[str, Said]:
    """What stands of those examples of which something does, and no annotators tie."""
    found: dict[str, Said] = {}
    with home.ledger.database.read() as connection:
        for start in range(0, len(examples), PAGE):
            part = examples[start : start + PAGE]
            standing = standing_of(connection, task.name, part, home.settings.labels.weight, task.task_name)
            for example in part:
                outcome = standing.outcome(example)
                if outcome is not None and not outcome.conflict:
                    truth = outcome.value if outcome.value is not None else outcome.label
                    assert truth is not None, "what stands and is no conflict says something"
                    found[example] = truth
    return found


def _agreement(home: Home, challenge: Challenge, champion: str, task: str) -> float | None:
    answered, shadow = predictions.alias("answered"), predictions.alias("shadow")
    pairs = shadow.join(answered, answered.c.prediction_id == shadow.c.parent)
    newest = (
        sa.select(shadow.c.prediction_id)
        .where(
            shadow.c.scene == challenge.scene,
            shadow.c.role == "shadow",
            shadow.c.version == challenge.version,
            shadow.c.created_at >= challenge.began_at,
        )
        .order_by(shadow.c.created_at.desc())
        .limit(MOST)
    )
    with home.predictions.database.read() as connection:
        rows = connection.execute(
            sa.select(*(each.c[name] for each in (answered, shadow) for name in ("label", "value", "further")))
            .select_from(pairs)
            .where(shadow.c.prediction_id.in_(newest.scalar_subquery()), answered.c.version == champion)
        )
        same = [_said(a, x, more, task) == _said(b, y, other, task) for a, x, more, b, y, other in rows]
    return sum(same) / len(same) if same else None

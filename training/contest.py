"""Champion and candidate asked the same examples: what the gate decides by.

Promises that neither head has seen an example that it answers here, nor have the weights that answer for the candidate:
all that judge are asked at once, or by turns the anchor and each half of the others (``training.folds``), and both
heads are solved from what stands without those whose turn it is, so that features are compared and nothing else; that
each answers by a graph in ONNX Runtime and a head in closed form, as it would be served; and that times are taken in
turn, so that a busy machine slows both. Knows nothing of what is decided.

Legend: N examples, K classes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial

import numpy as np

from core.bundle import Metric
from core.calibrate import by_halves
from core.errors import InvalidInput
from core.follow import Followed, Follower
from core.gate import Cost
from core.head import CALIBRATED_FROM, HeadState, Row
from core.labels import value_of
from core.paired import Flags, Outcomes
from core.session import Session
from core.types import Block, Doubles, Example, Head, Scene
from exporters.compose import alike
from training import features, folds, measure
from training.evaluate import Indices, expected_calibration_error
from training.folds import Fold
from training.ground import Candidate
from training.merge.bench import example_of
from training.merge.parents import Parent
from training.replayed import without
from training.stock import Stock
from training.timing import quickest

NEAR = 0.05  # of the deviation of the truth: values that miss it by as much more or less are equally near
RESAMPLES = 200
ANCHOR, FRESH = "anchor", "fresh"


@dataclass(frozen=True, kw_only=True)
class Contest:
    """How both did.

    Of several tasks, calibration is that of the one in which it rises most, and abstention the largest of each.

    Attributes:
        holdouts: by name; of further tasks with the task's name before it.
        metrics: of the candidate on all that judged, of every task by its name.
    """

    holdouts: Mapping[str, Outcomes] = field(repr=False)
    champion: Cost
    candidate: Cost
    metrics: Mapping[str, Mapping[str, Metric]]


@dataclass(frozen=True)
class _Answers:
    """Of one task: who was asked, what is true, and what each of the two answered.

    Attributes:
        labels: the columns of ``answers``, of each of the two. truths: (N,) the column that is true, -1 where the head
            that answered does not know it.
        unread_N: those that the candidate cannot read, which is no right answer.
    """

    task: Scene
    names: tuple[str, ...]
    rows: tuple[Row, ...]
    labels: tuple[tuple[str, ...], tuple[str, ...]]
    truths: tuple[Indices, Indices] = field(repr=False)
    answers: tuple[Doubles, Doubles] = field(repr=False)
    unread_N: Flags = field(repr=False)


def names_of(scene: Scene, holdout: str) -> tuple[str, ...]:
    """What a hold-out is called in each task of the scene."""
    return (holdout, *(f"{task.task_name}: {holdout}" for task in scene.further))


def counts(scene: Scene, follower: Follower, stock: Stock) -> dict[str, int]:
    """How many examples each hold-out has."""
    found = {}
    for holdout, mine in zip((ANCHOR, FRESH), stock.holdouts, strict=True):
        for name, each in zip(names_of(scene, holdout), follower.tasks, strict=True):
            found[name] = len(each.state.rows.keys() & mine)
    return found


def contest(
    scene: Scene,
    champion: Parent,
    follower: Follower,
    candidate: Candidate,
    stock: Stock,
    uses: Mapping[str, int],
    sure: float,
) -> Contest:
    """Ask both.

    Args:
        follower: of the champion. candidate: with features of all that stands and can be read.
        uses: how often each kind of hold-out has decided before.
        sure: answers less sure than this are abstentions.

    Raises:
        InvalidInput: nothing is left to solve a head from.
    """
    turns = _turns(scene, stock, candidate)
    told = [_asked(each, turns, candidate.assembly.blocks) for each in follower.tasks]
    holdouts = _holdouts(scene, told, stock, uses)
    drawn = candidate.drawn[0]
    times = _milliseconds([(champion, drawn), (candidate, drawn)])
    sizes = (len(champion.bundle.model), len(candidate.assembly.model))
    errors, chance = max((_calibration(each) for each in told), key=lambda both: both[0][1] - both[0][0])
    costs = [
        Cost(
            calibration_error=errors[side],
            chance=chance if side else 0.0,
            milliseconds=times[side],
            size=sizes[side],
            parity=True,  # else there would be no candidate, and the champion would not have been registered
            abstained=max(_abstained(each, side, sure) for each in told),
        )
        for side in (0, 1)
    ]
    metrics = {each.task.task_name: _metrics(each) for each in told}
    return Contest(holdouts=holdouts, champion=costs[0], candidate=costs[1], metrics=metrics)


def ceiling(scene: Scene, follower: Follower, stock: Stock, uses: Mapping[str, int]) -> dict[str, Outcomes]:
    """The champion on the hold-outs beside a candidate that answers all of them right: what none can surpass.

    Raises as ``contest``.
    """
    turns = folds.turns(scene, stock)
    return _holdouts(scene, [_surpassed(each, turns) for each in follower.tasks], stock, uses)


def _holdouts(scene: Scene, told: Sequence[_Answers], stock: Stock, uses: Mapping[str, int]) -> dict[str, Outcomes]:
    found = {}
    for kind, mine in zip((ANCHOR, FRESH), stock.holdouts, strict=True):
        for name, each in zip(names_of(scene, kind), told, strict=True):
            found[name] = _outcomes(each, mine, stock, uses[kind])
    return found


def _turns(scene: Scene, stock: Stock, candidate: Candidate) -> list[Fold]:
    """Who answers which examples for the candidate: its own weights those that they have not seen, and the others those
    of the other half."""
    own = partial(Fold, assembly=candidate.assembly, learned=candidate.learned, known=candidate.known)
    first, *others = folds.turns(scene, stock)
    return [own(judged=first), *(candidate.folds or [own(judged=half) for half in others])]


def _surpassed(each: Followed, turns: Sequence[frozenset[str]]) -> _Answers:
    """The champion's answers, and the truth."""
    told = _in_turn(each.task, [_champions(each, judged) for judged in turns])
    best_NK = np.zeros_like(told.answers[0])
    if each.task.task == "regression":
        best_NK[:, 0] = _truths(told)
    else:
        known_N = np.flatnonzero(told.truths[0] >= 0)  # a class that heads lack stays wrong for anybody
        best_NK[known_N, told.truths[0][known_N]] = 1.0
    return replace(told, answers=(told.answers[0], best_NK))


def _champions(each: Followed, judged: frozenset[str]) -> _Answers:
    """Some examples answered by the champion, whose head has not seen them, on both sides."""
    names = tuple(sorted(judged & each.state.rows.keys()))
    rows = tuple(each.state.rows[name] for name in names)
    head = _solved(without(each.state, each.task, judged), each.task)
    features_ND = np.array([row.features for row in rows], np.int16).reshape(len(rows), each.state.width)
    answers_NK = measure.answers(each.task, head, features_ND)
    labels, truth_N = head.labels, _truth(rows, head.labels)
    return _Answers(
        task=each.task,
        names=names,
        rows=rows,
        labels=(labels, labels),
        truths=(truth_N, truth_N),
        answers=(answers_NK, answers_NK),
        unread_N=np.zeros(len(rows), np.bool_),
    )


def _asked(each: Followed, turns: Sequence[Fold], blocks: Sequence[Block]) -> _Answers:
    return _cooled(_in_turn(each.task, [_both(each, turn, blocks) for turn in turns]))


def _both(each: Followed, turn: Fold, blocks: Sequence[Block]) -> _Answers:
    """The same examples answered by the candidate, too."""
    told = _champions(each, turn.judged)
    blank_D = np.zeros_like(next(iter(turn.known.values())))
    theirs = HeadState(
        len(blank_D), task=each.state.task, declared=each.task.labels, key=each.task.hash_key, blocks=blocks
    )
    theirs.add(
        replace(row, features=turn.known[name], learned=name in turn.learned)
        for name, row in sorted(each.state.rows.items())
        if name in turn.known and name not in turn.judged
    )
    head = _solved(theirs, each.task)
    features_ND = np.array([turn.known.get(name, blank_D) for name in told.names], np.int16)
    answers_NK = measure.answers(each.task, head, features_ND.reshape(len(told.names), len(blank_D)))
    unread_N = np.array([name not in turn.known for name in told.names], np.bool_)
    return replace(
        told,
        labels=(told.labels[0], head.labels),
        truths=(told.truths[0], _truth(told.rows, head.labels)),
        answers=(told.answers[0], answers_NK),
        unread_N=unread_N,
    )


def _in_turn(task: Scene, turns: Sequence[_Answers]) -> _Answers:
    """What was answered in several turns, by heads of which one may know a class that another has none of."""
    sides = [_side(turns, 0), _side(turns, 1)]
    return _Answers(
        task=task,
        names=tuple(name for told in turns for name in told.names),
        rows=tuple(row for told in turns for row in told.rows),
        labels=(sides[0][0], sides[1][0]),
        truths=(sides[0][1], sides[1][1]),
        answers=(sides[0][2], sides[1][2]),
        unread_N=np.concatenate([told.unread_N for told in turns]),
    )


def _side(turns: Sequence[_Answers], side: int) -> tuple[tuple[str, ...], Indices, Doubles]:
    """The columns of one of the two in all turns, which of them are true, and its answers: a class that a head lacks is
    answered to nobody."""
    labels = tuple(sorted({label for told in turns for label in told.labels[side]}))
    rows = sum(len(told.names) for told in turns)
    truth_N, answers_NK = np.full(rows, -1, np.intp), np.zeros((rows, max(1, len(labels))))
    begun = 0
    for told in turns:
        here = slice(begun, begun := begun + len(told.names))
        columns_K = np.array([labels.index(label) for label in told.labels[side]] or [0], np.intp)
        answers_NK[here, columns_K] = told.answers[side]
        known_N = told.truths[side] >= 0
        truth_N[here][known_N] = columns_K[told.truths[side][known_N]]
    return labels, truth_N, answers_NK


def _cooled(told: _Answers) -> _Answers:
    """The same answers, as sure as the other half of those that judge tells.

    The temperature of what will be served is told by rows that no weight was tuned on, the anchor among them; the heads
    here were solved without those whose turn it was, and a candidate would be left with a few rows of validation.
    """
    if told.task.task == "regression":
        return told
    weights_N = np.array([row.weight for row in told.rows], np.float64)
    ours_NK, theirs_NK = (
        by_halves(told.answers[side], told.truths[side], weights_N, CALIBRATED_FROM) for side in (0, 1)
    )
    return replace(told, answers=(ours_NK, theirs_NK))


def _solved(state: HeadState, task: Scene) -> Head:
    head = state.solve()
    if head is None:
        raise InvalidInput(
            f"no class of {task.name!r} has two examples beside those that judge", "label more of the scene"
        )
    return head


def _outcomes(told: _Answers, mine: frozenset[str], stock: Stock, uses: int) -> Outcomes:
    places = [place for place, name in enumerate(told.names) if name in mine]
    ours, theirs = _right(told)
    return Outcomes(
        truth=["" if told.task.task == "regression" else told.rows[place].column for place in places],
        champion=ours[places],
        candidate=theirs[places],
        slices=_slices([told.names[place] for place in places], stock),
        uses=uses,
    )


def _right(told: _Answers) -> tuple[Flags, Flags]:
    """(N,) whether each was right; of a regression, whether it came at least as near as the other."""
    if told.task.task == "regression":
        misses = [np.abs(answers_NK[:, 0] - _truths(told)) for answers_NK in told.answers]
        misses[1][told.unread_N] = np.inf
        near = NEAR * float(_truths(told).std()) if told.names else 0.0
        return misses[0] <= misses[1] + near, misses[1] <= misses[0] + near
    said = [told.answers[side].argmax(axis=1) == told.truths[side] for side in (0, 1)]
    return said[0], said[1] & ~told.unread_N


def _truth(rows: Sequence[Row], labels: Sequence[str]) -> Indices:
    """(N,) the column that is true of each row."""
    place = {label: column for column, label in enumerate(labels)}
    return np.array([place.get(row.column, -1) for row in rows], np.intp)


def _truths(told: _Answers) -> Doubles:
    return np.array([value_of(told.task, row.target or 0) for row in told.rows], np.float64)


def _slices(names: Sequence[str], stock: Stock) -> dict[str, Flags]:
    """The examples of each slice; one that holds all is none."""
    listed = sorted({said for name in names for said in stock.slices[name]})
    members = {said: np.array([said in stock.slices[name] for name in names], np.bool_) for said in listed}
    return {said: of_N for said, of_N in members.items() if not of_N.all()}


def _miscalibrated(told: _Answers, side: int) -> Callable[[Indices], float]:
    """The calibration error of one of the two, of those that judge by their places; of none it is 0."""
    answers_NK = told.answers[side]
    if told.task.task == "regression":
        misses_N = answers_NK[:, 0] - _truths(told)
        spread = max(float(_truths(told).std()) if told.names else 0.0, float(np.finfo(np.float64).tiny))
        return lambda at_N: float(np.sqrt(np.square(misses_N[at_N]).mean())) / spread if len(at_N) else 0.0
    truth_N = told.truths[side]
    return lambda at_N: expected_calibration_error(answers_NK[at_N], truth_N[at_N]) if len(at_N) else 0.0


def _calibration(told: _Answers) -> tuple[tuple[float, float], float]:
    """The calibration errors of champion and candidate, and the standard error of how much larger the latter is: paired
    bootstrap of those that judge."""
    ours, theirs = _miscalibrated(told, 0), _miscalibrated(told, 1)
    every_N = np.arange(len(told.names))
    drawn_RN = np.random.default_rng(0).choice(every_N, (RESAMPLES, len(every_N))) if len(every_N) else every_N[None]
    return (ours(every_N), theirs(every_N)), float(np.std([theirs(at_N) - ours(at_N) for at_N in drawn_RN]))


def _abstained(told: _Answers, side: int, sure: float) -> float:
    if not told.names or told.task.task == "regression":
        return 0.0
    return float((told.answers[side].max(axis=1) < sure).mean())


def _metrics(told: _Answers) -> dict[str, Metric]:
    examples = [example_of(told.task, row) for row in told.rows]
    return measure.of_examples(told.task, told.answers[1], examples, told.labels[1], 0)


def _milliseconds(sides: Sequence[tuple[Parent | Candidate, Example]]) -> list[float]:
    """One example alone in its batch on one thread; of a graph that differs by its weights alone there is one time."""
    asked, models = [], []
    for side, example in sides:
        models.append(side.bundle.model if isinstance(side, Parent) else side.assembly.model)
        reader = side.preprocessor if isinstance(side, Parent) else side.assembly.preprocessor
        inputs = reader.batch([reader.read(features.content(example))])
        asked.append(partial(Session(models[-1]).features, inputs))
    if alike(models[0], models[1]):
        asked = asked[:1]
    return [1000 * seconds for seconds in quickest(asked)] * (len(sides) // len(asked))

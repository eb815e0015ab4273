"""A head under a stream of scenes, beside online learners of river and scikit-learn on the same features.

A model is adapted to the first scene with all its teaching labels; then the next scenes come one after the other, in
batches of ten. Every input is answered when it comes, and its label is learned later: one to three batches late, in
any order. Photographs, clip art, emoji (the five classes that they share; EfficientNet-Lite0 at 96 px), and films,
products, tweets (MiniLM, 500 and twice 300 labels).

* ``frozen``: the first head, for good. ``closed form``: ours, with the weight that the service gives feedback.
* ``refit``: ours from scratch on all labels at the end, in another order; it has to be the same to the last bit.
* ``softmax`` and ``naive Bayes``: river's, one label at a time, features standardised as they come.
* ``SGD``: scikit-learn's logistic regression by ``partial_fit``.

Of each: ``prequential``, the share of right first answers; balanced accuracy on test rows of all scenes at the end
(``average``); ``backward transfer``, what scenes have gained since they were the present one (below zero:
forgetting); ``worst``, the lowest mean over scenes seen, looked at every five batches.

Promises paired draws: all meet the same inputs and labels at the same moments.

Legend: N inputs, D features, S scenes, T moments.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from sklearn.linear_model import SGDClassifier

from benchmarks import scenes, texts
from benchmarks.adaptation_parts import streams
from benchmarks.adaptation_parts.measured import Measured
from benchmarks.draws import Names, mean_and_half, mean_told
from benchmarks.report import Claim, Row
from core.head import HeadState
from core.head import Row as Standing
from core.statistics import from_grid
from core.types import Doubles, GridRows, Head
from training.evaluate import balanced_accuracy

BATCH, LATE = 10, 3  # inputs a batch; batches that a label may be late
EVERY = 5  # batches between two looks at all scenes
FEEDBACK = 4  # weight of feedback beside training data, the service's default
TAUGHT = {"pictures": (0.6, 0.6, 0.6), "texts": (500, 300, 300)}  # rows, or a share of them, that teach
TESTED = 500  # rows of a scene at most
OURS, REFIT = "closed form", "refit"
BEHIND = 0.0  # points that a peer may be ahead of ours where the interval tells them apart


@dataclass(frozen=True, eq=False)
class Stage:
    """One scene of a stream, on the grid: rows that teach, in the order in which they come, and rows that test."""

    rows_ND: GridRows
    labels_N: Names
    tested_ND: GridRows
    truth_N: Names


class Learner(Protocol):
    """What learns from labels as they come."""

    def begin(self, rows_ND: GridRows, labels_N: Names) -> None:
        """Learn the first scene."""

    def learn(self, rows_ND: GridRows, labels_N: Names) -> None:
        """Learn labels that have come."""

    def answer(self, rows_ND: GridRows) -> Names:
        """A label for each row."""


class ClosedForm:
    """Ours. ``frozen``: nothing is learned after the beginning; ``feedback``: weight of what is learned then."""

    def __init__(self, frozen: bool = False, feedback: int = FEEDBACK) -> None:
        self._frozen, self._feedback = frozen, feedback
        self._state: HeadState | None = None
        self.head: Head | None = None
        self.told: list[Standing] = []

    def begin(self, rows_ND: GridRows, labels_N: Names) -> None:
        """Learn the first scene."""
        self._state = HeadState(rows_ND.shape[1], key=b"stream")
        self._add(rows_ND, labels_N, 1)

    def learn(self, rows_ND: GridRows, labels_N: Names) -> None:
        """Learn labels that have come."""
        if not self._frozen:
            self._add(rows_ND, labels_N, self._feedback)

    def answer(self, rows_ND: GridRows) -> Names:
        """A label for each row."""
        assert self.head is not None
        scores_NK = from_grid(rows_ND) @ self.head.weight + self.head.bias
        said_N: Names = np.array(self.head.labels)[scores_NK.argmax(axis=1)]
        return said_N

    def difference(self) -> float:
        """The largest difference between this head and one from scratch on the same labels, the last ones first."""
        assert self.head is not None
        state = HeadState(self.head.weight.shape[0], key=b"stream")
        state.add(self.told[::-1])
        again = state.solve()
        assert again is not None
        return float(max(np.abs(again.weight - self.head.weight).max(), np.abs(again.bias - self.head.bias).max()))

    def _add(self, rows_ND: GridRows, labels_N: Names, weight: int) -> None:
        assert self._state is not None
        start = len(self.told)
        told = [
            Standing(str(start + n), row, str(label), None, weight)
            for n, (row, label) in enumerate(zip(rows_ND, labels_N, strict=True))
        ]
        self._state.add(told)
        self.told += told
        self.head = self._state.solve()


class River:
    """A learner of river, one label at a time."""

    def __init__(self, model: Callable[[], Any]) -> None:
        from river import preprocessing

        self._model: Any = preprocessing.StandardScaler() | model()

    def begin(self, rows_ND: GridRows, labels_N: Names) -> None:
        """Learn the first scene in an order by chance."""
        order = np.random.default_rng(0).permutation(len(labels_N))
        self.learn(rows_ND[order], labels_N[order])

    def learn(self, rows_ND: GridRows, labels_N: Names) -> None:
        """Learn labels that have come."""
        for told, label in zip(_dicts(rows_ND), labels_N, strict=True):
            self._model.learn_one(told, str(label))

    def answer(self, rows_ND: GridRows) -> Names:
        """A label for each row."""
        return np.array([self._model.predict_one(told) for told in _dicts(rows_ND)])


class Descent:
    """scikit-learn's logistic regression by stochastic gradient descent."""

    def __init__(self, classes: Names) -> None:
        self._classes = classes
        self._model = SGDClassifier(loss="log_loss", random_state=0)

    def begin(self, rows_ND: GridRows, labels_N: Names) -> None:
        """Learn the first scene, five times over."""
        random = np.random.default_rng(0)
        for _ in range(5):
            order = random.permutation(len(labels_N))
            self.learn(rows_ND[order], labels_N[order])

    def learn(self, rows_ND: GridRows, labels_N: Names) -> None:
        """Learn labels that have come."""
        self._model.partial_fit(from_grid(rows_ND), labels_N, classes=self._classes)

    def answer(self, rows_ND: GridRows) -> Names:
        """A label for each row."""
        said_N: Names = self._model.predict(from_grid(rows_ND))
        return said_N


def measured(*, quick: bool) -> Measured:
    """The table and the claims."""
    seeds = 2 if quick else 5
    rows: list[Row] = []
    claims: list[Claim] = []
    for name, drawn in (("pictures", _pictures), ("texts", _texts)):
        found: dict[str, list[Doubles]] = {}
        apart = 0.0
        for seed in range(seeds):
            stages = drawn(seed)
            for each, learner in _learners(stages).items():
                found.setdefault(each, []).append(100 * _followed(learner, stages, seed))
                if each == OURS:
                    assert isinstance(learner, ClosedForm)
                    apart = max(apart, learner.difference())
        rows += [_row(name, each, np.array(figures)) for each, figures in found.items()]
        words = f"stream of {name}: largest difference between the online head and a refit on all labels"
        claims.append(Claim(claim=words, value=apart, bound=0.0, holds=apart == 0.0))
        claims += _ahead(name, found)
    return Measured(rows=rows, claims=claims)


def _ahead(name: str, found: dict[str, list[Doubles]]) -> Iterator[Claim]:
    """No peer is told apart above ours in the average at the end."""
    own_S = np.array(found[OURS])[:, 1]
    for each, figures in found.items():
        if each != OURS:
            mean, half = mean_and_half(np.array(figures)[:, 1] - own_S)
            words = f"stream of {name}: points that {each} is above ours at the end, as far as it is told apart"
            yield Claim(claim=words, value=mean - half, bound=BEHIND, holds=mean - half <= BEHIND)


def _learners(stages: Sequence[Stage]) -> dict[str, Learner]:
    from river import linear_model, naive_bayes

    classes = np.unique(np.concatenate([stage.labels_N for stage in stages]))
    return {
        "frozen": ClosedForm(frozen=True),
        OURS: ClosedForm(),
        "softmax (river)": River(linear_model.SoftmaxRegression),
        "naive Bayes (river)": River(naive_bayes.GaussianNB),
        "SGD (scikit-learn)": Descent(classes),
    }


def _pictures(seed: int) -> list[Stage]:
    sides = [streams.features(folder) for folder in (scenes.photo(), scenes.clip_art(), scenes.emoji())]
    shared = set.intersection(*(set(labels_N.tolist()) for _, labels_N in sides))
    return [
        _stage(rows_ND, labels_N, share, seed, sorted(shared))
        for (rows_ND, labels_N), share in zip(sides, TAUGHT["pictures"], strict=True)
    ]


def _texts(seed: int) -> list[Stage]:
    told = [texts.domain(name) for name in texts.DOMAINS]
    return [
        _stage(each.grid_ND, each.labels_N, count, seed, None)
        for each, count in zip(told, TAUGHT["texts"], strict=True)
    ]


def _dicts(rows_ND: GridRows) -> Iterator[dict[int, float]]:
    """Rows as river takes them."""
    return (dict(enumerate(row)) for row in from_grid(rows_ND).tolist())


def _stage(rows_ND: GridRows, labels_N: Names, taught: float, seed: int, only: Sequence[str] | None) -> Stage:
    kept = np.arange(len(labels_N)) if only is None else np.flatnonzero(np.isin(labels_N, only))
    order = np.random.default_rng(seed).permutation(kept)
    cut = int(taught if taught > 1 else taught * len(order))
    first, rest = order[:cut], order[cut:][:TESTED]
    return Stage(rows_ND[first], labels_N[first], rows_ND[rest], labels_N[rest])


def _followed(learner: Learner, stages: Sequence[Stage], seed: int) -> Doubles:
    """(4,) prequential, average, backward transfer and worst, as shares."""
    random = np.random.default_rng(seed)
    learner.begin(stages[0].rows_ND, stages[0].labels_N)
    ends = [_scores(learner, stages)]
    worst, right = [ends[0][0]], list[np.ndarray[Any, Any]]()
    for number, stage in enumerate(stages[1:], 1):
        for batch, arrived in enumerate(arrivals(len(stage.labels_N), random)):
            coming = slice(batch * BATCH, (batch + 1) * BATCH)
            if len(stage.labels_N[coming]):
                right.append(learner.answer(stage.rows_ND[coming]) == stage.labels_N[coming])
            if len(arrived):
                learner.learn(stage.rows_ND[arrived], stage.labels_N[arrived])
            if batch % EVERY == EVERY - 1:
                worst.append(float(np.mean(_scores(learner, stages[: number + 1]))))
        ends.append(_scores(learner, stages))
    last = ends[-1]
    back = [last[s] - ends[s][s] for s in range(len(stages) - 1)]
    worst.append(float(np.mean(last)))
    return np.array([np.concatenate(right).mean(), np.mean(last), np.mean(back), min(worst)])


def arrivals(count: int, random: np.random.Generator) -> Iterator[np.ndarray[Any, Any]]:
    """At each batch the inputs whose labels come: late, and in any order."""
    due_N = np.arange(count) // BATCH + random.integers(1, LATE + 1, count)
    for batch in range(int(due_N.max()) + 1):
        yield random.permutation(np.flatnonzero(due_N == batch))


def _scores(learner: Learner, stages: Sequence[Stage]) -> list[float]:
    """Balanced accuracy on the test rows of each scene."""
    found = []
    for stage in stages:
        classes = np.unique(stage.truth_N)
        said_N = learner.answer(stage.tested_ND)
        index = {label: k for k, label in enumerate(classes)}
        chosen_N = np.array([index.get(label, -1) for label in said_N], np.int64)
        found.append(balanced_accuracy(chosen_N, np.searchsorted(classes, stage.truth_N)))
    return found


def _row(name: str, each: str, figures_S4: Doubles) -> Row:
    columns = ("prequential", "average", "backward transfer", "worst")
    told = {column: mean_told(figures_S4[:, k]) for k, column in enumerate(columns)}
    return {"part": f"stream of {name}", "what": each, **told}

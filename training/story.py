"""What an adaptation has to tell: data, candidates, learning curves, and how good the answers are, as plain numbers.

Promises that the page and the JSON tell the same, and that nothing is told that was not measured. Knows nothing of
HTML; ``training.story_page`` draws it.

Legend: N examples, K classes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field

import numpy as np

from core.bundle import Metric
from core.types import Doubles, Example
from training.evaluate import BINS, Metrics, evaluate
from training.report import DataReport

MISTAKES = 24  # shown, the surest first


@dataclass(frozen=True, kw_only=True)
class Entry:
    """A candidate: what it scored, and what it costs.

    Attributes:
        score: balanced accuracy or R²; None where it was not tried. low, high: its 95 % interval.
        seconds: that trying it took. milliseconds: of one example. alpha: its weight in a fusion.
    """

    name: str
    recipe: str = "closed_form"
    score: float | None = None
    low: float | None = None
    high: float | None = None
    seconds: float | None = None
    milliseconds: float | None = None
    model_bytes: int = 0
    chosen: bool = False
    reason: str = ""
    alpha: float | None = None


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """Candidates that were scored on the same rows; ``rows`` says which."""

    rows: str
    entries: tuple[Entry, ...]


@dataclass(frozen=True, kw_only=True)
class Curve:
    """One measure over the epochs of one run."""

    run: str
    measure: str
    points: tuple[tuple[float, float], ...]


@dataclass(frozen=True, kw_only=True)
class Bin:
    """Answers of about the same confidence: how sure they were, and how often right."""

    confidence: float
    accuracy: float
    examples: int


@dataclass(frozen=True, kw_only=True)
class Mistake:
    """A wrong answer. ``content`` is the input itself, for the page alone."""

    name: str
    truth: str
    answer: str
    confidence: float
    content: bytes | None = field(repr=False, default=None)


@dataclass(frozen=True, kw_only=True)
class Answers:
    """How the answers to labelled rows were: of the test side, or leave-one-out where there is none.

    Attributes:
        rows: which rows these are, in words.
        values: (truth, answer) pairs of a regression.
    """

    rows: str
    metrics: Metrics | None = None
    reliability: tuple[Bin, ...] = ()
    mistakes: tuple[Mistake, ...] = ()
    values: tuple[tuple[float, float], ...] = ()


@dataclass(frozen=True, kw_only=True)
class Story:
    """All of it. ``notes``: what was decided on the way and why, a sentence each."""

    scene: str
    version: str
    recipe: str
    task: str
    modality: str
    data: DataReport
    metrics: Mapping[str, Metric]
    comparisons: tuple[Comparison, ...] = ()
    curves: tuple[Curve, ...] = ()
    answers: tuple[Answers, ...] = ()
    robustness: Mapping[str, tuple[Metric, ...]] = field(default_factory=dict)
    stages: tuple[tuple[str, float], ...] = ()
    notes: tuple[str, ...] = ()

    def to_json(self) -> dict[str, object]:
        """Plain JSON values; inputs are left out."""
        told = {key: value for key, value in asdict(self).items() if key not in {"data", "metrics", "robustness"}}
        for answers in told["answers"]:
            for mistake in answers["mistakes"]:
                del mistake["content"]
        return told | {
            "data": self.data.to_json(),
            "metrics": {name: metric.model_dump() for name, metric in self.metrics.items()},
            "robustness": {name: [m.model_dump() for m in row] for name, row in self.robustness.items()},
        }


def of_classes(
    rows: str, probabilities_NK: Doubles, examples: Sequence[Example], classes: Sequence[str], seed: int
) -> Answers:
    """What a classifier's (N, K) answers to labelled examples come to."""
    labels = [example.label or "" for example in examples]
    groups = [example.group for example in examples] if any(example.group for example in examples) else None
    return Answers(
        rows=rows,
        metrics=evaluate(probabilities_NK, labels, classes, seed, groups),
        reliability=reliability(probabilities_NK, labels, classes),
        mistakes=_mistakes(probabilities_NK, examples, classes),
    )


def of_values(rows: str, predicted_N: Doubles, examples: Sequence[Example]) -> Answers:
    """What a regression's answers come to: the pairs."""
    pairs = zip((example.value for example in examples), predicted_N, strict=True)
    return Answers(rows=rows, values=tuple((float(truth), float(told)) for truth, told in pairs if truth is not None))


def reliability(probabilities_NK: Doubles, labels: Sequence[str], classes: Sequence[str]) -> tuple[Bin, ...]:
    """Confidence against accuracy in bins of equal width, empty ones left out (Guo et al. 2017, arXiv 1706.04599).

    >>> reliability(np.array([[0.9, 0.1], [0.9, 0.1]]), ["a", "b"], ["a", "b"])
    (Bin(confidence=0.9, accuracy=0.5, examples=2),)
    """
    sure_N = probabilities_NK.max(axis=1)
    right_N = np.array([classes[k] for k in probabilities_NK.argmax(axis=1)]) == np.array(labels)
    bin_N = np.clip(np.ceil(sure_N * BINS).astype(np.intp) - 1, 0, BINS - 1)
    return tuple(
        Bin(
            confidence=float(sure_N[bin_N == place].mean()),
            accuracy=float(right_N[bin_N == place].mean()),
            examples=int((bin_N == place).sum()),
        )
        for place in np.unique(bin_N)
    )


def _mistakes(probabilities_NK: Doubles, examples: Sequence[Example], classes: Sequence[str]) -> tuple[Mistake, ...]:
    """Not those of a person who may be erased: they would stand in a page that cannot forget."""
    sure_N, best_N = probabilities_NK.max(axis=1), probabilities_NK.argmax(axis=1)
    wrong = [n for n, e in enumerate(examples) if e.label != classes[best_N[n]] and e.subject is None]
    return tuple(
        Mistake(
            name=examples[n].path or examples[n].digest[:12],
            truth=examples[n].label or "",
            answer=classes[best_N[n]],
            confidence=float(sure_N[n]),
            content=examples[n].content,
        )
        for n in sorted(wrong, key=lambda n: (-sure_N[n], examples[n].digest))[:MISTAKES]
    )

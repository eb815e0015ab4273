"""Two backbones beside each other on the rows of one scene, by what would be served of them.

Promises that a backbone, tuned or not, is judged as it would answer: exported, compared with its original on real rows,
features through ONNX Runtime, a closed-form head of the training rows, answers to the validation rows. The same rows,
the same head, so that outcomes pair. Features of what is only tried are kept nowhere. Knows nothing of recipes.

The rule of ``decide``: the tuned backbone takes the floor's place where its score on the validation rows is not lower.
The score is the mean over classes of the share of right answers, or R squared; of several tasks, their mean. Where
rows are few, the interval of the paired difference (bootstrap within classes) says how little that may mean; it is
told, and does not decide. Where the same rows chose the epoch, by the loss of the trained head (``keep=best``), that
flatters what was tuned by a little; a search keeps the last epoch. Where somebody judges again by rows of their own, as
the gate of a cycle does, a score that is lower by no more than a standard error counts as not lower.

The one-standard-error rule: Breiman et al., "Classification and Regression Trees" (1984), chapter 3.

Legend: N rows, D features, K classes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from core.head import HeadState, Row
from core.labels import target_of
from core.preprocess import Limits
from core.statistics import VALUE
from core.types import Block, Doubles, Example, GridRows, Head, Scene
from exporters.backbone import Backbone
from exporters.parity import Parity
from exporters.transform import Kind
from training import features, measure, package, select
from training.assemble import Assembly, assemble
from training.recipe import Rows, TooFew
from training.tasks import by_task

WIDE = 2 * 1.96  # standard errors from one end of an interval of 95 % to the other
DRAWN = 256  # training rows on which parity is shown and a standardised transform is measured


@dataclass(frozen=True)
class Bench:
    """What stands around a judgement, the same for all that are compared.

    Attributes:
        kind: how features are scaled; None follows the backbone.
        cache: folder of the feature cache, for backbones that no recipe moved.
    """

    scene: Scene
    cache: Path
    limits: Limits
    kind: Kind | None = None
    threads: int = 1
    seed: int = 0


@dataclass(frozen=True, kw_only=True)
class Judged:
    """A backbone, and how its closed form did.

    Attributes:
        head: of the training rows alone. features: by example, of training and validation rows.
        outcomes_N: what each validation row counts: 1 or 0 (right or not), or 1 - squared error / variance.
        groups_N: their tasks and classes; of several tasks a row counts once for each that it is labelled for.
        score: mean over the classes, and the tasks. low, high: 95 % interval of it.
    """

    assembly: Assembly
    parity: Parity
    head: Head = field(repr=False)
    features: dict[str, GridRows] = field(repr=False)
    outcomes_N: Doubles = field(repr=False)
    groups_N: tuple[str, ...] = field(repr=False)
    score: float
    low: float
    high: float


@dataclass(frozen=True, kw_only=True)
class Decision:
    """Whether the candidate takes the floor's place; ``difference`` is candidate minus floor, with its interval."""

    accepted: bool
    floor: float
    candidate: float
    difference: float
    low: float
    high: float
    rows: int
    words: str


def judge(backbone: Backbone, rows: Rows, bench: Bench, progress: Callable[[int, int], None] | None = None) -> Judged:
    """Assemble, show parity, extract, solve on the training rows, answer the validation rows.

    Raises:
        LeptonError: it cannot be exported, or the export is not faithful; there are too few rows.
    """
    drawn = draw(rows.train, bench.seed)
    assembly = assemble([backbone], bench.kind, bench.scene, bench.cache, drawn, bench.threads, bench.limits)
    parity = package.check_parity(assembly, drawn)
    return of_assembly(assembly, parity, rows, bench, progress)


def of_assembly(
    assembly: Assembly,
    parity: Parity,
    rows: Rows,
    bench: Bench,
    progress: Callable[[int, int], None] | None = None,
    known: Mapping[str, GridRows] | None = None,
) -> Judged:
    """The same of what is assembled, its parity shown; ``known`` features by example are not computed again."""
    had = known or {}
    examples = [*rows.train, *rows.validation]
    lacking = [example for example in examples if example.digest not in had]
    cache = cache_of(assembly, bench.cache)
    found_ND = features.extract(assembly.session, assembly.preprocessor, assembly.extractor, lacking, cache, progress)
    held = {example.digest: had[example.digest] for example in examples if example.digest in had}
    held |= {example.digest: row for example, row in zip(lacking, found_ND, strict=True)}
    head = solve(bench.scene, rows.train, held, assembly.blocks)
    outcomes_N, groups_N = outcomes(bench.scene, head, rows.validation, held)
    low, high = select.interval(outcomes_N, groups_N, bench.seed)
    return Judged(
        assembly=assembly,
        parity=parity,
        head=head,
        features=held,
        outcomes_N=outcomes_N,
        groups_N=groups_N,
        score=select.score(outcomes_N, groups_N),
        low=low,
        high=high,
    )


def cache_of(assembly: Assembly, cache: Path) -> Path | None:
    """Where features of an assembly may be kept: of what a recipe moved, nowhere."""
    return None if any(backbone.recipe for backbone in assembly.backbones) else cache


def decide(floor: Judged, candidate: Judged, recipe: str, seed: int, *, again: bool = False) -> Decision:
    """The rule at the top of this module; ``again``: somebody judges again by rows of their own."""
    assert floor.groups_N == candidate.groups_N, "both answered the same rows"
    difference = candidate.score - floor.score
    low, high = select.interval(candidate.outcomes_N - floor.outcomes_N, floor.groups_N, seed)
    accepted = bool(difference >= (-(high - low) / WIDE if again else 0.0))
    rows = len(floor.groups_N)
    words = (
        f"{recipe} scores {100 * candidate.score:.1f} % on {rows} validation rows, the closed form on the untouched "
        f"backbone {100 * floor.score:.1f} %: {100 * difference:+.1f} points ({100 * low:+.1f} to {100 * high:+.1f})"
    )
    if accepted:
        words += ", so it takes its place" if difference >= 0 else ", which does not tell them apart: it goes on"
    else:
        words += ", so the untouched backbone stays"
    return Decision(
        accepted=accepted,
        floor=floor.score,
        candidate=candidate.score,
        difference=difference,
        low=low,
        high=high,
        rows=rows,
        words=words,
    )


def draw(examples: Sequence[Example], seed: int) -> list[Example]:
    """Some of the examples, at random."""
    chosen = np.random.default_rng(seed).permutation(len(examples))
    return [examples[place] for place in chosen[:DRAWN]]


def solve(scene: Scene, examples: Sequence[Example], held: dict[str, GridRows], blocks: Sequence[Block] = ()) -> Head:
    """The closed-form head of labelled rows; of ``blocks`` of features each has its own.

    Raises:
        TooFew: no class has two examples, in one of the tasks.
    """
    heads: list[Head] = []
    for task, mine in by_task(scene, examples):
        head = state(task, mine, held, blocks).solve()
        if head is None:
            of_task = f" for task {task.task_name}" if task.task_name else ""
            raise TooFew(f"no class has two training examples{of_task}", "give at least two examples of a class")
        heads.append(head)
    return replace(heads[0], further=dict(zip((task.task_name for task in scene.further), heads[1:], strict=True)))


def state(
    scene: Scene, examples: Sequence[Example], held: dict[str, GridRows], blocks: Sequence[Block] = ()
) -> HeadState:
    """Labelled rows of one task as the head takes them, each of weight 1."""
    width = len(next(iter(held.values())))
    made = HeadState(width, task=scene.task, declared=scene.labels, key=scene.hash_key, blocks=blocks)
    made.add(_row(scene, example, held[example.digest]) for example in examples)
    return made


def outcomes(
    scene: Scene, head: Head, examples: Sequence[Example], held: dict[str, GridRows]
) -> tuple[Doubles, tuple[str, ...]]:
    """(N,) what each row counts when ``head`` answers it, and its class; a class that the head lacks is always wrong.

    Raises:
        TooFew: there is no row.
    """
    drawn = [(task, mine) for task, mine in by_task(scene, examples) if mine]
    if not drawn:
        raise TooFew("there is no validation row to judge a backbone by", "give more labelled examples")
    counted = [_counted(task, head.of(task.task_name), mine, held) for task, mine in drawn]
    return select.over_tasks(counted, drawn), tuple(select.groups(drawn))


def trained_score(judged: Judged, head: Head, rows: Rows, scene: Scene) -> float:
    """What the head that was trained beside the weights would have scored on the same features and rows."""
    outcomes_N, groups_N = outcomes(scene, head, rows.validation, judged.features)
    return select.score(outcomes_N, groups_N)


def _counted(scene: Scene, head: Head, examples: Sequence[Example], held: dict[str, GridRows]) -> Doubles:
    """The same of one task."""
    answered_NK = measure.answers(scene, head, np.stack([held[example.digest] for example in examples]))
    if scene.task == "regression":
        values_N = np.array([example.value for example in examples], np.float64)
        spread = max(float(values_N.var()), np.finfo(np.float64).tiny)
        errors_N: Doubles = np.square(answered_NK[:, 0] - values_N)
        return 1.0 - errors_N / spread
    said = [head.labels[place] for place in answered_NK.argmax(axis=1)]
    return np.array([float(word == example.label) for word, example in zip(said, examples, strict=True)])


def _row(scene: Scene, example: Example, features_D: GridRows) -> Row:
    if scene.task == "regression":
        assert example.value is not None, "a regression's examples have values"
        return Row(example.digest, features_D, VALUE, target_of(scene, example.value), 1)
    return Row(example.digest, features_D, example.label or "", None, 1)

"""A graph with the features of every example, ready for its head: as the backbones came, or as a recipe moved one.

Promises that every epoch is told as it ends, and that nothing else is written: what is tuned here is registered later
or not at all. Knows nothing of the ledger.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from core.bundle import Tuning
from core.follow import Followed
from core.home import Home
from core.types import Example, GridRows, Scene
from exporters.parity import Parity
from training import features, judge, tuning
from training.adapt import closed_form
from training.adapt.closed_form import Learned
from training.assemble import Assembly
from training.data import Dataset
from training.explore import Explored
from training.judge import Bench
from training.recipe import Epoch
from training.reporter import Reporter
from training.tasks import by_task
from training.tuning import Ask, Attempt

MEASURES = ("loss", "validation_loss", "validation_score", "rate", "seconds")  # of an epoch, as metrics of the run


@dataclass(frozen=True, kw_only=True)
class Ready:
    """What is to be served, before its head is solved.

    Attributes:
        rows: features by example.
        attempt: the recipe that was tried, whatever came of it; None where none was.
        tuning, validation: where a recipe moved weights, what the manifest says of it, and rows that none was tuned on.
        explored: what a budget was spent on, where no recipe was named.
        before: there, how the untouched features answered each training row without itself. The tuned ones have seen
            every label, right or wrong, and cannot say which of them look wrong.
    """

    assembly: Assembly
    parity: Parity
    rows: dict[str, GridRows] = field(repr=False)
    attempt: Attempt | None = None
    tuning: Tuning | None = None
    validation: tuple[Example, ...] = ()
    explored: Explored | None = None
    before: Learned | None = field(repr=False, default=None)

    def stack(self, examples: Sequence[Example]) -> GridRows:
        """(N, D) features of some examples."""
        return np.stack([self.rows[example.digest] for example in examples])


def extracted(home: Home, assembly: Assembly, parity: Parity, dataset: Dataset, reporter: Reporter) -> Ready:
    """Everything through an assembly."""
    return Ready(
        assembly=assembly, parity=parity, rows=_features(home, assembly, dataset.examples, {}, reporter.progress)
    )


def tuned(home: Home, dataset: Dataset, floor: Ready, ask: Ask, bench: Bench, reporter: Reporter) -> Ready:
    """What a recipe makes of the floor where that is no worse; otherwise the floor, and the attempt.

    Raises:
        InvalidInput: the backbone cannot be tuned, or a setting does not fit the data.
        Helped: this is not the first of several processes.
    """
    epochs = getattr(ask.config, "epochs", 0)

    def epoch(at: Epoch) -> None:
        for name in MEASURES:
            reporter.metric(name, at.number, getattr(at, name))
        reporter.note(sentence(at, bench.scene))
        reporter.progress(at.number, epochs)

    sides = tuning.sides(dataset.examples, bench.scene, bench.seed)
    asked = replace(ask, epoch=epoch, noted=reporter.note) if ask.device.first else ask
    attempt = tuning.attempt(floor.assembly, floor.parity, sides, bench, asked)
    reporter.note(attempt.words)
    if attempt.judged is None:
        return replace(floor, attempt=attempt)
    return settled(home, dataset, floor, attempt, floor.assembly.backbones[0].digest, bench, reporter)


def settled(
    home: Home, dataset: Dataset, floor: Ready, attempt: Attempt, base: str, bench: Bench, reporter: Reporter
) -> Ready:
    """What an attempt made, in the floor's place; ``base`` is the digest of the backbone that it began with."""
    found, moved = attempt.judged, attempt.tuned is not None and attempt.tuned.moved
    assert found is not None, "otherwise the floor stays"
    taught = [example for example in dataset.examples if example.split != "test"]
    return Ready(
        assembly=found.assembly,
        parity=found.parity,
        rows=_features(home, found.assembly, dataset.examples, found.features, reporter.progress),
        attempt=attempt,
        tuning=tuning.told(attempt, base, reporter.run, bench.seed) if moved else None,
        validation=attempt.rows.validation if moved else (),
        before=_before(bench.scene, floor, taught) if moved else None,
    )


def sentence(at: Epoch, scene: Scene) -> str:
    """An epoch in words.

    >>> from core.types import Scene
    >>> told = Epoch(
    ...     number=3, loss=0.5, validation_loss=0.4, validation_score=0.9, rate=1e-3, seconds=12.0, left=8.0
    ... )
    >>> sentence(told, Scene(name="x", task="classification", modality="image"))
    'epoch 3: loss 0.5000, validation loss 0.4000, balanced accuracy 90.0 %, 8 s left'
    """
    score = f"R² {at.validation_score:.3f}"
    if scene.task == "classification":
        score = f"balanced accuracy {100 * at.validation_score:.1f} %"
    if scene.further:
        score = f"mean score of {len(scene.tasks)} tasks {100 * at.validation_score:.1f} %"
    loss = "" if math.isnan(at.loss) else f"loss {at.loss:.4f}, "
    left = "" if math.isnan(at.left) else f", {at.left:.0f} s left"
    return f"epoch {at.number}: {loss}validation loss {at.validation_loss:.4f}, {score}{left}"


def kept_apart(home: Home, ready: Ready) -> str:
    """The list of rows that no weight was tuned on; empty where no weight was."""
    apart = spared(ready)
    return "" if apart is None else home.untouched.keep(apart)


def spared(ready: Ready) -> set[str] | None:
    """The rows that no weight was tuned on; None where no weight was tuned."""
    return {example.digest for example in ready.validation} or None


def _before(scene: Scene, floor: Ready, taught: Sequence[Example]) -> Learned:
    head = judge.solve(scene, taught, floor.rows)
    made: list[Learned] = []
    for task, mine in by_task(scene, taught):
        followed = Followed(task, floor.assembly.session.width, lambda source: 1)
        followed.state = judge.state(task, mine, floor.rows)
        made.append(closed_form.of_task(followed, head.of(task.task_name), [example.digest for example in taught]))
    first, *others = made
    return replace(first, head=head, further=dict(zip((task.task_name for task in scene.further), others, strict=True)))


def _features(
    home: Home,
    assembly: Assembly,
    examples: Sequence[Example],
    known: dict[str, GridRows],
    progress: Callable[[int, int], None],
) -> dict[str, GridRows]:
    """Features of all examples; of what a recipe moved nothing is kept in the cache."""
    missing = [example for example in examples if example.digest not in known]
    cache = judge.cache_of(assembly, home.cache)
    rows_ND = features.extract(assembly.session, assembly.preprocessor, assembly.extractor, missing, cache, progress)
    return known | {example.digest: row for example, row in zip(missing, rows_ND, strict=True)}

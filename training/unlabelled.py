"""Inputs without labels of the scene that is to be served: every method tries them, and the best one or none is taken.

Promises that the untouched extractor stays unless another is shown to be better, and that the inputs are kept nowhere:
not in the ledger, not as blobs, not in the feature cache. Knows nothing of methods.

Without a label of the target nothing can be measured there, so the choice is by *reverse validation*: the source's head
answers the target's inputs, a head is solved on those answers alone, and that one answers validation rows of the
source. It does so well only where the two scenes lie on each other, and a collapse to few classes costs it classes. A
method is taken where this score is above that of the untouched extractor by more than its 95 % interval. Where labelled
rows of the target are given, they judge instead, by the same rule. Reverse validation is no measure of accuracy: how
well it chose on real pairs of scenes stands in docs/decisions/0017. Of several tasks the methods look at the first, and
the mean over all of them judges.

Reference: Zhong et al., "Cross validation framework to choose amongst models and datasets for transfer learning",
ECML 2010; in this form: Ganin et al., arXiv 1505.07818, section 5.1.2.

Legend: N source rows, V validation rows of the source, M target rows.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol, cast

import numpy as np
from numpy.typing import NDArray

from core import plugins
from core.bundle import Metric
from core.errors import InvalidInput, ParityFailed
from core.head import fit_head
from core.preprocess import Row
from core.statistics import from_grid
from core.types import Doubles, Example, GridRows, Head, Scene
from training import features, measure, select
from training.assemble import Assembly
from training.situation import Situation
from training.tasks import by_task

METHODS = "training.transfer"
FLOOR = "none"
MOST = 2000  # inputs that are looked at: more bring little
LEAST_JUDGES = 20  # rows that judge
_LEAVE = "leave out --unlabelled"


class Method(Protocol):
    """A file of ``training/transfer``; see the docstring of that package."""

    def adapt(self, situation: Situation) -> Assembly:
        """An extractor for the target."""


@dataclass(frozen=True, kw_only=True)
class Trial:
    """How one method did.

    Attributes:
        score: mean over classes of the share of right answers, as reverse validation or labels of the target say.
        gain, low, high: of that over the untouched extractor, with its 95 % interval.
        reason: why it was not tried, or not taken; empty where it was taken.
    """

    name: str
    score: float | None = None
    gain: float = 0.0
    low: float = 0.0
    high: float = 0.0
    seconds: float = 0.0
    reason: str = ""


@dataclass(frozen=True, kw_only=True)
class Decision:
    """The extractor that was taken; ``method`` is ``none`` where it is the one that was there."""

    assembly: Assembly = field(repr=False)
    method: str
    trials: tuple[Trial, ...]
    criterion: str
    inputs: int


@dataclass(frozen=True, kw_only=True)
class Judges:
    """What judges: labelled rows with their features by the untouched extractor; of the source, or of the target."""

    source: Sequence[Example]
    rows: Mapping[str, GridRows] = field(repr=False)
    target: Sequence[Example] = ()


def check(scene: Scene) -> None:
    """Whether inputs without labels can do anything for a scene.

    Raises:
        InvalidInput: a task is a regression.
    """
    values = [task.task_name for task in scene.tasks if task.task == "regression"]
    if values:
        named = f"{values[0]!r}" if scene.further else "the scene"
        remedy = f"{_LEAVE}, or name only columns of classes (--label)" if scene.further else _LEAVE
        raise InvalidInput(f"inputs without labels help to tell classes apart, and {named} is a regression", remedy)


def choose(
    scene: Scene,
    assembly: Assembly,
    unlabelled: Sequence[Example],
    judges: Judges,
    seed: int,
    told: Callable[[str], None] = lambda words: None,
    clock: Callable[[], float] = time.monotonic,
) -> Decision:
    """Try every method, and take the best where it is shown to be better.

    Args:
        unlabelled: the target's inputs.
        told: called with the name of each method as it begins.

    Raises:
        InvalidInput: a task is a regression, or too few rows judge it.
    """
    situation, judge = prepare(scene, assembly, unlabelled, judges, seed)
    floor_V = judge.outcomes(assembly, situation.target_MD)
    trials, made = [judge.trial(FLOOR, floor_V, floor_V, 0.0)], {FLOOR: assembly}
    for name in plugins.names(METHODS):
        told(name)
        begun = clock()
        try:
            made[name] = cast("Method", plugins.load(METHODS, name)).adapt(situation)
        except (InvalidInput, ParityFailed) as error:
            trials.append(Trial(name=name, reason=error.message))
            continue
        trials.append(judge.trial(name, judge.outcomes(made[name]), floor_V, clock() - begun))
    best = better(trials)
    return Decision(
        assembly=made[best.name],
        method=best.name,
        trials=tuple(_worded(trial, best) for trial in trials),
        criterion=judge.criterion,
        inputs=len(unlabelled),
    )


def prepare(
    scene: Scene, assembly: Assembly, unlabelled: Sequence[Example], judges: Judges, seed: int
) -> tuple[Situation, Judge]:
    """What methods are given, and who judges them. Raises as ``choose``."""
    check(scene)
    reader = assembly.preprocessor
    drawn = np.random.default_rng(seed).permutation(len(unlabelled))[:MOST]
    target = [features.read(unlabelled[place], reader) for place in drawn]
    train = [example for example in judges.source if example.split == "train"]
    held = judges.target or [example for example in judges.source if example.split == "validation"]
    panels = [
        _panel(task, mine, judged, judges.rows)
        for (task, mine), (_, judged) in zip(by_task(scene, train), by_task(scene, held), strict=True)
    ]
    situation = Situation(
        scene=scene,
        assembly=assembly,
        head=panels[0].head,
        source_ND=np.stack([judges.rows[example.digest] for example in train]),
        target_MD=extracted(assembly, target),
        target=target,
        seed=seed,
    )
    given = [features.read(example, reader) for example in judges.target]
    return situation, Judge(situation=situation, judges=judges, panels=tuple(panels), given=given)


@dataclass(frozen=True, kw_only=True)
class Panel:
    """One task: its head on the source, and the rows that judge."""

    task: Scene
    head: Head = field(repr=False)
    held: tuple[Example, ...]


@dataclass(frozen=True, kw_only=True)
class Judge:
    """Reverse validation on rows of the source, or plain validation on rows of the target.

    Attributes:
        panels: of each task. given: the rows of the target, as the preprocessor reads them.
    """

    situation: Situation
    judges: Judges
    panels: tuple[Panel, ...]
    given: Sequence[Row] = field(repr=False)

    @property
    def criterion(self) -> str:
        """What the score is, in words."""
        return "labels of the target" if self.judges.target else "reverse validation"

    def outcomes(self, made: Assembly, target_MD: GridRows | None = None) -> Doubles:
        """(V,) what each row counts, so that their mean over classes is the mean over tasks of right answers; of one
        task, 1 where it is answered right. ``target_MD`` are the target's features, where they are known."""
        if self.judges.target:
            found_ND = extracted(made, self.given)
            rows = {example.digest: row for example, row in zip(self.judges.target, found_ND, strict=True)}
            counted = [_right(panel.head, rows, panel.held) for panel in self.panels]
        else:
            rows_MD = extracted(made, self.situation.target) if target_MD is None else target_MD
            counted = [self._reverse(panel, rows_MD) for panel in self.panels]
        return select.over_tasks(counted, self._drawn)

    def trial(self, name: str, outcomes_V: Doubles, floor_V: Doubles, seconds: float) -> Trial:
        """How a method did beside the untouched extractor."""
        groups_V = select.groups(self._drawn)
        low, high = select.interval(outcomes_V - floor_V, groups_V, self.situation.seed)
        score, floor = select.score(outcomes_V, groups_V), select.score(floor_V, groups_V)
        return Trial(name=name, score=score, gain=score - floor, low=low, high=high, seconds=seconds)

    @property
    def _drawn(self) -> select.Drawn:
        return [(panel.task, panel.held) for panel in self.panels]

    def _reverse(self, panel: Panel, target_MD: GridRows) -> Doubles:
        backwards = _backwards(panel.head, target_MD)
        if backwards is None:
            return np.zeros(len(panel.held))
        return _right(backwards, self.judges.rows, panel.held)


def better(trials: Sequence[Trial]) -> Trial:
    """The highest score among those that are shown to be better than the first, the floor; else the floor."""
    shown_better = [trial for trial in trials[1:] if trial.score is not None and trial.low > 0]
    return max(shown_better, key=lambda trial: trial.score or 0.0, default=trials[0])


def metrics(
    scene: Scene,
    head: Head,
    decision: Decision,
    judges: Judges,
    source: Mapping[str, Mapping[str, Metric]],
    seed: int,
) -> dict[str, dict[str, Metric]]:
    """What the manifest tells of every task, by its name: figures of the source by that name, where the extractor is
    the target's; why it was chosen, with the first task; and accuracy on labelled rows of the target."""
    told = {task.task_name: dict(source.get(task.task_name, {})) for task in scene.tasks}
    if decision.method != FLOOR:
        told = {task: {f"source_{name}": each for name, each in mine.items()} for task, mine in told.items()}
        taken = next(trial for trial in decision.trials if trial.name == decision.method)
        gain = Metric(value=taken.gain, low=taken.low, high=taken.high, rows=decision.inputs)
        told[scene.task_name][f"gain_by_{decision.criterion.replace(' ', '_')}"] = gain
    for task, mine in by_task(scene, judges.target):
        if mine:
            read = [features.read(example, decision.assembly.preprocessor) for example in mine]
            each = head.of(task.task_name)
            answers_VK = measure.answers(task, each, extracted(decision.assembly, read))
            found = measure.of_examples(task, answers_VK, mine, each.labels, seed)
            told[task.task_name] |= {f"target_{name}": metric for name, metric in found.items()}
    return told


def extracted(assembly: Assembly, rows: Sequence[Row]) -> GridRows:
    """Features of rows that are kept nowhere."""
    starts = range(0, len(rows), features.BATCH)
    batches = [assembly.preprocessor.batch(rows[start : start + features.BATCH]) for start in starts]
    return np.concatenate([assembly.session.features(batch) for batch in batches])


def _backwards(head: Head, target_MD: GridRows) -> Head | None:
    """The head of the target's rows with the answers that ``head`` gives; None where no class has two."""
    answers = said(head, target_MD)
    names, counts = np.unique(answers, return_counts=True)
    if counts.max() < 2:
        return None
    several_M = np.isin(answers, names[counts >= 2])
    return fit_head(target_MD[several_M], answers[several_M].tolist())


def _panel(task: Scene, train: Sequence[Example], held: tuple[Example, ...], rows: Mapping[str, GridRows]) -> Panel:
    """Raises InvalidInput where too few rows judge, or no class has two to learn from."""
    named = f" of {task.task_name!r}" if task.task_name else ""
    if len(held) < LEAST_JUDGES:
        raise InvalidInput(
            f"{len(held)} labelled rows{named} are left to judge by; expected at least {LEAST_JUDGES}",
            "give more labelled examples, or more with --validate",
        )
    source_ND = np.stack([rows[example.digest] for example in train])
    head = fit_head(source_ND, [e.label or "" for e in train], declared=task.labels, key=task.hash_key)
    return Panel(task=task, head=head, held=held)


def _right(head: Head, rows: Mapping[str, GridRows], held: Sequence[Example]) -> Doubles:
    rows_VD = np.stack([rows[example.digest] for example in held])
    right_V: Doubles = (said(head, rows_VD) == np.array([example.label for example in held])).astype(np.float64)
    return right_V


def said(head: Head, rows_ND: GridRows) -> NDArray[np.str_]:
    """(N,) the likeliest label of each row."""
    scores_NK = from_grid(rows_ND) @ head.weight + head.bias
    words_N: NDArray[np.str_] = np.array(head.labels)[scores_NK.argmax(axis=1)]
    return words_N


def _worded(trial: Trial, best: Trial) -> Trial:
    if trial is best or trial.reason:
        return trial
    if trial.name == FLOOR:
        return replace(trial, reason=f"{best.name} is shown to be better")
    words = "not shown to be better than the untouched extractor" if trial.low <= 0 else f"{best.name} scores higher"
    return replace(trial, reason=words)

"""What a budget is spent on, by evidence: the closed form first, then what is likely to pay, and why it stopped.

Promises that the floor, the closed form on the untouched backbone, is there whatever the budget, and that nothing below
it on the validation rows takes its place; that a sentence each says what was found, why it went on and why it stopped;
and that a search that was cut off goes on where it was. Knows nothing of how a choice is tried.

The evidence of ``auto``, in this order: a backbone that no recipe can move, few labels, few rows to judge by, and a
floor that leaves less than a point to gain each end it at once. Then come the ways of tuning that mostly pay. Where
none of them beats the floor, it ends there; where one does, the rest of the budget goes into a search around them,
until that brings nothing better for a while. ``search`` goes on whatever the evidence.
"""

from __future__ import annotations

import statistics
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal, get_args

from core import plugins
from core.errors import InvalidInput
from core.home import Home
from core.types import Example, Scene
from training import explore, judge, recipe, space, telling, tuning
from training.data import Dataset
from training.explore import Explored, Explorer, Load
from training.judge import Bench, Judged
from training.ready import MEASURES, Ready, sentence, settled
from training.recipe import FLOOR, Epoch, Rows, TooFew
from training.reporter import Reporter
from training.search import Outcome, Search, Trial, Turn
from training.space import Choice, Space
from training.tasks import by_task
from training.tune.device import Device
from training.tuning import Attempt

Strategy = Literal["auto", "search"]
STRATEGIES = get_args(Strategy)

LABELS = 5  # of the class in the middle: the fewest at which tuning was seen to beat the closed form
JUDGES = 2  # validation rows of the class in the middle: with one of each, nothing is told apart
VALUES = 60  # the same for a regression
WORTH = 0.01  # of the score: less is not worth more time
PATIENCE = 6  # trials in a row that bring nothing better
FAIR = 4  # epochs without which a way of tuning has not been tried


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What there is to explore.

    Attributes:
        backbones: that may be tried, the floor's first. load: by name and picture size.
        size: side of the pictures in pixels, as the data suggest it.
        latencies: milliseconds by backbone, where they are known. budget: seconds, by ``clock``.
    """

    strategy: Strategy
    backbones: tuple[str, ...]
    load: Load = field(repr=False)
    size: int | None = None
    latencies: Mapping[str, float] = field(default_factory=dict)
    budget: float
    device: Device = field(default_factory=Device)
    clock: Callable[[], float] = field(default=time.monotonic, repr=False)


def explored(home: Home, dataset: Dataset, floor: Ready, plan: Plan, bench: Bench, reporter: Reporter) -> Ready:
    """What is to be served after a budget was spent; at worst the floor.

    Raises:
        InvalidInput: a search was asked for, and the backbone cannot be tuned.
    """
    begun, notes = plan.clock(), list[str]()

    def note(words: str) -> None:
        notes.append(words)
        reporter.note(words)

    try:
        tuning.check(plan.strategy, floor.assembly.backbones)
        rows = tuning.sides(dataset.examples, bench.scene, bench.seed)
        held = judge.of_assembly(floor.assembly, floor.parity, rows, bench)
    except InvalidInput as refused:
        if plan.strategy == "search" and not isinstance(refused, TooFew):
            raise
        note(f"The closed form stays: {refused.message}.")
        return replace(floor, explored=Explored(notes=tuple(notes)))
    note(f"The closed form first: {_scored(held)} on {len(held.groups_N)} validation rows.")
    why = against(held.score, bench.scene, rows.train) or blind(bench.scene, rows.validation)
    if plan.strategy == "auto" and why:
        note(f"It stopped there: {why}.")
        return replace(floor, explored=Explored(notes=tuple(notes)))
    plan = replace(plan, budget=plan.budget - (plan.clock() - begun))
    found, trials, own, chosen = _searched(home, dataset, floor, held, rows, plan, bench, reporter, note)
    return replace(found, explored=Explored(notes=tuple(notes), trials=trials, floor=own, chosen=chosen))


def against(score: float, scene: Scene, train: Sequence[Example]) -> str:
    """Why tuning is not likely to pay, a clause; empty where it may. Of several tasks one with labels enough does."""
    if 1 - score < WORTH:
        return f"less than {100 * WORTH:.0f} point is left to gain"
    few = [_few(task, mine) for task, mine in by_task(scene, train) if mine]
    return "" if "" in few else few[0]


def blind(scene: Scene, held: Sequence[Example]) -> str:
    """Why validation rows cannot say whether tuning was worth it, a clause; empty where those of one task can."""
    middles = [
        statistics.median(Counter(example.label for example in mine).values())
        for task, mine in by_task(scene, held)
        if mine and task.task == "classification"
    ]
    if not middles or max(middles) >= JUDGES:
        return ""
    return f"the middle class has {max(middles):.0f} validation row, which tells nothing apart"


def enough(floor: float, mostly: int) -> Callable[[Sequence[Trial]], str]:
    """When the evidence says that more trials will not pay; the first ``mostly`` are those that mostly do."""

    def found(trials: Sequence[Trial]) -> str:
        scores = [floor, *(trial.outcome.score if trial.outcome else floor for trial in trials)]
        if 1 - max(scores) < WORTH:
            return f"less than {100 * WORTH:.0f} point is left to gain"
        fair = any(trial.history and trial.history[-1].number >= FAIR for trial in trials[:mostly])
        if fair and len(trials) >= mostly and max(scores[: mostly + 1]) <= floor:
            return f"none of the {mostly} ways of tuning that mostly pay beats the closed form"
        if len(trials) >= mostly + PATIENCE and max(scores[-PATIENCE:]) <= max(scores[:-PATIENCE]):
            return f"the last {PATIENCE} trials brought nothing better"
        return ""

    return found


def likely(ground: Choice) -> tuple[Choice, ...]:
    """What mostly pays, in that order: tuning all layers, tuning the upper half, small corrections."""
    return (
        replace(ground, recipe="finetune"),
        replace(ground, recipe="finetune", settings={"frozen": 0.5}),
        replace(ground, recipe="lora"),
    )


def _few(task: Scene, train: Sequence[Example]) -> str:
    """Of one task, that its labels are few."""
    if task.task == "regression":
        return f"{len(train)} values are few; tuning rarely pays below {VALUES}" if len(train) < VALUES else ""
    middle = statistics.median(Counter(example.label for example in train).values())
    few = middle < LABELS
    return f"the middle class has {middle:.0f} labels; tuning was not seen to pay below {LABELS}" if few else ""


def _searched(  # noqa: PLR0913, PLR0917 - what was judged, and everything that stands around it
    home: Home,
    dataset: Dataset,
    floor: Ready,
    held: Judged,
    rows: Rows,
    plan: Plan,
    bench: Bench,
    reporter: Reporter,
    note: Callable[[str], None],
) -> tuple[Ready, tuple[Trial, ...], Outcome, Trial | None]:
    wanted = _space(plan, floor)
    folder = home.run(bench.scene.name, wanted.key(dataset.digest, bench.seed))
    study = Search(folder / "trials.journal", wanted, bench.seed, plan.clock)
    explorer = Explorer(
        rows,
        bench,
        plan.load,
        folder,
        latencies=plan.latencies,
        device=plan.device,
        noted=reporter.note,
        clock=plan.clock,
    )
    explorer.recall(study.trials)
    ground = Choice(backbone=plan.backbones[0], size=plan.size)
    own = explorer.outcome(explorer.stand(ground, held), held)
    first = likely(ground)

    def heard(trial: Trial) -> None:
        explorer.forget(study.trials)
        reporter.note(_line(trial))
        telling.trial(reporter, trial)

    note(_onwards(plan, own, study.trials))
    others = len(dataset.examples) - len(rows.train) - len(rows.validation)  # whose features no trial needs
    why = study.run(
        _watched(explorer, bench, reporter),
        plan.budget - explorer.closing(ground, others),
        explorer.estimate,
        firsts=first,
        enough=enough(own.score, len(first)) if plan.strategy == "auto" else lambda trials: "",
        heard=heard,
    )
    trials = study.trials
    note(f"It stopped after {_counted(trials)}: {why}.")
    chosen = explore.choose(own, trials, held.groups_N, bench.seed)
    if chosen is None:
        note("The closed form on the untouched backbone stays: no trial is better by the rule.")
        return floor, trials, own, None
    attempt = _attempt(explorer, chosen, held, rows, bench)
    note(f"{chosen.choice.words()}: {attempt.words}.")
    base = explorer.ground(chosen.choice).backbone.digest
    return settled(home, dataset, floor, attempt, base, bench, reporter), trials, own, chosen


def _space(plan: Plan, floor: Ready) -> Space:
    (backbone,) = floor.assembly.backbones
    return Space(
        backbones=plan.backbones,
        sizes=space.near(plan.size),
        widths=space.widths([backbone.dimension]) if backbone.modality == "image" else (None,),
        recipes=(FLOOR, *(name for name in plugins.names(recipe.RECIPES) if space.searched(name))),
    )


def _watched(explorer: Explorer, bench: Bench, reporter: Reporter) -> Callable[[Choice, Turn], Outcome]:
    """Trials whose epochs are told as they end, as metrics that name the trial."""

    def attempt(choice: Choice, turn: Turn) -> Outcome:
        def told(at: Epoch) -> None:
            for name in MEASURES:
                reporter.metric(f"trial_{turn.number + 1}_{name}", at.number, getattr(at, name))
            reporter.note(sentence(at, bench.scene))
            turn.told(at)

        reporter.note(f"trial {turn.number + 1}: {choice.words()}")
        return explorer.attempt(choice, replace(turn, told=told))

    return attempt


def _attempt(explorer: Explorer, chosen: Trial, held: Judged, rows: Rows, bench: Bench) -> Attempt:
    made = explorer.made(chosen)
    decision = judge.decide(held, made.judged, chosen.choice.recipe, bench.seed)
    assert chosen.outcome is not None, "it was tried to its end"
    return Attempt(
        name=chosen.choice.recipe,
        rows=rows,
        words=decision.words,
        tuned=made.tuned,
        judged=made.judged,
        decision=decision,
        trained=chosen.outcome.trained,
    )


def _onwards(plan: Plan, floor: Outcome, trials: Sequence[Trial]) -> str:
    if trials:
        return f"It goes on with the search of these data, after {_counted(trials)}."
    if plan.strategy == "search":
        return f"A search was asked for, and {max(0.0, plan.budget):.0f} s are left for it."
    return (
        f"It went on: there are labels enough, up to {100 * (1 - floor.score):.1f} points to gain, and "
        f"{max(0.0, plan.budget):.0f} s left."
    )


def _line(trial: Trial) -> str:
    if trial.outcome is None:
        return f"trial {trial.number + 1} {trial.ended} after {trial.seconds:.0f} s: {trial.reason}"
    return f"trial {trial.number + 1} scored {100 * trial.outcome.score:.1f} % in {trial.seconds:.0f} s"


def _counted(trials: Sequence[Trial]) -> str:
    return f"{len(trials)} trial{'' if len(trials) == 1 else 's'}"


def _scored(judged: Judged) -> str:
    return f"{100 * judged.score:.1f} % ({100 * judged.low:.1f} to {100 * judged.high:.1f})"

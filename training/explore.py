"""A choice tried: its backbone, perhaps narrower, perhaps tuned, judged by what would be served of it.

Promises that every choice is measured on the same validation rows as the floor, through ONNX Runtime, with a head in
closed form; that no validation row chose an epoch of what it is to judge, since what is tried keeps its last one; that
latency and size are those of the architecture, measured once; and that what may be chosen later is on disk, so that a
search that was cut off need not train it again. Knows nothing of who chooses.
"""

from __future__ import annotations

import copy
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file, save_file

from core.errors import NotFound
from exporters.backbone import Backbone
from training import judge, narrow, recipe, select, tuned
from training.judge import Bench, Judged
from training.recipe import FLOOR, Context, Epoch, Rows, Tuned
from training.search import Outcome, Trial, Turn, front
from training.space import Choice
from training.tune.device import Device
from training.tune.network import torch_body

EXPORT = 7.0  # seconds that exporting a torch model and showing its parity takes, to begin with
BACKWARD = 4.0  # passes that learning from a row costs
FEWEST = 2  # epochs, for which there must be time
BESIDE = 8  # the same beside a trial that is over: with fewer epochs than that one a trial would win by luck alone
KEPT = {"keep": "last"}  # of the epochs, whatever else a choice sets

Load = Callable[[str, int | None], Backbone]


@dataclass(frozen=True, kw_only=True)
class Ground:
    """A backbone before any weight is moved, judged, and what one example costs."""

    backbone: Backbone
    judged: Judged = field(repr=False)
    milliseconds: float


@dataclass(frozen=True, kw_only=True)
class Made:
    """What a trial made: the backbone judged, and how it was tuned."""

    judged: Judged = field(repr=False)
    tuned: Tuned = field(repr=False)


@dataclass(frozen=True, kw_only=True)
class Explored:
    """What a budget was spent on.

    Attributes:
        notes: what was found, why it went on, why it stopped; a sentence each.
        trials: all of the search, those of earlier days included. chosen: the one that takes the floor's place.
    """

    notes: tuple[str, ...]
    trials: tuple[Trial, ...] = ()
    floor: Outcome | None = None
    chosen: Trial | None = None


class Explorer:
    """Tries choices, and remembers what they gave."""

    def __init__(
        self,
        rows: Rows,
        bench: Bench,
        load: Load,
        folder: Path,
        *,
        latencies: Mapping[str, float],
        device: Device | None = None,
        noted: Callable[[str], None] = lambda words: None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """``latencies``: milliseconds by backbone, where they are known."""
        self._rows, self._bench, self._load, self._folder = rows, bench, load, folder
        self._latencies, self._noted, self._clock = dict(latencies), noted, clock
        self._export, self._pace, self._least = EXPORT, 1.0, FEWEST
        self._device = device or Device()
        self._grounds: dict[tuple[str, int | None, int | None], Ground] = {}
        self._made: dict[int, Made] = {}
        self._costs: dict[tuple[str, int | None, int | None], float] = {}

    def recall(self, trials: Iterable[Trial]) -> None:
        """Take over what earlier trials measured, so that latencies of two days are not compared."""
        ended = [(each, each.outcome) for each in trials if each.outcome is not None]
        self._costs |= {each.choice.ground: outcome.milliseconds for each, outcome in ended}
        self._least = BESIDE if any(outcome.best for _, outcome in ended) else FEWEST

    def stand(self, choice: Choice, judged: Judged) -> Ground:
        """Take a backbone that was judged already as the ground of a choice."""
        (backbone,) = judged.assembly.backbones
        held = judged.assembly
        milliseconds = self._costs.get(choice.ground) or select.latency(
            held.session, held.preprocessor, self._rows.train[0]
        )
        self._grounds[choice.ground] = Ground(backbone=backbone, judged=judged, milliseconds=milliseconds)
        return self._grounds[choice.ground]

    def ground(self, choice: Choice) -> Ground:
        """What a choice stands on."""
        if choice.ground not in self._grounds:
            backbone = self._load(choice.backbone, choice.size)
            if choice.width is not None:
                drawn = judge.draw(self._rows.train, self._bench.seed)
                backbone = narrow.narrowed(backbone, choice.width, drawn, self._bench.limits, self._bench.seed)
            self.stand(choice, self._judged(choice, backbone))
        return self._grounds[choice.ground]

    def estimate(self, choice: Choice) -> float:
        """Seconds that trying a choice takes at least: longer is up to what is left, since recipes keep to that."""
        base = 0.0 if choice.ground in self._grounds else self._judging(choice)
        if choice.recipe == FLOOR:
            return base
        return base + self._least * self._epoch(choice) + self._judging(choice)

    def closing(self, choice: Choice, rows: int) -> float:
        """Seconds that bringing so many rows through a choice takes, when all is decided."""
        return self._seconds(choice) * rows

    def attempt(self, choice: Choice, turn: Turn) -> Outcome:
        """Try a choice.

        Raises:
            LeptonError: it cannot be loaded, tuned or exported. GivenUp: by whoever is told the epochs.
        """
        begun = self._clock()
        ground = self.ground(choice)
        if choice.recipe == FLOOR:
            return self.outcome(ground, ground.judged)
        left = turn.seconds - (self._clock() - begun) - self._judging(choice)
        made = self._tune(ground, choice, turn, max(0.0, left))
        self._learn_pace(choice, made.history)
        if not made.moved:
            return replace(self.outcome(ground, ground.judged), stopped=made.stopped)
        found = self._judged(choice, made.backbone)
        self._made[turn.number] = Made(judged=found, tuned=made)
        self._least = BESIDE
        self._write(turn.number, made.backbone)
        assert made.head is not None, "what was moved was trained with a head"
        return replace(
            self.outcome(ground, found),
            trained=judge.trained_score(found, made.head, self._rows, self._bench.scene),
            best=made.best,
            stopped=made.stopped,
            settings=dict(made.settings),
        )

    def outcome(self, ground: Ground, judged: Judged) -> Outcome:
        """What was judged, at the cost of the ground that it stands on."""
        return Outcome(
            score=judged.score,
            low=judged.low,
            high=judged.high,
            milliseconds=ground.milliseconds,
            model_bytes=len(ground.judged.assembly.model),
            outcomes=tuple(float(each) for each in judged.outcomes_N),
        )

    def forget(self, trials: Iterable[Trial]) -> None:
        """Let go of weights that no rule can choose any more: what is not on the front."""
        kept = {trial.number for trial in front(tuple(trials))}
        self._made = {number: made for number, made in self._made.items() if number in kept}
        for file in self._folder.glob("*.safetensors"):
            if int(file.stem) not in kept:
                file.unlink()

    def made(self, trial: Trial) -> Made:
        """What a trial made, from memory or from disk.

        Raises:
            NotFound: it is on neither.
        """
        assert trial.outcome is not None, "it was tried to its end"
        ground = self.ground(trial.choice)
        if not trial.outcome.best:
            return Made(judged=ground.judged, tuned=Tuned(backbone=ground.backbone))
        if trial.number not in self._made:
            self._made[trial.number] = self._read(trial, ground, trial.outcome)
        return self._made[trial.number]

    def _tune(self, ground: Ground, choice: Choice, turn: Turn, budget: float) -> Tuned:
        context = Context(
            scene=self._bench.scene,
            head=ground.judged.head,
            transform=ground.judged.assembly.transforms[0],
            limits=self._bench.limits,
            seed=self._bench.seed,
            budget=budget,
            device=self._device,
            told=turn.told,
            noted=self._noted,
            clock=self._clock,
        )
        config = recipe.configure(choice.recipe, KEPT | dict(choice.settings))
        return recipe.load(choice.recipe).tune(ground.backbone, self._rows, config, context)

    def _seconds(self, choice: Choice) -> float:
        """Of one row through the backbone."""
        if choice.ground in self._grounds:
            return self._grounds[choice.ground].milliseconds / 1000
        known = [(key, ground.milliseconds) for key, ground in self._grounds.items()]
        (name, size, _), milliseconds = next((each for each in known if each[0][0] == choice.backbone), known[0])
        if name != choice.backbone:
            milliseconds = self._latencies.get(choice.backbone, max(self._latencies.values(), default=milliseconds))
        return milliseconds / 1000 * ((choice.size / size) ** 2 if choice.size and size else 1.0)

    def _judged(self, choice: Choice, backbone: Backbone) -> Judged:
        """Judge, and learn how long the export takes here."""
        begun = self._clock()
        found = judge.judge(backbone, self._rows, self._bench)
        rows = len(self._rows.train) + len(self._rows.validation)
        known = self._seconds(choice) * rows if choice.ground in self._grounds else 0.0
        self._export = max(0.0, self._clock() - begun - known)
        return found

    def _learn_pace(self, choice: Choice, history: Sequence[Epoch]) -> None:
        """Learn how much longer an epoch takes than was expected."""
        if len(history) > 1:
            took = (history[-1].seconds - history[0].seconds) / history[-1].number
            self._pace *= took / max(self._epoch(choice), 1e-9)

    def _judging(self, choice: Choice) -> float:
        return self._export + self._seconds(choice) * (len(self._rows.train) + len(self._rows.validation))

    def _epoch(self, choice: Choice) -> float:
        return self._pace * self._seconds(choice) * (BACKWARD * len(self._rows.train) + len(self._rows.validation))

    def _write(self, number: int, backbone: Backbone) -> None:
        self._folder.mkdir(parents=True, exist_ok=True)
        state = {name: tensor.detach().cpu().contiguous().clone() for name, tensor in _state(backbone).items()}
        part = self._folder / f"{number}.part"
        save_file(state, part)
        part.rename(self._folder / f"{number}.safetensors")

    def _read(self, trial: Trial, ground: Ground, outcome: Outcome) -> Made:
        file = self._folder / f"{trial.number}.safetensors"
        if not file.exists():
            raise NotFound(
                f"weights of trial {trial.number + 1} are gone: {file}", "delete the folder and search again"
            )
        body = copy.deepcopy(torch_body(ground.backbone))
        body.load_state_dict(load_file(file), strict=True)
        backbone = tuned.moved(ground.backbone, body, trial.choice.recipe)
        made = Tuned(
            backbone=backbone,
            history=trial.history,
            best=outcome.best,
            seconds=trial.seconds,
            stopped=outcome.stopped,
            settings=outcome.settings,
        )
        return Made(judged=judge.judge(backbone, self._rows, self._bench), tuned=made)


def choose(floor: Outcome, trials: Iterable[Trial], groups_N: Sequence[str], seed: int) -> Trial | None:
    """The trial that takes the floor's place, or None: the quickest of those not told apart from the best.

    What scores below the floor is out of the question. The rule is that of training.select: at most a point behind the
    best, and not told apart from it by a paired bootstrap. Of those that score and cost the same a tuned one is taken,
    which on other rows was mostly the better one (docs/benchmarks/transfer.md).
    """
    listed = [trial for trial in front(tuple(trials)) if trial.outcome and trial.outcome.score >= floor.score]
    named = [("", floor), *((str(trial.number), trial.outcome) for trial in listed if trial.outcome)]
    named.sort(key=lambda each: not each[1].best)  # of equals the first is taken: a tuned one, then the floor
    lines = [_line(name, outcome) for name, outcome in named]
    (chosen,) = (line for line in select.decide(lines, groups_N, seed) if line.chosen)
    return next((trial for trial in listed if str(trial.number) == chosen.name), None)


def _line(name: str, outcome: Outcome) -> select.Trial:
    candidate = select.Candidate(
        name=name,
        score=outcome.score,
        low=outcome.low,
        high=outcome.high,
        milliseconds=outcome.milliseconds,
        model_bytes=outcome.model_bytes,
    )
    return select.Trial(candidate=candidate, outcomes_N=np.array(outcome.outcomes, np.float64))


def _state(backbone: Backbone) -> dict[str, torch.Tensor]:
    return dict(torch_body(backbone).state_dict())

"""A search among choices by trying them: several objectives, a budget in seconds that is kept, and resumable.

Promises: no trial is begun that cannot end in the time that is left, as far as can be known before; every trial that
ended is on disk before the next begins; a search that was cut off, even by a kill, goes on with the very choices that
it would have made; the same seed and the same outcomes give the same choices. A trial whose score after some epochs is
below the median of what earlier ones had reached by then is given up. Knows nothing of how a choice is tried, of
models or of data.

The sampler is Optuna's tree of Parzen estimators, for score, milliseconds and bytes at once; it gets a seed of its own
for every trial, so that it has no state to lose. What it knows is a journal, a line of JSON an event. Giving up early
is done here, since Optuna does not for several objectives.

References: Akiba et al., Optuna, arXiv 1907.10902; Golovin et al., Google Vizier, KDD 2017 (the median rule).
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import optuna
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import FrozenTrial, TrialState

from core.errors import LeptonError
from training.recipe import Epoch, Setting
from training.space import Choice, Space

FINISHED = ("tried", "given up", "failed")  # how a trial may end that counts; otherwise it is begun again
_KNOWN = "known"  # how one ends whose choice had been tried
_WARM = 2  # epochs that every trial gets
_OTHERS = 3  # trials that must have come as far before one is measured by them
_REPEATS = 20  # choices in a row that are known already, after which there is nothing new to find
_FAILURES = 5  # trials in a row that failed, after which it is the data or the machine
_RANDOM = 6  # trials before the sampler has learned anything


class GivenUp(Exception):
    """A trial is not worth its time any more."""


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What trying a choice gave; plain values, since it is kept.

    Attributes:
        score: on the validation rows; low, high: its 95 % interval. milliseconds: of one example.
        outcomes: what each validation row counted, in their order.
        trained: score of the head that was trained along. best: the epoch that was kept; 0 where no weight moved.
        settings: every hyperparameter as it was used, found ones included.
    """

    score: float
    low: float
    high: float
    milliseconds: float
    model_bytes: int
    outcomes: tuple[float, ...] = field(repr=False)
    trained: float = 0.0
    best: int = 0
    stopped: str = ""
    settings: dict[str, Setting] = field(default_factory=dict)

    @property
    def values(self) -> tuple[float, float, float]:
        """What is searched for: as much of the first as can be, as little of the others."""
        return self.score, self.milliseconds, float(self.model_bytes)


@dataclass(frozen=True, kw_only=True)
class Trial:
    """A choice and what came of it: ``outcome`` where it was tried to its end, otherwise ``reason`` says why not."""

    number: int
    choice: Choice
    seconds: float
    ended: str
    reason: str = ""
    outcome: Outcome | None = None
    history: tuple[Epoch, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Turn:
    """What a trial is given: its number, the seconds that are left, and whom to tell its epochs."""

    number: int
    seconds: float
    told: Callable[[Epoch], None]


Try = Callable[[Choice, Turn], Outcome]


class Search:
    """One search, as it stands on disk."""

    def __init__(self, file: Path, space: Space, seed: int, clock: Callable[[], float] = time.monotonic) -> None:
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        file.parent.mkdir(parents=True, exist_ok=True)
        _mend(file)
        self._space, self._seed, self._clock = space, seed, clock
        self._study = optuna.create_study(
            storage=JournalStorage(JournalFileBackend(str(file))),
            study_name="search",
            directions=["maximize", "minimize", "minimize"],
            load_if_exists=True,
        )

    @property
    def trials(self) -> tuple[Trial, ...]:
        """Those that ended, in their order; a choice that came again is among them once."""
        return tuple(_told(trial) for trial in self._ended() if trial.user_attrs["ended"] in FINISHED)

    def run(
        self,
        attempt: Try,
        seconds: float,
        estimate: Callable[[Choice], float],
        *,
        firsts: Sequence[Choice] = (),
        enough: Callable[[Sequence[Trial]], str] = lambda trials: "",
        heard: Callable[[Trial], None] = lambda trial: None,
    ) -> str:
        """Try choices until something ends it; returns what did, a clause.

        Args:
            attempt: tries one; LeptonError or LookupError where that is not possible.
            estimate: seconds that trying one takes at least, as far as can be known before; asked again each time.
            firsts: what is tried first. enough: a reason to stop, given what was tried. heard: called with each.
        """
        begun, repeats = self._clock(), 0
        while not (why := _failing(known := self.trials) or enough(known)):
            left = seconds - (self._clock() - begun)
            trial, choice = self._ask(firsts)
            twin = next((each for each in known if each.choice == choice), None)
            if twin is not None or _hopeless(choice, known):
                self._end(trial, _KNOWN, None if twin is None else twin.outcome)
                repeats += 1
                if repeats >= _REPEATS:
                    return f"the last {_REPEATS} choices had been tried before"
                continue
            repeats = 0
            expected = estimate(choice)
            if expected > left:
                self._end(trial, "not begun")
                return f"the next trial would take {expected:.0f} s at least, and {max(0.0, left):.0f} s were left"
            try:
                heard(self._try(trial, choice, attempt, left))
            except KeyboardInterrupt:
                self._end(trial, "interrupted")
                return "it was interrupted"
        return why

    def _ended(self) -> list[FrozenTrial]:
        kept = (trial for trial in self._study.get_trials(deepcopy=False) if trial.state.is_finished())
        return [trial for trial in kept if trial.user_attrs.get("ended") in (*FINISHED, _KNOWN)]

    def _ask(self, firsts: Sequence[Choice]) -> tuple[optuna.Trial, Choice]:
        place = len(self._ended())
        self._study.sampler = optuna.samplers.TPESampler(seed=self._seed + place, n_startup_trials=_RANDOM)
        given = firsts[place] if place < len(firsts) else None
        if given is not None:
            self._study.enqueue_trial(self._space.parameters(given))
        trial = self._study.ask()
        return trial, self._space.draw(trial, given)

    def _try(self, trial: optuna.Trial, choice: Choice, attempt: Try, left: float) -> Trial:
        history: list[Epoch] = []
        others = [_reached(each) for each in self.trials if each.history]

        def told(epoch: Epoch) -> None:
            history.append(epoch)
            _worth(history, others)

        begun, outcome, ended, reason = self._clock(), None, "tried", ""
        try:
            outcome = attempt(choice, Turn(number=trial.number, seconds=left, told=told))
        except GivenUp as given:
            ended, reason = "given up", str(given)
        except (LeptonError, LookupError, MemoryError) as error:
            ended, reason = "failed", str(error) or "memory does not suffice"
        made = Trial(
            number=trial.number,
            choice=choice,
            seconds=self._clock() - begun,
            ended=ended,
            reason=reason,
            outcome=outcome,
            history=tuple(history),
        )
        trial.set_user_attr("told", asdict(made))
        self._end(trial, ended, outcome)
        return made

    def _end(self, trial: optuna.Trial, how: str, outcome: Outcome | None = None) -> None:
        trial.set_user_attr("ended", how)
        if outcome is None:
            self._study.tell(trial, state=TrialState.FAIL)
        else:
            self._study.tell(trial, outcome.values)


def front(trials: Sequence[Trial]) -> tuple[Trial, ...]:
    """The Pareto front: the trials that no other beats in one objective and matches in the rest, in their order."""
    tried = [(trial, trial.outcome) for trial in trials if trial.outcome is not None]
    return tuple(
        trial
        for place, (trial, mine) in enumerate(tried)
        if not any(_beats(other, mine, before=at < place) for at, (_, other) in enumerate(tried) if at != place)
    )


def _beats(one: Outcome, other: Outcome, before: bool) -> bool:
    """Whether ``one`` is nowhere worse and somewhere better; of equals the first counts."""
    mine, yours = ((-each.score, each.milliseconds, each.model_bytes) for each in (one, other))
    return all(a <= b for a, b in zip(mine, yours, strict=True)) and (mine != yours or before)


def _worth(history: Sequence[Epoch], others: Sequence[Sequence[float]]) -> None:
    """Give up a trial that has not reached by now what half of the others had.

    Raises:
        GivenUp: so it is.
    """
    number = history[-1].number
    then = [reached[number] for reached in others if len(reached) > number]
    if number < _WARM or len(then) < _OTHERS:
        return
    best, median = max(epoch.validation_score for epoch in history), statistics.median(then)
    if best < median:
        raise GivenUp(f"{best:.3f} after {number} epochs, and half of the others had {median:.3f}")


def _reached(trial: Trial) -> list[float]:
    """The best score by each epoch."""
    reached: list[float] = []
    for epoch in trial.history:
        reached.append(max(epoch.validation_score, reached[-1] if reached else -float("inf")))
    return reached


def _hopeless(choice: Choice, trials: Sequence[Trial]) -> bool:
    """Whether nothing could be tried so far on what a choice stands on, and something was to be."""
    ended = [trial.ended for trial in trials if trial.choice.ground == choice.ground]
    return bool(ended) and set(ended) == {"failed"}


def _failing(trials: Sequence[Trial]) -> str:
    last = trials[-_FAILURES:]
    if len(last) == _FAILURES and all(trial.ended == "failed" for trial in last):
        return f"the last {_FAILURES} trials failed ({last[-1].reason})"
    return ""


def _told(trial: FrozenTrial) -> Trial:
    held: dict[str, Any] = trial.user_attrs["told"]
    outcome = held["outcome"]
    return Trial(
        **held
        | {
            "number": trial.number,
            "choice": Choice(**held["choice"]),
            "outcome": Outcome(**outcome | {"outcomes": tuple(outcome["outcomes"])}) if outcome else None,
            "history": tuple(Epoch(**epoch) for epoch in held["history"]),
        }
    )


def _mend(file: Path) -> None:
    """Cut off a last line that was not written to its end, so that the next one does not join it."""
    if file.exists():
        data = file.read_bytes()
        if data and not data.endswith(b"\n"):
            file.write_bytes(data[: data.rfind(b"\n") + 1])

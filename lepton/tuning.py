"""What a user says of a recipe, how it is run, and what is shown of one that was tried."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, cast

from core.errors import InvalidInput
from core.home import Home
from core.ids import uuid7
from lepton.extra import training
from lepton.output import Stages, fact, say, table

if TYPE_CHECKING:
    from training.explore import Explored
    from training.pipeline import Adapted, Request
    from training.search import Trial
    from training.tuning import Attempt


def settings_of(given: list[str]) -> dict[str, object]:
    """``name=value`` each; a value is JSON, or a plain word.

    >>> settings_of(["epochs=5", "align=dan"])
    {'epochs': 5, 'align': 'dan'}

    Raises:
        InvalidInput: one is no such pair.
    """
    found: dict[str, object] = {}
    for text in given:
        name, equals, value = text.partition("=")
        if not equals or not name.strip():
            raise InvalidInput(f"--set is {text!r}", "give a name and a value, such as --set epochs=5")
        try:
            found[name.strip()] = json.loads(value)
        except ValueError:
            found[name.strip()] = value.strip()
    return found


def adapted(home: Home, request: Request) -> Adapted | None:
    """The road, in this process, with what it tells kept under a fresh name; None in one that only helped to tune."""
    pipeline, tuning = training("pipeline"), training("tuning")
    run = f"{request.scene}:{uuid7().replace('-', '')}"

    def keep(name: str, step: int, value: float) -> None:
        home.progress.metric(run, name, step, value)

    with training("tune.device").joined() as device, Stages(quiet=not device.first, run=run, keep=keep) as stages:
        try:
            return cast("Adapted", pipeline.adapt(home, request, stages, device))
        except tuning.Helped:
            return None


def attempt_json(attempt: Attempt | None) -> dict[str, Any] | None:
    """A recipe that was tried, for programs; None where none was."""
    if attempt is None:
        return None
    made = attempt.tuned
    told = {} if made is None else {"best": made.best, "seconds": made.seconds, "stopped": made.stopped}
    epochs = [] if made is None else [asdict(epoch) for epoch in made.history]
    return {
        "recipe": attempt.name,
        "words": attempt.words,
        "decision": asdict(attempt.decision) if attempt.decision else None,
        "trained": attempt.trained,
        "settings": {} if made is None else dict(made.settings),
        "epochs": epochs,
    } | told


def show_attempt(attempt: Attempt) -> None:
    """A recipe that was tried, for people."""
    fact(recipe=attempt.words)
    made = attempt.tuned
    if made is not None:
        epochs = made.history[-1].number if made.history else 0
        fact(tuning=f"{epochs} epochs in {made.seconds:.0f} s, epoch {made.best} was kept; it ended {made.stopped}")
    if attempt.decision is not None:
        fact(trained_head=f"{100 * attempt.trained:.1f} % on the same rows; the closed form serves instead of it")


def explored_json(explored: Explored | None) -> dict[str, Any] | None:
    """What a budget was spent on, for programs; None where a recipe was named."""
    if explored is None:
        return None
    chosen = None if explored.chosen is None else explored.chosen.number
    return {"notes": list(explored.notes), "trials": [_trial_json(each) for each in explored.trials], "chosen": chosen}


def show_explored(explored: Explored) -> None:
    """What a budget was spent on, for people."""
    if explored.trials:
        table(
            "Trials (on the validation rows)",
            ["trial", "score", "ms each", "MB", "seconds", "ended"],
            [_trial_row(trial) for trial in explored.trials],
        )
    for note in explored.notes:
        say(note)


def _trial_json(trial: Trial) -> dict[str, Any]:
    told = asdict(trial)
    if trial.outcome is not None:
        del told["outcome"]["outcomes"]
    return told


def _trial_row(trial: Trial) -> list[str]:
    made = trial.outcome
    figures = ["", "", ""]
    if made is not None:
        figures = [f"{100 * made.score:.1f} %", f"{made.milliseconds:.1f}", f"{made.model_bytes / 1e6:.1f}"]
    return [trial.choice.words(), *figures, f"{trial.seconds:.0f}", trial.reason or trial.ended]

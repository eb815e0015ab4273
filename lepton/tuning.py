"""What a user says of a recipe, and what is shown of one that was tried."""

from __future__ import annotations

import importlib
import json
from collections.abc import Callable
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, cast

from core.errors import InvalidInput
from lepton.output import fact, say, table

if TYPE_CHECKING:
    from training.explore import Explored
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


def rewriter_of(named: str | None) -> Callable[[str], str] | None:
    """The user's own function, named as ``module:function``.

    >>> rewriter_of("textwrap:dedent")("  a")
    'a'

    Raises:
        InvalidInput: there is none of that name.
    """
    if named is None:
        return None
    module, _, function = named.partition(":")
    try:
        found = getattr(importlib.import_module(module), function)
    except (ImportError, AttributeError, ValueError) as error:
        raise InvalidInput(f"--rewriter {named!r} names no function: {error}", "give MODULE:FUNCTION") from error
    if not callable(found):
        raise InvalidInput(f"--rewriter {named!r} is no function", "give MODULE:FUNCTION")
    return cast("Callable[[str], str]", found)


def attempt_json(attempt: Attempt) -> dict[str, Any]:
    """A recipe that was tried, for programs."""
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
        fact(tuning=f"{epochs} epochs in {made.seconds:.0f} s, the best was {made.best}; it ended {made.stopped}")
    if attempt.decision is not None:
        fact(trained_head=f"{100 * attempt.trained:.1f} % on the same rows; the closed form serves instead of it")


def explored_json(explored: Explored) -> dict[str, Any]:
    """What a budget was spent on, for programs."""
    trials = [_trial_json(trial) for trial in explored.trials]
    chosen = None if explored.chosen is None else explored.chosen.number
    return {"notes": list(explored.notes), "trials": trials, "chosen": chosen}


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

"""The report of an adaptation put together: from what was tried, measured and decided to a page and its JSON.

Promises that the two lie side by side, named by scene and version, and that candidates stand in one table only where
they were scored on the same rows. Knows nothing of how anything was measured, or of HTML.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from core.bundle import Metric, metrics_of
from core.candidates import tell
from core.registry import short
from core.types import Version
from training import answered, story_page
from training.answered import Answered
from training.data import Dataset
from training.explore import Explored
from training.merge.candidates import Chosen
from training.ready import Ready
from training.recipe import FLOOR, Epoch
from training.reporter import Reporter
from training.search import Trial, front
from training.select import Candidate
from training.story import Comparison, Curve, Entry, Story
from training.tuning import Attempt

DRAWN = 4  # runs whose curves are drawn: a fifth would have the colour of the first


class Timed:
    """A reporter that notes how long every stage took, and hands everything on."""

    def __init__(self, reporter: Reporter, clock: Callable[[], float] = time.monotonic) -> None:
        self._reporter, self._clock = reporter, clock
        self._begun: list[tuple[str, float]] = []

    @property
    def run(self) -> str:
        """The name under which what is told is kept."""
        return self._reporter.run

    def metric(self, name: str, step: int, value: float) -> None:
        """A metric has this value at this step."""
        self._reporter.metric(name, step, value)

    def stage(self, title: str) -> None:
        """A new stage begins."""
        self._begun.append((title, self._clock()))
        self._reporter.stage(title)

    def progress(self, done: int, total: int) -> None:
        """The present stage has come this far."""
        self._reporter.progress(done, total)

    def note(self, words: str) -> None:
        """What a person should know."""
        self._reporter.note(words)

    def stages(self) -> tuple[tuple[str, float], ...]:
        """Every stage with its seconds, the present one as it stands."""
        ends = [*(begun for _, begun in self._begun[1:]), self._clock()]
        return tuple((title, end - begun) for (title, begun), end in zip(self._begun, ends, strict=True))


def story(
    version: Version,
    dataset: Dataset,
    candidates: Sequence[Candidate],
    ready: Ready,
    told: Sequence[Answered],
    stages: tuple[tuple[str, float], ...],
    seed: int,
    damage: Mapping[str, tuple[Metric, ...]] | None = None,
) -> Story:
    """The report of a version that was registered."""
    manifest, tasks = version.manifest, metrics_of(version.manifest)
    return Story(
        scene=version.scene,
        version=version.version,
        recipe=str(manifest["recipe"]),
        task=dataset.task,
        modality=dataset.modality,
        data=dataset.report,
        metrics={f"{task} {name}".strip(): Metric(**each) for task, of in tasks.items() for name, each in of.items()},
        comparisons=tuple(each for each in (_selected(candidates, version), _tried(ready)) if each is not None),
        curves=_curves(ready),
        answers=answered.answers(told, seed),
        robustness=damage or {},
        stages=stages,
        notes=_notes(ready),
    )


def write(folder: Path, told: Story) -> Path:
    """The page, and its JSON beside it; returns the page's path."""
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / f"{told.scene}-{short(told.version)}.html"
    file.with_suffix(".json").write_text(json.dumps(_finite(told.to_json()), indent=2, allow_nan=False), "utf-8")
    story_page.write(told, file)
    return file


def candidate(reporter: Reporter, tried: Candidate) -> None:
    """Tell of a backbone that was tried just now."""
    if tried.score is not None:
        tell(
            reporter.metric,
            _label(tried),
            score=tried.score,
            low=tried.low,
            high=tried.high,
            milliseconds=tried.milliseconds,
        )


def chosen(reporter: Reporter, selected: Chosen) -> None:
    """Tell which of them are to be served, and their shares where they are several."""
    names = [_label(each) for each in selected.candidates if each.chosen]
    shares = selected.joint.alphas if selected.joint is not None else (1.0,) * len(names)
    for name, share in zip(names, shares, strict=True):
        tell(reporter.metric, name, chosen=1.0, alpha=share)


def trial(reporter: Reporter, tried: Trial) -> None:
    """Tell of a trial of a search that has ended."""
    made = tried.outcome
    if made is not None:
        tell(
            reporter.metric,
            _name(tried),
            score=made.score,
            low=made.low,
            high=made.high,
            milliseconds=made.milliseconds,
        )


def _label(tried: Candidate) -> str:
    return tried.name + (f" ({tried.size} px)" if tried.size else "")


def _selected(candidates: Sequence[Candidate], version: Version) -> Comparison | None:
    """Backbones as they were compared, by a head in closed form; shares where several were fused."""
    chosen = [candidate.name for candidate in candidates if candidate.chosen]
    shares = version.manifest.get("alphas", ())
    fused = isinstance(shares, list | tuple) and len(shares) == len(chosen) > 1
    share = dict(zip(chosen, shares, strict=True)) if isinstance(shares, list | tuple) and fused else {}
    if not candidates:
        return None
    entries = tuple(
        Entry(
            name=_label(candidate),
            recipe=FLOOR,
            score=candidate.score,
            low=candidate.low if candidate.score is not None else None,
            high=candidate.high if candidate.score is not None else None,
            seconds=_known(candidate.seconds),
            milliseconds=_known(candidate.milliseconds),
            model_bytes=candidate.model_bytes,
            chosen=candidate.chosen,
            reason=candidate.reason,
            alpha=share.get(candidate.name),
        )
        for candidate in candidates
    )
    return Comparison(rows="training rows, each left out in its turn", entries=entries)


def _tried(ready: Ready) -> Comparison | None:
    """What was tuned beside the floor, on the validation rows."""
    if ready.explored is not None and ready.explored.floor is not None:
        return Comparison(rows="the validation rows, by a head of the training rows", entries=_trials(ready.explored))
    if ready.attempt is None or ready.attempt.decision is None:
        return None
    decision = ready.attempt.decision
    entries = (
        Entry(name="the untouched backbone", score=decision.floor, chosen=not decision.accepted),
        Entry(
            name="the tuned backbone",
            recipe=ready.attempt.name,
            score=decision.candidate,
            seconds=ready.attempt.tuned.seconds if ready.attempt.tuned else None,
            chosen=decision.accepted,
            reason=f"{100 * decision.difference:+.1f} points ({100 * decision.low:+.1f} to {100 * decision.high:+.1f})",
        ),
    )
    return Comparison(rows=f"{decision.rows} validation rows, by a head of the training rows", entries=entries)


def _trials(explored: Explored) -> tuple[Entry, ...]:
    floor, best = explored.floor, {trial.number for trial in front(explored.trials)}
    assert floor is not None, "a search has a floor"
    first = Entry(
        name="the untouched backbone",
        score=floor.score,
        low=floor.low,
        high=floor.high,
        milliseconds=floor.milliseconds,
        model_bytes=floor.model_bytes,
        chosen=explored.chosen is None,
    )
    return first, *(_trial(trial, explored.chosen, trial.number in best) for trial in explored.trials)


def _trial(trial: Trial, chosen: Trial | None, best: bool) -> Entry:
    entry = Entry(
        name=_name(trial),
        recipe=trial.choice.recipe,
        seconds=trial.seconds,
        chosen=chosen is not None and trial.number == chosen.number,
        reason=_why(trial, best),
    )
    if trial.outcome is None:
        return entry
    made = trial.outcome
    return replace(
        entry,
        score=made.score,
        low=made.low,
        high=made.high,
        milliseconds=made.milliseconds,
        model_bytes=made.model_bytes,
    )


def _why(trial: Trial, best: bool) -> str:
    if trial.reason:
        return f"{trial.ended}: {trial.reason}"
    if trial.outcome is not None and not trial.outcome.best and trial.choice.recipe != FLOOR:
        return f"no epoch was better than its start; it ended {trial.outcome.stopped}"
    return "on the Pareto front" if best else ""


def _name(trial: Trial) -> str:
    words = trial.choice.words().replace(f", {trial.choice.recipe.replace('_', ' ')}", "", 1)
    return f"{trial.number + 1}. {words}"


def _curves(ready: Ready) -> tuple[Curve, ...]:
    """Of every epoch, of the best runs."""
    runs: list[tuple[str, Sequence[Epoch]]] = []
    if ready.explored is not None:
        ranked = sorted(ready.explored.trials, key=lambda trial: -(trial.outcome.score if trial.outcome else -math.inf))
        best = sorted((trial for trial in ranked if trial.history), key=ranked.index)[:DRAWN]
        runs = [(f"{trial.number + 1}. {trial.choice.recipe}", trial.history) for trial in best]
    elif ready.attempt is not None and ready.attempt.tuned is not None:
        runs = [(ready.attempt.name, ready.attempt.tuned.history)]
    measures: dict[str, Callable[[Epoch], float]] = {
        "training_loss": lambda epoch: epoch.loss,
        "validation_loss": lambda epoch: epoch.validation_loss,
        "validation_balanced_accuracy": lambda epoch: epoch.validation_score,
    }
    return tuple(
        Curve(run=name, measure=measure, points=tuple((float(epoch.number), of(epoch)) for epoch in history))
        for measure, of in measures.items()
        for name, history in runs
        if history
    )


def _notes(ready: Ready) -> tuple[str, ...]:
    if ready.explored is not None:
        return ready.explored.notes
    return (_sentence(ready.attempt),) if ready.attempt is not None else ()


def _sentence(attempt: Attempt) -> str:
    return f"{attempt.words[0].upper()}{attempt.words[1:]}."


def _known(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _finite(value: object) -> object:
    """JSON knows no infinity and nothing that is no number."""
    if isinstance(value, float):
        return _known(value)
    if isinstance(value, Mapping):
        return {key: _finite(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(inner) for inner in value]
    return value

"""A job as it goes on, drawn: the stages of its road with the present one lit, candidates, curves, and what came of it.

Promises that all of it comes from the rows that the job tells, so that any window at any time shows the same. Pure
functions over those rows; knows nothing of pages or databases.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from console.words import percent
from core.candidates import Candidate, candidates
from core.jobs import ENDED, Job
from core.look.charts import Axis, Dot, Line, dots, front, lines
from core.look.html import Html, joined, named, tag, text
from core.progress import Point, Stage

ROADS: Mapping[str, tuple[tuple[str, str], ...]] = {  # how stages begin, and what those are called that are to come
    "adapt": (
        ("reading", "read and check the data"),
        ("choosing", "choose a backbone"),
        ("composing", "compose one graph"),
        ("extracting", "extract features"),
        ("solving", "solve the head"),
        ("measuring", "measure and register"),
    ),
    "inspect": (
        ("reading", "read and check the data"),
        ("asking", "look for doubtful labels"),
        ("drawing", "draw the report"),
    ),
}
EPOCH = re.compile(r"(?:trial_(\d+)_)?(loss|validation_loss|validation_score|rate)")
RUNS = 4  # whose curves are drawn: a fifth would have the colour of the first
STATES = {"queued": "chip", "running": "chip first", "done": "chip good", "failed": "chip bad", "cancelled": "chip"}


def state(job: Job) -> Html:
    """A job's state as a chip."""
    words = "being stopped" if job.cancel_asked and job.state not in ENDED else job.state
    return tag("span", words, class_=STATES[job.state])


def stages(job: Job, told: Sequence[Stage]) -> Html:
    """The road: what is behind, the present stage with how far it is, and what is known to come."""
    running = job.state == "running"
    drawn = [_stage(stage, place == len(told) - 1 and running) for place, stage in enumerate(told)]
    begun = [place for place, (start, _) in enumerate(_road(job)) if any(s.title.startswith(start) for s in told)]
    if job.state in {"queued", "running"}:
        drawn += [tag("li", words, class_="to-come") for _, words in _road(job)[max(begun, default=-1) + 1 :]]
    return tag("ol", *drawn, class_="road") if drawn else tag("p", "It has not begun.", class_="soft")


def table(points: Sequence[Point], regression: bool = False) -> Html | None:
    """Candidates in the order in which they were tried, each with its interval on one scale."""
    found = [each for each in candidates(points) if each.score is not None]
    if not found:
        return None
    low = min(each.low if each.low is not None else each.score or 0.0 for each in found)
    high = max(each.high if each.high is not None else each.score or 0.0 for each in found)
    shares = len([each for each in found if (each.alpha or 1.0) < 1.0]) > 0
    heads = ["candidate", "R²" if regression else "score", "95 % interval", "", "ms each"] + ["share α"] * shares
    rows = [
        tag(
            "tr",
            tag("td", named(each.name), " ", tag("span", "chosen", class_="chip first") if each.chosen else None),
            tag("td", _score(each.score, regression), class_="n"),
            tag("td", _interval(each, regression), class_="n"),
            tag("td", _bar(each, low, high), class_="span"),
            tag("td", "" if each.milliseconds is None else f"{each.milliseconds:.1f}", class_="n"),
            tag("td", "" if each.alpha is None else f"{each.alpha:.2f}", class_="n") if shares else None,
            class_="chosen" if each.chosen else None,
        )
        for each in found
    ]
    top = [tag("th", head, class_="n" if place in {1, 2, 4, 5} else None) for place, head in enumerate(heads)]
    return tag("div", tag("table", tag("thead", tag("tr", *top)), tag("tbody", *rows)), class_="scroll")


def pareto(points: Sequence[Point], regression: bool = False) -> Html | None:
    """Score against latency, what nothing beats in both joined by steps."""
    marks = [
        Dot(name=each.name, x=each.milliseconds, y=each.score, low=each.low, high=each.high, marked=bool(each.chosen))
        for each in candidates(points)
        if each.score is not None and each.milliseconds
    ]
    if len(marks) < 2:
        return None
    y = Axis(title="R²") if regression else Axis(title="score, %", percent=True)
    chart = dots(marks, Axis(title="time of one example, ms", log=True), y, front([(m.x, m.y) for m in marks]))
    return figure(chart, "Score against latency. The dashed steps join what nothing beats in both (Pareto front).")


def curves(points: Sequence[Point], regression: bool = False) -> Html | None:
    """Loss, accuracy and learning rate by epoch, of the newest runs."""
    runs: dict[str, dict[str, list[tuple[float, float]]]] = {}
    for point in points:
        match = EPOCH.fullmatch(point.name)
        if match is not None and point.value is not None:
            run = f"trial {match[1]}" if match[1] else "this run"
            runs.setdefault(run, {}).setdefault(match[2], []).append((float(point.step), point.value))
    if not runs:
        return None
    newest = dict(list(runs.items())[-RUNS:])
    score = Axis(title="R², validation") if regression else Axis(title="balanced accuracy, %", percent=True)
    drawn = [
        _chart(newest, ("loss", "validation_loss"), Axis(title="loss, nats"), "Loss: training, and validation."),
        _chart(newest, ("validation_score",), score, "Score on the validation rows."),
        _chart(newest, ("rate",), Axis(title="learning rate", low=0.0), "Learning rate."),
    ]
    return tag("div", *drawn, class_="charts")


def figure(chart: Html, words: str) -> Html:
    """A chart with a line below it."""
    return tag("figure", chart, tag("figcaption", words))


def far(job: Job, told: Sequence[Stage]) -> str:
    """How far a job is, in a line."""
    if job.state == "queued":
        return "waits for a trainer" if not job.reason else f"waits for another attempt: {job.reason}"
    if job.state != "running" or not told:
        return job.reason
    last = told[-1]
    return last.title + (f" ({last.done:,} of {last.total:,})" if last.total else "")


def log(words: str, most: int = 200) -> Html:
    """The end of what a job printed."""
    kept = words.splitlines()[-most:]
    return tag("pre", Html("\n".join(text(line) for line in kept)), class_="log", tabindex="0", aria_label="Log")


def _road(job: Job) -> tuple[tuple[str, str], ...]:
    return ROADS.get(job.kind, ())


def _stage(stage: Stage, present: bool) -> Html:
    share = stage.done / stage.total if stage.total else None
    bar = tag("progress", value=f"{share:.3f}", max="1") if present and share is not None else None
    counted = tag("small", f" {stage.done:,} of {stage.total:,}", class_="soft") if stage.total else None
    return tag(
        "li",
        stage.title,
        counted,
        bar,
        class_="present" if present else "behind",
        aria_current="step" if present else None,
    )


def _chart(
    runs: Mapping[str, Mapping[str, Sequence[tuple[float, float]]]], measures: Sequence[str], y: Axis, words: str
) -> Html | None:
    several = len(runs) > 1
    drawn = [
        Line(name=_called(run, measure, measures, several), points=told[measure])
        for run, told in runs.items()
        for measure in (measures if not several else measures[-1:])
        if measure in told
    ]
    if not drawn:
        return None
    if several:
        words = words.replace("Loss: training, and validation.", "Loss on the validation rows.")
    return figure(lines(drawn, Axis(title="epoch", whole=True), y), words)


def _called(run: str, measure: str, measures: Sequence[str], several: bool) -> str:
    if several:
        return run
    return {"loss": "training", "validation_loss": "validation"}.get(measure, measure) if len(measures) > 1 else run


def _score(score: float | None, regression: bool) -> str:
    return "" if score is None else f"{score:.3f}" if regression else percent(score)


def _interval(each: Candidate, regression: bool) -> str:
    if each.low is None or each.high is None:
        return ""
    low, high = (_score(bound, regression).removesuffix(" %") for bound in (each.low, each.high))
    return f"{low} to {high}"


def _bar(each: Candidate, low: float, high: float) -> Html | None:
    """The interval as a line with the score on it, all on one scale."""
    if each.low is None or each.high is None or high <= low:
        return None
    start, end, middle = ((value - low) / (high - low) * 100 for value in (each.low, each.high, each.score or 0.0))
    style = f"left:{start:.1f}%;width:{max(0.5, end - start):.1f}%"
    return tag(
        "div", tag("i", style=style), tag("b", style=f"left:{middle:.1f}%"), class_="interval", aria_hidden="true"
    )


def outcome(job: Job, versions: Sequence[str]) -> Html | None:
    """What an ended job left: why it ended, and the versions that it registered."""
    links = [
        tag("a", f"version {version[:12]}", href=f"/scenes/{job.scene}/versions/{version}", class_="act main")
        for version in versions
    ]
    if job.state == "failed":
        return tag("p", tag("b", "It failed. "), job.reason, class_="warning")
    if job.state == "cancelled":
        return tag("p", "It was cancelled.", class_="soft")
    if job.result.get("accepted") is False:
        return tag("p", tag("b", "It was not accepted. "), str(job.result.get("reason", "")), class_="warning")
    return tag("div", *links, class_="row") if links else None


def parts(*given: Html | None) -> Html:
    """Those of the parts that are there."""
    return joined(part for part in given if part is not None)

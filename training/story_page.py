"""The report of an adaptation as one HTML page.

Promises that every name from the data is escaped, that every chart names its axes and units, and that a section whose
numbers were not measured is not there. Knows nothing of how anything was measured.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

from core.bundle import Metric
from core.errors import LeptonError
from core.look.charts import Axis, Dot, Line, dots, front, heat, lines
from core.look.html import document, table, text
from training import kinds
from training.story import Answers, Comparison, Entry, Mistake, Story

_WORDS = 3  # columns of words in the table of candidates
_CLASSES = 20  # that a heat map shows; of more, the worst
_PLAIN = ("rmse", "mae", "r2")  # metrics that are no shares


def write(story: Story, file: Path) -> None:
    """Write the page to ``file``; OSError where that is not possible."""
    file.write_text(render(story), encoding="utf-8")


def render(story: Story) -> str:
    """The page as a string."""
    sections = [
        _head(story),
        _metrics(story),
        _notes(story),
        _candidates(story),
        _curves(story),
        *(_answers(story, answers) for answers in story.answers),
        _robustness(story),
        _stages(story),
    ]
    return document(f"{story.scene}: how it was adapted", "".join(sections))


def _head(story: Story) -> str:
    data = story.data
    sides = " · ".join(f"{text(side)} {count}" for side, count in data.splits.items())
    found = ", ".join(f"{text(kind.replace('_', ' '))} {count}" for kind, count in data.counts().items())
    return (
        f"<h1>{text(story.scene)}</h1><p>{text(story.modality)} · {text(story.task)} · "
        f"recipe <b>{text(story.recipe.replace('_', ' '))}</b></p>"
        f"<p class='soft'>version <code>{text(story.version)}</code></p>"
        f"<h2>Data</h2><p>{data.seen} inputs seen, <b>{data.kept} kept</b>, {data.dropped} dropped. {sides}</p>"
        f"<p class='soft'>Found: {found or 'nothing worth a word'}. All of it is in the data report beside this "
        f"page.</p>"
    )


def _notes(story: Story) -> str:
    notes = "".join(f"<p>{text(note)}</p>" for note in story.notes)
    return f"<h2>What was decided, and why</h2>{notes}" if notes else ""


def _metrics(story: Story) -> str:
    rows = [[text(n.replace("_", " ")), *_figures(n, m), str(m.rows)] for n, m in sorted(story.metrics.items())]
    return f"<h2>How good it is</h2>{table(['metric', 'value', '95 % interval', 'rows'], rows)}" if rows else ""


def _figures(name: str, metric: Metric) -> tuple[str, str]:
    if name.endswith(_PLAIN):
        return f"{metric.value:.4g}", f"{metric.low:.4g} to {metric.high:.4g}"
    return f"{100 * metric.value:.1f} %", f"{100 * metric.low:.1f} to {100 * metric.high:.1f}"


def _candidates(story: Story) -> str:
    if not story.comparisons:
        return ""
    return f"<h2>What was tried</h2>{''.join(_comparison(each, story.task) for each in story.comparisons)}"


def _comparison(told: Comparison, task: str) -> str:
    """A table; columns that nothing was measured for are left out."""
    heads = ["candidate", "recipe", "why", "score", "95 % interval", "seconds", "ms each", "MB", "α"]
    rows = [_row(entry, task) for entry in told.entries]
    kept = [place for place in range(len(heads)) if place < _WORDS or any(row[place] for row in rows)]
    chosen = [place for place, entry in enumerate(told.entries) if entry.chosen]
    drawn = table(
        [heads[place] for place in kept], [[row[place] for place in kept] for row in rows], words=_WORDS, chosen=chosen
    )
    scored = any(entry.score is not None for entry in told.entries)
    return (f'<p class="soft">Scored on {text(told.rows)}.</p>' if scored else "") + drawn + _front(told, task)


def _row(entry: Entry, task: str) -> list[str]:
    def figure(value: float | None, form: str, scale: float = 1.0) -> str:
        return "" if value is None or math.isnan(value) else form.format(scale * value)

    score, span = ("{:.3f}", "{:.3f} to {:.3f}") if task == "regression" else ("{:.1%}", "{:.1%} to {:.1%}")
    known = entry.score is not None and entry.low is not None and entry.high is not None
    return [
        text(entry.name) + (" ✓" if entry.chosen else ""),
        text(entry.recipe.replace("_", " ")),
        text(entry.reason),
        figure(entry.score, score).replace("%", " %"),
        span.format(entry.low, entry.high).replace("%", " %") if known else "",
        figure(entry.seconds, "{:.1f}"),
        figure(entry.milliseconds, "{:.2f}"),
        figure(entry.model_bytes or None, "{:.1f}", 1e-6),
        figure(entry.alpha, "{:.2f}"),
    ]


def _front(comparison: Comparison, task: str) -> str:
    """Score against latency, with the candidates that nothing beats in both."""
    told = [e for e in comparison.entries if e.score is not None and e.milliseconds is not None and e.milliseconds > 0]
    if len(told) < 2:
        return ""
    marks = [
        Dot(name=f"{e.name} {e.recipe}", x=e.milliseconds or 0, y=e.score or 0, low=e.low, high=e.high, marked=e.chosen)
        for e in told
    ]
    chart = dots(
        marks,
        Axis(title="time of one example, ms", log=True),
        Axis(title="R²") if task == "regression" else Axis(title="score, %", percent=True),
        front([(mark.x, mark.y) for mark in marks]),
    )
    return _figure(chart, "Score against latency; the dashed steps join what nothing beats in both (Pareto front).")


def _curves(story: Story) -> str:
    measures: dict[str, list[Line]] = {}
    for curve in story.curves:
        measures.setdefault(curve.measure, []).append(Line(name=curve.run, points=curve.points))
    if not measures:
        return ""
    drawn = "".join(
        _figure(
            lines(curves, Axis(title="epoch", whole=True), Axis(title=_unit(measure), percent="accuracy" in measure)),
            measure.replace("_", " "),
        )
        for measure, curves in measures.items()
    )
    return f'<h2>Learning curves</h2><div class="charts">{drawn}</div>'


def _unit(measure: str) -> str:
    words = measure.replace("_", " ")
    if "accuracy" in measure:
        return f"{words}, %"
    return f"{words}, nats" if "loss" in measure else words


def _answers(story: Story, answers: Answers) -> str:
    if answers.values:
        marks = [Dot(name="row", x=truth, y=told) for truth, told in answers.values[:500]]
        chart = dots([Dot(name="", x=m.x, y=m.y) for m in marks], Axis(title="truth"), Axis(title="answer"))
        return f"<h2>Answers: {text(answers.rows)}</h2>{_figure(chart, 'Answer against truth.')}"
    metrics = answers.metrics
    if metrics is None:
        return ""
    shown = _worst(metrics.confusion)
    names = [metrics.classes[k] for k in shown]
    counts = [[metrics.confusion[i][j] for j in shown] for i in shown]
    rest = (
        f" The {len(shown)} classes with most mistakes of {len(metrics.classes)}."
        if len(shown) < len(metrics.classes)
        else ""
    )
    confusion = _figure(heat(names, counts, "truth", "answer"), f"Rows: what it is. Columns: what was answered.{rest}")
    return (
        f'<h2>Answers: {text(answers.rows)}</h2><div class="charts">{confusion}{_reliability(answers)}</div>'
        f"{_classes(answers)}{_mistakes(story, answers)}"
    )


def _worst(confusion: Sequence[Sequence[int]]) -> list[int]:
    """Places of the classes with most mistakes, in their order."""
    missed = [sum(row) - row[k] for k, row in enumerate(confusion)]
    return sorted(sorted(range(len(missed)), key=lambda k: -missed[k])[:_CLASSES])


def _reliability(answers: Answers) -> str:
    told = [(bin.confidence, bin.accuracy) for bin in answers.reliability]
    chart = lines(
        [Line(name="answers", points=told), Line(name="as sure as right", points=[(0, 0), (1, 1)], dashed=True)],
        Axis(title="confidence, %", low=0, high=1, percent=True),
        Axis(title="right, %", low=0, high=1, percent=True),
    )
    return _figure(chart, "Calibration: how often answers of a confidence were right.")


def _classes(answers: Answers) -> str:
    metrics = answers.metrics
    assert metrics is not None
    rows = [
        [text(name), "" if recall is None else f"{100 * recall:.1f} %", str(sum(row))]
        for name, recall, row in zip(metrics.classes, metrics.recall, metrics.confusion, strict=True)
    ]
    told: str = table(["class", "answered right", "rows"], rows)
    if metrics.slices:
        sliced = [
            [text(s.name), f"{100 * s.accuracy:.1f} %", f"{100 * s.interval[0]:.1f} to {100 * s.interval[1]:.1f}",
             str(s.examples)]
            for s in metrics.slices[:_CLASSES]
        ]  # fmt: skip
        told += f"<h2>Groups, the worst first</h2>{table(['group', 'accuracy', '95 % interval', 'rows'], sliced)}"
    return told


def _mistakes(story: Story, answers: Answers) -> str:
    if not answers.mistakes:
        return ""
    cards = "".join(_card(story, mistake) for mistake in answers.mistakes)
    return f'<h2>Mistakes, the surest first</h2><div class="cards">{cards}</div>'


def _card(story: Story, mistake: Mistake) -> str:
    return (
        f'<div class="card"><div>{_tile(story, mistake)}</div>{text(mistake.name)}<br>is <b>{text(mistake.truth)}</b>, '
        f'answered <b class="bad">{text(mistake.answer)}</b> ({100 * mistake.confidence:.0f} %)</div>'
    )


def _tile(story: Story, mistake: Mistake) -> str:
    try:
        data = mistake.content if mistake.content is not None else Path(story.data.root, mistake.name).read_bytes()
        return kinds.kind(story.modality).tile(data)
    except (OSError, LeptonError, ValueError):
        return '<span class="soft">cannot be shown</span>'


def _robustness(story: Story) -> str:
    if not story.robustness:
        return ""
    most = max(len(row) for row in story.robustness.values())
    rows = []
    for name, row in story.robustness.items():
        cells = [f"{100 * metric.value:.1f} % ({100 * metric.low:.1f} to {100 * metric.high:.1f})" for metric in row]
        rows.append([text(name), *cells, *[""] * (most - len(cells))])
    heads = ["corruption", *(f"severity {place}" for place in range(1, most + 1))]
    count = max(metric.rows for row in story.robustness.values() for metric in row)
    words = f"<p class='soft'>On {count} test inputs, each gone wrong in every way: balanced accuracy, or R².</p>"
    return f"<h2>Under corruption</h2>{words}{table(heads, rows)}"


def _stages(story: Story) -> str:
    if not story.stages:
        return ""
    rows = [[text(title), f"{seconds:.1f}"] for title, seconds in story.stages]
    return f"<h2>Where the time went</h2>{table(['stage', 'seconds'], rows)}"


def _figure(chart: str, words: str) -> str:
    return f"<figure>{chart}<figcaption>{text(words)}</figcaption></figure>"

"""The demonstration's report: a curve, a table and pictures, in one HTML file that loads nothing.

Promises that every text that came from outside is escaped. Legible in light and dark, at a desk and on a phone.
"""

from __future__ import annotations

import base64
import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any

import numpy as np

from core.look.html import document, table
from lepton.demonstration.digits import LEFT_OUT, Told
from lepton.demonstration.steps import Step

SHOWN = 24  # pictures
Shown = tuple[bytes, str, str, str]  # picture, truth, answer before, answer after

LEFT, TOP, WIDTH, HEIGHT = 60, 20, 660, 260


def wilson(right: int, rows: int) -> tuple[float, float]:
    """95 % interval of a share, in percent (Wilson, JASA 22, 1927).

    >>> [round(x, 1) for x in wilson(90, 100)]
    [82.6, 94.5]
    """
    z = 1.959964
    share, spread = right / rows, z * z / rows
    centre = (share + spread / 2) / (1 + spread)
    half = z * math.sqrt(share * (1 - share) / rows + spread / (4 * rows)) / (1 + spread)
    return 100 * (centre - half), 100 * (centre + half)


@dataclass(frozen=True, kw_only=True)
class Digits:
    """The first act: what ``lepton adapt --json`` told, what came of it, and the digests of two heads."""

    adapted: dict[str, Any]
    told: Told
    served: str
    scratch: str


@dataclass(frozen=True)
class Played:
    """A short act: its title and its steps."""

    title: str
    steps: Sequence[Step]


def write(file: Path, digits: Digits | None, played: Sequence[Played]) -> None:
    """Write the report; OSError where that is not possible."""
    body = "<h1>Models that learn where they serve</h1>" + (_digits(digits) if digits else "")
    for act in played:
        body += f"<h2>{escape(act.title)}</h2>{_curve(act.steps)}{_table(act.steps)}"
    file.write_text(document("Lepton: the demonstration", body), encoding="utf-8")


def _digits(act: Digits) -> str:
    told, steps = act.told, act.told.steps
    verdict = ("good", "They are bit-identical.") if act.served == act.scratch else ("bad", "They differ.")
    chosen = np.random.default_rng(0).permutation(len(told.tested))[:SHOWN]
    pictures = [(told.tested[n].data, told.tested[n].truth, told.before[n], told.after[n]) for n in chosen]
    return f"""<h2>Digits of another scene, learned while serving</h2>
<p>A model was adapted on MNIST without nines (balanced accuracy there
{100 * act.adapted["metrics"]["balanced_accuracy"]["value"]:.1f} %), exported as version
<code>{escape(act.adapted["version"][:12])}</code> and served. Digits by other writers from another scanner then arrived
over HTTP. Labels went back in steps; the {steps[0].rows} pictures that accuracy is measured on were never labelled.</p>
{_curve(steps)}{_table(steps, LEFT_OUT)}
<h3>Exactly learned, exactly unlearned</h3>
<p>The wrong labels were withdrawn. The served head has SHA-256<br><code>{escape(act.served)}</code><br>and a fit from
scratch, on the labels that stand, has<br><code>{escape(act.scratch)}</code><br>
<b class="{verdict[0]}">{verdict[1]}</b></p>
<h3>The same pictures, before and after</h3>
<div class="cards">{"".join(_figure(shown) for shown in pictures)}</div>"""


def _table(steps: Sequence[Step], new_class: str | None = None) -> str:
    heads = ["after", "labels", "accuracy", "95 % interval", "classes", "revision", "learned in"]
    more = [] if new_class is None else [f"{new_class}s found"]
    return table([*heads, *more], [_row(step, new_class) for step in steps])


def _row(step: Step, new_class: str | None) -> list[str]:
    low, high = wilson(step.right, step.rows)
    cells = [
        escape(step.title),
        str(step.labels),
        f"{100 * step.right / step.rows:.1f} %",
        f"{low:.1f} to {high:.1f}",
        str(step.classes),
        str(step.revision),
        f"{step.waited:.2f} s" if step.labels else "",
    ]
    if new_class is not None:
        cells.append(f"{100 * step.share[new_class]:.0f} %")
    return cells


def _figure(shown: Shown) -> str:
    data, truth, before, after = shown

    def answer(text: str) -> str:
        return f'<b class="{"good" if text == truth else "bad"}">{escape(text)}</b>'

    return (
        f'<figure><img alt="digit {escape(truth)}" src="data:image/png;base64,{base64.b64encode(data).decode()}">'
        f'<figcaption><span class="soft">true</span> {escape(truth)}<br><span class="soft">before</span> '
        f'{answer(before)} <span class="soft">after</span> {answer(after)}</figcaption></figure>'
    )


def _curve(steps: Sequence[Step]) -> str:
    """Accuracy over the steps, with intervals, as an SVG drawing."""
    across = [LEFT + WIDTH * (place + 0.5) / len(steps) for place in range(len(steps))]

    def down(percent: float) -> float:
        return TOP + HEIGHT * (1 - percent / 100)

    grid = "".join(
        f'<line x1="{LEFT}" x2="{LEFT + WIDTH}" y1="{down(p):.1f}" y2="{down(p):.1f}" stroke="var(--line)"/>'
        f'<text x="{LEFT - 8}" y="{down(p) + 4:.1f}" text-anchor="end">{p}</text>'
        for p in range(0, 101, 20)
    )
    points = [(x, down(100 * step.right / step.rows)) for x, step in zip(across, steps, strict=True)]
    bars = "".join(
        f'<line x1="{x:.1f}" x2="{x:.1f}" y1="{down(low):.1f}" y2="{down(high):.1f}" stroke="var(--first)"/>'
        for x, (low, high) in zip(across, (wilson(step.right, step.rows) for step in steps), strict=True)
    )
    dots = "".join(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="4" fill="var(--first)"/>' for x, y in points)
    names = "".join(
        f'<text x="{x:.1f}" y="{TOP + HEIGHT + 20}" text-anchor="middle">{escape(step.title)}</text>'
        for x, step in zip(across, steps, strict=True)
    )
    line = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
    return (
        f'<svg viewBox="0 0 {LEFT + WIDTH + 20} {TOP + HEIGHT + 50}" role="img" '
        f'aria-label="Accuracy in percent after each step">{grid}{bars}'
        f'<polyline points="{line}" fill="none" stroke="var(--first)" stroke-width="2"/>{dots}{names}'
        f'<text x="{LEFT + WIDTH / 2:.0f}" y="{TOP + HEIGHT + 42}" text-anchor="middle">what had happened</text>'
        f'<text x="14" y="{TOP + HEIGHT / 2:.0f}" text-anchor="middle" '
        f'transform="rotate(-90 14 {TOP + HEIGHT / 2:.0f})">accuracy, %</text></svg>'
    )

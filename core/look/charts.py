"""Charts as SVG: lines with bands, dots with intervals, a heat map. Axis names and units on each, no script.

Promises drawings whose colours follow the page (light and dark), whose names are escaped, and whose marks tell their
values to whoever points at them. Knows nothing of models.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from core.look.html import COLOURS, Html, text

_WIDTH, _HEIGHT = 520, 250
_LEFT, _RIGHT, _TOP, _BOTTOM = 74, 24, 12, 44
_TICKS = 5
_NOTHING, _LEAST = 1e-12, 1e-200  # of the larger value, and of values: a range that is smaller is none
_CELL = 34  # pixels of a heat map's cell
_LETTER, _LINE = 6.6, 14  # pixels of a letter of a name across, and of a line of it down
_NAME = 30  # letters of a name that are shown

Point = tuple[float, float]


@dataclass(frozen=True, kw_only=True)
class Axis:
    """One direction of a chart: its name with the unit, and its range; None follows the data.

    ``percent``: values are shares and shown as percent. ``log``: equal factors are equally far apart. ``whole``: values
    are whole numbers.
    """

    title: str
    low: float | None = None
    high: float | None = None
    percent: bool = False
    log: bool = False
    whole: bool = False


@dataclass(frozen=True, kw_only=True)
class Line:
    """A named curve; values that are not finite interrupt it. ``dashed`` for what is only to compare with."""

    name: str
    points: Sequence[Point]
    dashed: bool = False


@dataclass(frozen=True, kw_only=True)
class Dot:
    """A named mark with an interval upwards and downwards where there is one."""

    name: str
    x: float
    y: float
    low: float | None = None
    high: float | None = None
    marked: bool = False


def lines(curves: Sequence[Line], x: Axis, y: Axis) -> Html:
    """Curves over a common axis, with a legend where there are several."""
    points = [point for curve in curves for point in curve.points if _finite(point)]
    if not points:
        return _nothing(y.title)
    frame = _Frame(x, y, [p[0] for p in points], [p[1] for p in points])
    drawn = [frame.grid()]
    for place, curve in enumerate(curves):
        colour = COLOURS[place % len(COLOURS)]
        dash = ' stroke-dasharray="5 4"' if curve.dashed else ""
        for run in _runs(curve.points):
            path = " ".join(f"{frame.across(a):.1f},{frame.down(b):.1f}" for a, b in run)
            drawn.append(f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="2"{dash}/>')
            if not curve.dashed:
                drawn += [_mark(frame, curve.name, a, b, colour, 2.5) for a, b in run]
    return _svg(y.title, "".join(drawn) + _legend([c.name for c in curves]), _HEIGHT + _legend_height(curves))


def dots(marks: Sequence[Dot], x: Axis, y: Axis, front: Sequence[Point] = ()) -> Html:
    """Named marks, the ``front`` joined by steps behind them."""
    told = [mark for mark in marks if math.isfinite(mark.x) and math.isfinite(mark.y)]
    if not told:
        return _nothing(y.title)
    heights = [value for m in told for value in (m.y, m.low, m.high) if value is not None]
    frame = _Frame(x, y, [mark.x for mark in told], heights)
    drawn = [frame.grid()]
    if len(front) > 1:
        path = " ".join(f"{frame.across(a):.1f},{frame.down(b):.1f}" for a, b in front)
        drawn.append(f'<polyline points="{path}" fill="none" stroke="var(--third)" stroke-dasharray="4 3"/>')
    for mark in sorted(told, key=lambda mark: mark.marked):
        colour = COLOURS[1] if mark.marked else COLOURS[0]
        across = frame.across(mark.x)
        if mark.low is not None and mark.high is not None:
            drawn.append(
                f'<line x1="{across:.1f}" x2="{across:.1f}" y1="{frame.down(mark.low):.1f}" '
                f'y2="{frame.down(mark.high):.1f}" stroke="{colour}"/>'
            )
        drawn.append(_mark(frame, mark.name, mark.x, mark.y, colour, 5.0 if mark.marked else 4.0))
    drawn += _names(told, frame)
    return _svg(y.title, "".join(drawn), _HEIGHT)


def heat(names: Sequence[str], counts: Sequence[Sequence[int]], rows: str, columns: str) -> Html:
    """A square table of counts, darker where more of a row is; ``rows`` and ``columns`` say what they are."""
    if not names:
        return _nothing(rows)
    left, top = 150, 128
    side = left + _CELL * len(names) + 12
    drawn = [
        f'<text x="{left}" y="14">{text(columns)} →</text>',
        f'<text x="8" y="{top - 8}">{text(rows)} ↓</text>',
    ]
    for place, name in enumerate(names):
        middle = place * _CELL + _CELL / 2
        drawn.append(f'<text x="{left - 8}" y="{top + middle + 4}" text-anchor="end">{text(_short(name))}</text>')
        turn = f"rotate(-45 {left + middle} {top - 8})"
        drawn.append(f'<text x="{left + middle}" y="{top - 8}" transform="{turn}">{text(_short(name))}</text>')
    for i, row in enumerate(counts):
        total = max(1, sum(row))
        for j, count in enumerate(row):
            x, y = left + j * _CELL, top + i * _CELL
            told = f"{names[i]} answered as {names[j]}: {count} of {sum(row)}"
            drawn.append(
                f'<rect x="{x}" y="{y}" width="{_CELL - 1}" height="{_CELL - 1}" '
                f'fill="rgb(var(--wash) / {0.06 + 0.8 * count / total:.2f})"><title>{text(told)}</title></rect>'
            )
            if count:
                drawn.append(
                    f'<text class="ink" x="{x + _CELL / 2}" y="{y + _CELL / 2 + 4}" text-anchor="middle">{count}</text>'
                )
    height = top + _CELL * len(names) + 8
    return Html(
        f'<svg viewBox="0 0 {side} {height}" style="max-width:{side}px" role="img" '
        f'aria-label="{text(rows)} against {text(columns)}">{"".join(drawn)}</svg>'
    )


def front(points: Sequence[Point]) -> list[Point]:
    """Those points that no other beats in both, x to be low and y to be high, from left to right.

    >>> front([(1, 0.5), (2, 0.9), (3, 0.8)])
    [(1, 0.5), (2, 0.9)]
    """
    kept: list[Point] = []
    for x, y in sorted(points, key=lambda point: (point[0], -point[1])):
        if not kept or y > kept[-1][1]:
            kept.append((x, y))
    return kept


class _Frame:
    """Where values of two axes lie in the drawing."""

    def __init__(self, x: Axis, y: Axis, xs: Sequence[float], ys: Sequence[float]) -> None:
        self._x, self._y = x, y
        self._across, self._across_ticks = _scale(x, xs, _LEFT, _WIDTH - _RIGHT)
        self._down, self._down_ticks = _scale(y, ys, _HEIGHT - _BOTTOM, _TOP)

    def across(self, value: float) -> float:
        return self._across(value)

    def down(self, value: float) -> float:
        return self._down(value)

    def told(self, x: float, y: float) -> str:
        return f"{_figure(self._x, x)}, {_figure(self._y, y)}"

    def grid(self) -> str:
        """Lines, figures and the names of both axes."""
        made = []
        for value in self._down_ticks:
            y = self.down(value)
            made.append(f'<line x1="{_LEFT}" x2="{_WIDTH - _RIGHT}" y1="{y:.1f}" y2="{y:.1f}" stroke="var(--line)"/>')
            made.append(f'<text x="{_LEFT - 6}" y="{y + 4:.1f}" text-anchor="end">{_figure(self._y, value)}</text>')
        for value in self._across_ticks:
            x = self.across(value)
            made.append(
                f'<text x="{x:.1f}" y="{_HEIGHT - _BOTTOM + 16}" text-anchor="middle">{_figure(self._x, value)}</text>'
            )
        middle = (_TOP + _HEIGHT - _BOTTOM) / 2
        made.append(
            f'<text x="{(_LEFT + _WIDTH - _RIGHT) / 2}" y="{_HEIGHT - 10}" text-anchor="middle">{text(self._x.title)}'
            f'</text><text x="12" y="{middle}" text-anchor="middle" transform="rotate(-90 12 {middle})">'
            f"{text(self._y.title)}</text>"
        )
        return "".join(made)


def _scale(
    axis: Axis, values: Sequence[float], start: float, end: float
) -> tuple[Callable[[float], float], list[float]]:
    low = min(values) if axis.low is None else axis.low
    high = max(values) if axis.high is None else axis.high
    if axis.log and low > _LEAST:
        if high <= low * (1 + _NOTHING):
            low, high = low / 2, high * 2
        room = (high / low) ** 0.08
        low, high = low / room, high * room
        ticks = _decades(low, high)
        return lambda v: start + (end - start) * math.log(v / low) / math.log(high / low), ticks
    if high - low <= _NOTHING * max(abs(low), abs(high), _LEAST):
        low, high = low - 0.5, high + 0.5
    step = max(_step((high - low) / _TICKS), 1.0 if axis.whole else 0.0)
    low = math.floor(low / step + 1e-9) * step if axis.low is None else low
    high = math.ceil(high / step - 1e-9) * step if axis.high is None else high
    first = math.ceil(low / step - 1e-9)
    ticks = [place * step for place in range(first, math.floor(high / step + 1e-9) + 1)]
    return lambda v: start + (end - start) * (v - low) / (high - low), ticks


def _decades(low: float, high: float) -> list[float]:
    """1, 2, 5 times powers of ten within the range; of more than eight, the powers alone; equal steps for a few."""
    powers = [10.0**place for place in range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)]
    fine = [power * factor for power in powers for factor in (1, 2, 5) if low <= power * factor <= high]
    coarse = [power for power in powers if low <= power <= high]
    if len(fine) < 3:
        return _even(low, high)
    return fine if len(fine) <= 8 or len(coarse) < 2 else coarse[:: math.ceil(len(coarse) / 8)]


def _even(low: float, high: float) -> list[float]:
    """Ticks at equal steps within the range."""
    step = _step((high - low) / _TICKS)
    return [place * step for place in range(math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9) + 1)]


def _step(rough: float) -> float:
    """The next of 1, 2, 5 times a power of ten."""
    power = 10.0 ** math.floor(math.log10(rough))
    return next(power * factor for factor in (1, 2, 5, 10) if power * factor >= rough * (1 - 1e-9))


def _figure(axis: Axis, value: float) -> str:
    if axis.percent:
        return f"{100 * value:.3g} %"
    return f"{value:.4g}" if abs(value) < 1000 else f"{value:,.0f}"


def _mark(frame: _Frame, name: str, x: float, y: float, colour: str, radius: float) -> str:
    told = f"{name}: {frame.told(x, y)}"
    return (
        f'<circle cx="{frame.across(x):.1f}" cy="{frame.down(y):.1f}" r="{radius}" fill="{colour}">'
        f"<title>{text(told)}</title></circle>"
    )


def _names(marks: Sequence[Dot], frame: _Frame) -> list[str]:
    """Names beside their marks, that of the marked one first; one that would lie on another is left out."""
    drawn: list[str] = []
    taken: list[tuple[float, float, float]] = []
    for mark in sorted(marks, key=lambda mark: not mark.marked):
        across, down, name = frame.across(mark.x), frame.down(mark.y), _short(mark.name)
        end = across > _WIDTH * 0.7
        start = across - 8 - _LETTER * len(name) if end else across + 8
        place = (start, start + _LETTER * len(name), down)
        if any(place[0] < right and left < place[1] and abs(down - y) < _LINE for left, right, y in taken):
            continue
        taken.append(place)
        anchor = f'x="{across + (-8 if end else 8):.1f}" text-anchor="{"end" if end else "start"}"'
        drawn.append(f'<text class="ink" {anchor} y="{down - 7:.1f}">{text(name)}</text>')
    return drawn


def _runs(points: Sequence[Point]) -> list[list[Point]]:
    runs: list[list[Point]] = [[]]
    for point in points:
        if _finite(point):
            runs[-1].append(point)
        elif runs[-1]:
            runs.append([])
    return [run for run in runs if run]


def _finite(point: Point) -> bool:
    return math.isfinite(point[0]) and math.isfinite(point[1])


def _short(name: str) -> str:
    return name if len(name) <= _NAME else name[: _NAME - 1] + "…"


def _legend(names: Sequence[str]) -> str:
    if len(names) < 2:
        return ""
    made = []
    for place, name in enumerate(names):
        x, y = _LEFT + 220 * (place % 2), _HEIGHT + 12 + 18 * (place // 2)
        made.append(
            f'<rect x="{x}" y="{y - 9}" width="12" height="10" fill="{COLOURS[place % len(COLOURS)]}"/>'
            f'<text x="{x + 18}" y="{y}">{text(name[:30])}</text>'
        )
    return "".join(made)


def _legend_height(names: Sequence[object]) -> int:
    return 18 * math.ceil(len(names) / 2) + 12 if len(names) > 1 else 0


def _svg(title: str, drawn: str, height: int) -> Html:
    return Html(f'<svg viewBox="0 0 {_WIDTH} {height}" role="img" aria-label="{text(title)}">{drawn}</svg>')


def _nothing(title: str) -> Html:
    return Html(f'<p class="soft">{text(title)}: nothing was measured</p>')

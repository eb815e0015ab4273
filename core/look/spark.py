"""A sparkline: the course of one figure in the size of a word, without axes; words beside it say what it is.

Promises a drawing that is read out as its label. Knows nothing of what the figure is.
"""

from __future__ import annotations

from collections.abc import Sequence

from core.look.html import Html, text

_WIDTH, _HEIGHT, _EDGE = 120, 28, 3


def spark(values: Sequence[float], label: str, low: float, high: float) -> Html:
    """A line through the values, from ``low`` at the bottom to ``high`` at the top, the last one marked.

    >>> spark([], "nothing", 0, 1)
    ''
    """
    if not values:
        return Html()
    room = max(high - low, 1e-9)
    step = (_WIDTH - 2 * _EDGE) / max(1, len(values) - 1)
    points = [
        (_EDGE + place * step, _HEIGHT - _EDGE - (_HEIGHT - 2 * _EDGE) * min(1.0, max(0.0, (value - low) / room)))
        for place, value in enumerate(values)
    ]
    path = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
    x, y = points[-1]
    return Html(
        f'<svg class="spark" viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" aria-label="{text(label)}">'
        f'<polyline points="{path}" fill="none" stroke="var(--first)" stroke-width="1.5" stroke-linejoin="round"/>'
        f'<circle cx="{x:.1f}" cy="{y:.1f}" r="2.5" fill="var(--first)"/></svg>'
    )

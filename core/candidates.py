"""Candidates of a run while it goes on: told as metrics whose names say which candidate and what of it.

Promises that what was told of a candidate is read again, the newest word on each figure. Knows nothing of how
candidates are made or compared.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from typing import Any

from core.progress import Point

PREFIX = "candidate"
MEASURES = ("score", "low", "high", "milliseconds", "chosen", "alpha")


@dataclass(frozen=True, kw_only=True)
class Candidate:
    """What is known of one so far; None where it is not known.

    Attributes:
        score: balanced accuracy or R², with its 95 % interval. milliseconds: of one example. chosen: 1 where it was.
        alpha: its share in a fusion. at: when it was told last.
    """

    name: str
    score: float | None = None
    low: float | None = None
    high: float | None = None
    milliseconds: float | None = None
    chosen: float | None = None
    alpha: float | None = None
    at: float = field(default=0.0, compare=False)


def tell(metric: Callable[[str, int, float], None], name: str, **measures: float) -> None:
    """Tell figures of a candidate; ``metric`` is that of a reporter."""
    for measure, value in measures.items():
        assert measure in MEASURES, measure
        metric(f"{PREFIX}/{measure}/{name}", 0, value)


def candidates(points: Iterable[Point]) -> list[Candidate]:
    """All that were told of, in the order in which they appeared; other metrics are passed over.

    >>> told = Point(id=1, name="candidate/score/lite0", step=0, value=0.9, at=1.0)
    >>> [(each.name, each.score) for each in candidates([told])]
    [('lite0', 0.9)]
    """
    found: dict[str, Candidate] = {}
    for point in points:
        prefix, _, rest = point.name.partition("/")
        measure, _, name = rest.partition("/")
        if prefix == PREFIX and measure in MEASURES:
            held = found.get(name, Candidate(name=name))
            changes: dict[str, Any] = {measure: point.value, "at": point.at}
            found[name] = replace(held, **changes)
    return list(found.values())

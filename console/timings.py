"""How long the service takes, read from its metrics: histograms since it started.

Promises what the metrics hold and no more: they have no scene but for the run of the model, and no past but the whole
time since the service started; between two bounds a quantile is drawn by a straight line. Pure functions.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from prometheus_client.parser import text_string_to_metric_families

from console.road import figure
from console.words import took
from core.look.charts import Axis, Line, lines
from core.look.html import Html, joined, tag

SHOWN = (0.5, 0.95, 0.99)
MILLI = 1000.0


@dataclass(frozen=True, kw_only=True)
class Timing:
    """A histogram: ``upto`` has (seconds, how many took no longer), rising; the last bound is infinite."""

    name: str
    upto: tuple[tuple[float, float], ...]
    total: float

    @property
    def count(self) -> int:
        """How many."""
        return int(self.upto[-1][1]) if self.upto else 0

    def quantile(self, share: float) -> float | None:
        """Within how many seconds this share was done; None without any, infinite beyond the last bound."""
        if not self.count:
            return None
        wanted, low, below = share * self.count, 0.0, 0.0
        for bound, reached in self.upto:
            if reached >= wanted:
                inside = reached - below
                return bound if not inside or math.isinf(bound) else low + (bound - low) * (wanted - below) / inside
            low, below = bound, reached
        return math.inf


@dataclass(frozen=True, kw_only=True)
class Timings:
    """What the metrics tell. ``refused``: instances of the scene that were not answered, since the service started."""

    parts: tuple[Timing, ...]
    refused: int


def timings(text: str, scene: str) -> Timings:
    """Read the text format of Prometheus."""
    found: dict[str, dict[float, float]] = {}
    totals: dict[str, float] = {}
    refused = 0.0
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            name = _part(sample.name, sample.labels, scene)
            if name is not None and sample.name.endswith("_bucket"):
                bounds = found.setdefault(name, {})
                bound = float(sample.labels["le"])
                bounds[bound] = bounds.get(bound, 0.0) + sample.value
            elif name is not None and sample.name.endswith("_sum"):
                totals[name] = totals.get(name, 0.0) + sample.value
            elif sample.name == "lepton_predictions_total" and sample.labels == {"scene": scene, "outcome": "refused"}:
                refused += sample.value
    parts = [
        Timing(name=n, upto=tuple(sorted(found[n].items())), total=totals.get(n, 0.0)) for n in PARTS if n in found
    ]
    return Timings(parts=tuple(parts), refused=int(refused))


PARTS = ("whole requests, all scenes", "wait for the model, all scenes", "run of the model, this scene")


def draw(told: Timings) -> Html:
    """A table of quantiles, and the curves they are read from."""
    parts = [part for part in told.parts if part.count]
    if not parts:
        return tag("p", "The service has answered no prediction since it started.", class_="soft")
    heads = ["", "measured", *(f"{100 * share:g} % within" for share in SHOWN), "mean"]
    rows = [
        tag(
            "tr",
            tag("td", part.name),
            tag("td", f"{part.count:,}", class_="n"),
            *(tag("td", span(part.quantile(share)), class_="n") for share in SHOWN),
            tag("td", span(part.total / part.count), class_="n"),
        )
        for part in parts
    ]
    top = tag("tr", *(tag("th", head, class_="n" if place else None) for place, head in enumerate(heads)))
    drawn = [Line(name=part.name, points=_points(part)) for part in parts]
    x = Axis(title="time, ms", log=True)
    y = Axis(title="share done within it, %", low=0.0, high=1.0, percent=True)
    refused = f" {told.refused:,} inputs of this scene were refused." if told.refused else ""
    return joined(
        (
            tag("div", tag("table", tag("thead", top), tag("tbody", *rows)), class_="scroll"),
            figure(lines(drawn, x, y), f"As the service measures it, since it started, by all its workers.{refused}"),
        )
    )


def span(seconds: float | None) -> str:
    """A time span as people read it.

    >>> span(0.0012), span(0.123), span(2.0), span(float("inf"))
    ('1.2 ms', '123 ms', '2.0 s', 'more')
    """
    if seconds is None:
        return ""
    if math.isinf(seconds):
        return "more"
    if seconds >= 1:
        return took(seconds)
    return f"{MILLI * seconds:.0f} ms" if seconds >= 0.01 else f"{MILLI * seconds:.2g} ms"


def _part(name: str, labels: Mapping[str, str], scene: str) -> str | None:
    """Which of the parts a sample belongs to."""
    stem = name.rpartition("_")[0]
    if stem == "lepton_request_seconds" and labels.get("route", "").endswith("/predict"):
        return PARTS[0]
    if stem == "lepton_queue_seconds":
        return PARTS[1]
    if stem == "lepton_inference_seconds" and labels.get("scene") == scene:
        return PARTS[2]
    return None


def _points(part: Timing) -> list[tuple[float, float]]:
    """Up to the bound within which all were done."""
    told = [(MILLI * bound, reached / part.count) for bound, reached in part.upto if math.isfinite(bound)]
    whole = next((place for place, (_, share) in enumerate(told) if share >= 1), len(told))
    return told[: whole + 1]

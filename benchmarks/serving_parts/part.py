"""What every part gives back, and how rounds of several servers are taken in turn.

Promises that of several servers one runs at a time, the others being paused, so that noise that lasts longer than a
round meets all alike, and that ratios are of the same round.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from benchmarks.generator.driver import Generator
from benchmarks.generator.record import OK, Record
from benchmarks.report import Claim, Row
from benchmarks.servers import Server


@dataclass
class Part:
    """Rows of the table, claims, and lines to print above them; ``figures`` are kept for pictures."""

    rows: list[Row] = field(default_factory=list)
    claims: list[Claim] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    figures: dict[str, list[tuple[float, float]]] = field(default_factory=dict)

    def at_least(self, claim: str, value: float, bound: float) -> None:
        """Claim that ``value`` is ``bound`` or more."""
        self.claims.append(Claim(claim=claim, value=value, bound=bound, holds=value >= bound))

    def at_most(self, claim: str, value: float, bound: float) -> None:
        """Claim that ``value`` is ``bound`` or less."""
        self.claims.append(Claim(claim=claim, value=value, bound=bound, holds=value <= bound))


Measure = Callable[[Generator, Server], Record]


def same_answers(servers: Sequence[Server], *, within: float) -> None:
    """Whether all serve the same model: the first one's probabilities are in the first answer of each.

    Raises:
        RuntimeError: one answers something else, so that its speed says nothing.
    """
    told = json.loads(servers[0].first.body)
    wanted = list(told["predictions"][0]["probabilities"].values())
    for server in servers[1:]:
        found = numbers(json.loads(server.first.body))
        if not all(any(abs(want - number) <= within for number in found) for want in wanted):
            raise RuntimeError(f"{server.name} answers {server.first.body[:300]!r}; expected probabilities {wanted}")


def numbers(told: object) -> list[float]:
    """All numbers in what JSON says, at any depth.

    >>> numbers({"a": [1, {"b": 0.5}], "c": "2"})
    [1, 0.5]
    """
    if isinstance(told, dict):
        told = list(told.values())
    if isinstance(told, list):
        return [number for each in told for number in numbers(each)]
    return [told] if isinstance(told, int | float) else []


def rounds(
    servers: Sequence[Server], measures: Mapping[str, Measure], count: int, generator: Generator
) -> dict[tuple[str, str], list[Record]]:
    """``count`` records of every (server, measure), in turn; the first round warms up and is not counted."""
    found: dict[tuple[str, str], list[Record]] = {(s.name, m): [] for s in servers for m in measures}
    for server in servers:
        server.pause()
    for number in range(count + 1):
        turn = servers if number % 2 else servers[::-1]
        for server in turn:
            server.resume()
            for name, measure in measures.items():
                record = measure(generator, server)
                if number:
                    found[server.name, name].append(record)
            server.pause()
    for server in servers:
        server.resume()
    return found


def ratio(ours: Sequence[Record], theirs: Sequence[Record], figure: Callable[[Record], float]) -> float:
    """The median over rounds of our figure over theirs."""
    return float(np.median([figure(a) / max(figure(b), 1e-9) for a, b in zip(ours, theirs, strict=True)]))


def median(records: Sequence[Record], figure: Callable[[Record], float]) -> float:
    """The median over rounds."""
    return float(np.median([figure(record) for record in records]))


def failed(records: Sequence[Record]) -> int:
    """Requests without a 200."""
    return sum(len(record.status_N) - record.count(OK) for record in records)


def line(part: str, what: str, records: Sequence[Record]) -> dict[str, str | int | float | None]:
    """The columns that all parts share; throughput with its spread over rounds."""
    rates = [record.throughput() for record in records]
    return {
        "part": part,
        "what": what,
        "requests/s": round(float(np.median(rates)), 1),
        "from": round(min(rates), 1),
        "to": round(max(rates), 1),
        "p50 ms": round(median(records, lambda r: r.milliseconds(50)), 3),
        "p90 ms": round(median(records, lambda r: r.milliseconds(90)), 3),
        "p99 ms": round(median(records, lambda r: r.milliseconds(99)), 3),
        "p99.9 ms": round(median(records, lambda r: r.milliseconds(99.9)), 3),
        "not 200": failed(records),
    }

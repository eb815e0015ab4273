"""What a load was and what came of it: one row a request, and the figures that people compare.

Promises percentiles that were really measured, and that a request without an answer counts as an endless one wherever
latencies are told. Knows nothing of how requests are sent.

Legend: N requests.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

TIMED_OUT, BROKEN, UNCONNECTED = 0, -1, -2  # instead of a status: no answer in time, a lost connection, none to be had
WORDS = {TIMED_OUT: "timeout", BROKEN: "broken", UNCONNECTED: "no connection"}
OK = 200


@dataclass(frozen=True, kw_only=True)
class Record:
    """Every request in the order in which it was due.

    Attributes:
        due_N: when it was meant to leave, in seconds since the load began; in a closed loop, when it left.
        sent_N: when it left; NaN where it never did.
        took_N: seconds from ``due_N`` to the whole answer; NaN where there is none.
        status_N: the status, or one of ``WORDS``.
        seconds: from the first due moment to the end of the load.
        connections: most connections open at once.
        begun: the first moment by ``time.perf_counter``, which on Linux all processes share.
        answers: (number of the request, head, body), where they were to be kept.
    """

    due_N: NDArray[np.float64]
    sent_N: NDArray[np.float64]
    took_N: NDArray[np.float64]
    status_N: NDArray[np.int16]
    seconds: float
    connections: int
    begun: float = 0.0
    answers: list[tuple[int, bytes, bytes]] = field(default_factory=list, repr=False)

    def between(self, start: float, end: float) -> Record:
        """The requests that were due in that time, seconds from the beginning."""
        return self.where((self.due_N >= start) & (self.due_N < end), start, end)

    def where(self, chosen_N: NDArray[np.bool_], start: float, end: float) -> Record:
        """Some of the requests, for the time from ``start`` to ``end``; without kept answers."""
        return Record(
            due_N=self.due_N[chosen_N] - start,
            sent_N=self.sent_N[chosen_N] - start,
            took_N=self.took_N[chosen_N],
            status_N=self.status_N[chosen_N],
            seconds=end - start,
            connections=self.connections,
            begun=self.begun + start,
        )

    def statuses(self) -> dict[str, int]:
        """How many of each status, or of each way to have none."""
        found, counts = np.unique(self.status_N, return_counts=True)
        return {WORDS.get(int(s), str(s)): int(n) for s, n in zip(found, counts, strict=True)}

    def count(self, *statuses: int) -> int:
        """How many have one of these statuses."""
        return int(np.isin(self.status_N, statuses).sum())

    def throughput(self) -> float:
        """Answers with status 200 a second."""
        return self.count(OK) / self.seconds

    def goodput(self, within: float) -> float:
        """Answers with status 200, no later than ``within`` seconds after they were due, a second."""
        with np.errstate(invalid="ignore"):
            return int(((self.status_N == OK) & (self.took_N <= within)).sum()) / self.seconds

    def milliseconds(self, percent: float) -> float:
        """A percentile of the latency of what was served or got no answer; infinite where that is what is there.

        Requests that were refused with a status are not in it: a quick refusal is no quick answer.
        """
        served_N = self.took_N[(self.status_N == OK) | (self.status_N <= TIMED_OUT)]
        if not len(served_N):
            return float("inf")
        endless_N = np.where(np.isnan(served_N), np.inf, served_N)
        return 1000 * float(np.percentile(endless_N, percent, method="higher"))

    def late_milliseconds(self, percent: float) -> float:
        """How late requests left, a percentile: the generator's own share, and that of connections that were busy."""
        late_N = (self.sent_N - self.due_N)[~np.isnan(self.sent_N)]
        return 1000 * float(np.percentile(late_N, percent, method="higher")) if len(late_N) else float("inf")

"""What a load is to be: an open loop, which keeps its times, or a closed loop, which waits for its answers.

Promises moments that are a pure function of the plan. Knows nothing of connections.

Legend: N requests.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, kw_only=True)
class Open:
    """Requests at intended moments, whatever becomes of those before.

    Attributes:
        port: of the loopback interface.
        requests: sent in turn, as they are.
        phases: (requests a second, seconds), one after the other.
        seed: arrivals as of many independent clients (Poisson), drawn with this seed; evenly spaced if None.
        connections: open before the first moment.
        most: connections; a request that finds none free opens one up to this many, and waits beyond.
        timeout: seconds from its moment after which a request is given up.
        keep: keep every answer's head and body.
    """

    port: int
    requests: Sequence[bytes] = field(repr=False)
    phases: tuple[tuple[float, float], ...]
    seed: int | None = None
    connections: int = 16
    most: int = 512
    timeout: float = 10.0
    keep: bool = False

    def due(self) -> NDArray[np.float64]:
        """(N,) intended moments, seconds since the beginning, in order."""
        random = None if self.seed is None else np.random.default_rng(self.seed)
        parts, begin = [np.zeros(0)], 0.0
        for rate, seconds in self.phases:
            count = max(1, round(rate * seconds))
            if random is None:
                parts.append(begin + np.arange(count) / rate)
            else:  # given their number, the arrivals of a Poisson process are independent and even over the time
                parts.append(begin + np.sort(random.uniform(0.0, seconds, count)))
            begin += seconds
        return np.concatenate(parts)


@dataclass(frozen=True, kw_only=True)
class Closed:
    """Every connection sends its next request when it has the answer to its last: what peak throughput is asked with.

    Latencies under it hide every stall from all requests but those that were under way; tell them at one connection
    only. The attributes are those of :class:`Open`.
    """

    port: int
    requests: Sequence[bytes] = field(repr=False)
    connections: int
    seconds: float
    timeout: float = 10.0
    keep: bool = False


Plan = Open | Closed

"""How long the runs of a model take, and whether they are short enough for the event loop itself.

The rule: of the last ``SEEN`` runs the quickest counts (a busy machine makes runs longer, never shorter), and so does
the largest, at the least that an instance has cost in any of them. Where both are within ``INLINE_SECONDS``, runs take
place in the event loop: a change of threads and back would cost more. A run there that takes more than
``SLOW_SECONDS`` sends the model back to its thread until ``SEEN`` runs say otherwise. Knows nothing of models.
"""

from __future__ import annotations

from collections import deque

SEEN = 8
INLINE_SECONDS = 300e-6
SLOW_SECONDS = 3e-3


class Pace:
    """The pace of one model; ``inline`` says whether it is to run in the event loop."""

    def __init__(self) -> None:
        self._runs: deque[tuple[int, float]] = deque(maxlen=SEEN)
        self.inline = False

    def ran(self, size: int, seconds: float) -> None:
        """Take a run of ``size`` instances into account."""
        if self.inline and seconds > SLOW_SECONDS:
            self._runs.clear()
            self.inline = False
        self._runs.append((size, seconds))
        if len(self._runs) == SEEN:
            self.inline = self._estimate() <= INLINE_SECONDS

    def _estimate(self) -> float:
        """Seconds that a run of the largest size of late takes, on a machine that does nothing else."""
        whole = min(seconds for _, seconds in self._runs)
        each = min(seconds / size for size, seconds in self._runs)
        return max(whole, each * max(size for size, _ in self._runs))

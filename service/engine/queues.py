"""What waits for the model: a queue a snapshot, and the order in which scenes have their turn.

Promises that a batch holds items of one snapshot, at most ``most``, none past its deadline; and that among scenes that
wait all the time, the one which has had the least time of the model is next, so that their shares differ by one run at
most, however many items the others send (start-time fair queueing: Goyal, Vin and Cheng, 1997). A scene that
comes back after a pause has saved nothing up. Knows nothing of models, threads or clocks; used by one thread at a time.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Mapping
from concurrent.futures import Future
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import NamedTuple

from core.preprocess import Row
from core.types import Floats, GridRows
from service.engine.snapshot import Snapshot

FOREVER = float("inf")


class Answer(NamedTuple):
    """What the model says of one instance: outputs (K,) float32 and features (D,) int16 on the grid.

    ``waited`` are the seconds before its run, ``ran`` those of the run. ``further`` has the outputs of tasks beside the
    first, by name.
    """

    outputs: Floats
    features: GridRows
    waited: float = 0.0
    ran: float = 0.0
    further: Mapping[str, Floats] = MappingProxyType({})


@dataclass(eq=False, slots=True)
class Item:
    """One row that waits.

    Attributes:
        since, deadline: seconds of the batcher's clock.
        future: of the event loop that asked, or one that any thread may wait for.
    """

    snapshot: Snapshot
    row: Row
    since: float
    deadline: float = FOREVER
    future: Future[Answer] | asyncio.Future[Answer] = field(default_factory=Future)

    def wanted(self) -> bool:
        """Whether somebody still waits for it; a future of threads can no longer be cancelled after this."""
        if isinstance(self.future, Future):
            return self.future.set_running_or_notify_cancel()
        return not self.future.done()


class Queues:
    """Items by scene and snapshot.

    Args:
        most: items in one batch.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._waiting: dict[str, dict[Snapshot, deque[Item]]] = {}
        self._spent: dict[str, float] = {}  # scene → seconds of the model, from a common start
        self._now = 0.0  # what the scene that was chosen last had spent: where a scene that comes back begins

    def __bool__(self) -> bool:
        """Whether anything waits."""
        return bool(self._waiting)

    def add(self, item: Item) -> None:
        """Queue one item."""
        scene = item.snapshot.scene.name
        lines = self._waiting.get(scene)
        if lines is None:
            lines = self._waiting[scene] = {}
            self._spent[scene] = max(self._spent.get(scene, 0.0), self._now)
        line = lines.get(item.snapshot)
        if line is None:
            line = lines[item.snapshot] = deque()
        line.append(item)

    def take(self, now: float) -> tuple[list[Item], list[Item]]:
        """The next batch, and the items that were met on the way to it and came too late; both empty if none is left.

        Within a scene the snapshot whose oldest item waits longest is next.
        """
        batch: list[Item] = []
        late: list[Item] = []
        while self._waiting and not batch:
            scene = min(self._waiting, key=self._spent.__getitem__)
            self._now = self._spent[scene]
            lines = self._waiting[scene]
            snapshot = min(lines, key=lambda held: lines[held][0].since)
            line = lines[snapshot]
            while line and len(batch) < self._most:
                item = line.popleft()
                if item.deadline < now:
                    late.append(item)
                elif item.wanted():
                    batch.append(item)
            if not line:
                del lines[snapshot]
            if not lines:
                del self._waiting[scene]
        return batch, late

    def spend(self, scene: str, seconds: float) -> None:
        """Put a run's time on a scene's account."""
        self._spent[scene] += seconds

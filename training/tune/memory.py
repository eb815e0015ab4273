"""As many rows at once as memory has room for: halved where it is short, by all processes alike.

Knows nothing of what is done with the rows.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import torch

from training.tune.device import Device

Result = TypeVar("Result")


class OutOfRoom(Exception):
    """Memory does not suffice for one row."""


class Room:
    """How many rows pass through a network at once; ``noted`` hears when they become fewer."""

    def __init__(self, rows: int, device: Device, noted: Callable[[str], None]) -> None:
        self.rows = rows
        self._device, self._noted = device, noted

    def run(self, work: Callable[[int], Result]) -> Result:
        """``work(rows)``, again with half as many where memory is short; it may not talk to other processes.

        Raises:
            OutOfRoom: even one row is too many.
        """
        while True:
            try:
                done, short = [work(self.rows)], False
            except torch.OutOfMemoryError:
                done, short = [], True
            if not self._device.any(short):
                return done[0]
            if self.rows == 1:
                raise OutOfRoom
            self.rows = (self.rows + 1) // 2
            if self._device.place.type == "cuda":
                torch.cuda.empty_cache()
            self._noted(f"memory is short: batches are passed through {self.rows} rows at a time")

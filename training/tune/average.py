"""A moving average of weights while they are trained: steadier than the last ones (Polyak and Juditsky 1992).

Promises that the average is of the trained parameters alone, and that its memory is short at the start, so that few
steps are not averaged with the weights before the first. Knows nothing of what the weights do.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence

import torch


class Average:
    """Shadows of parameters; a decay of 0 follows the parameters themselves."""

    def __init__(self, parameters: Sequence[torch.nn.Parameter], decay: float) -> None:
        self._parameters, self._decay = list(parameters), decay
        self._shadows = [parameter.detach().clone() for parameter in self._parameters]
        self._steps = 0

    @torch.no_grad()
    def update(self) -> None:
        """Take in the weights of one more step."""
        self._steps += 1
        decay = min(self._decay, self._steps / (self._steps + 9))  # as in TensorFlow's ExponentialMovingAverage
        if self._decay == 0:
            decay = 0.0
        torch._foreach_lerp_(self._shadows, [p.detach() for p in self._parameters], 1.0 - decay)

    @contextlib.contextmanager
    def in_place(self) -> Iterator[None]:
        """Inside, the parameters are the average."""
        kept = [parameter.detach().clone() for parameter in self._parameters]
        self._write(self._shadows)
        try:
            yield
        finally:
            self._write(kept)

    @torch.no_grad()
    def _write(self, values: Sequence[torch.Tensor]) -> None:
        for parameter, value in zip(self._parameters, values, strict=True):
            parameter.copy_(value)

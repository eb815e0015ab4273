"""Examples as batches of tensors: read by the preprocessor that serves, held in memory as far as they fit.

Promises the very arrays that serving sees, in an order that is a function of seed and epoch alone. Knows nothing of
models or losses.

Legend: N rows, B batch, K classes (1 for regression).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch

from core.errors import LeptonError
from core.preprocess import Preprocessor, Row
from core.types import Example
from training import features

Rewrite = Callable[[bytes, np.random.Generator], bytes]


@dataclass(frozen=True)
class Batch:
    """Rows of one step.

    Attributes:
        inputs: (B, …) by name.
        targets_BK: shares of classes, or standardised values. weights_B: what a row counts.
        unlabelled: inputs of as many rows without labels; empty where there are none.
    """

    inputs: dict[str, torch.Tensor]
    targets_BK: torch.Tensor
    weights_B: torch.Tensor
    unlabelled: dict[str, torch.Tensor]

    def __len__(self) -> int:
        return len(self.targets_BK)

    def to(self, place: torch.device) -> Batch:
        """The same on another device."""
        return replace(
            self,
            inputs=_to(self.inputs, place),
            targets_BK=self.targets_BK.to(place),
            weights_B=self.weights_B.to(place),
            unlabelled=_to(self.unlabelled, place),
        )

    def split(self, rows: int) -> list[Batch]:
        """Batches of at most so many rows."""
        cuts = [slice(start, start + rows) for start in range(0, len(self), rows)]
        return [
            Batch(_cut(self.inputs, cut), self.targets_BK[cut], self.weights_B[cut], _cut(self.unlabelled, cut))
            for cut in cuts
        ]


class Feed:
    """Examples with their targets, read when they are asked for."""

    def __init__(
        self,
        examples: Sequence[Example],
        targets_NK: torch.Tensor,
        weights_N: torch.Tensor,
        preprocessor: Preprocessor,
        unlabelled: Sequence[Example] = (),
        rewrite: Rewrite | None = None,
    ) -> None:
        """``rewrite`` varies the bytes of a row before they are read."""
        self.examples, self.targets_NK, self.weights_N = tuple(examples), targets_NK, weights_N
        self.unlabelled = tuple(unlabelled)
        self._preprocessor, self._rewrite = preprocessor, rewrite

    def __len__(self) -> int:
        return len(self.examples)

    def batch(
        self, places: Sequence[int], others: Sequence[int] = (), chance: np.random.Generator | None = None
    ) -> Batch:
        """The rows at ``places``, beside the unlabelled ones at ``others``; varied where there is a ``chance``."""
        at = torch.tensor(list(places), dtype=torch.long)
        return Batch(
            inputs=self._inputs([self.examples[place] for place in places], chance),
            targets_BK=self.targets_NK[at],
            weights_B=self.weights_N[at],
            unlabelled=self._inputs([self.unlabelled[place] for place in others], chance),
        )

    def _inputs(self, examples: Sequence[Example], chance: np.random.Generator | None) -> dict[str, torch.Tensor]:
        if not examples:
            return {}
        if self._rewrite is None or chance is None:
            rows = [self._row(example) for example in examples]
        else:
            rows = [self._varied(example, self._rewrite, chance) for example in examples]
        return {name: torch.from_numpy(array) for name, array in self._preprocessor.batch(rows).items()}

    def _row(self, example: Example) -> Row:
        return features.read(example, self._preprocessor)

    def _varied(self, example: Example, rewrite: Rewrite, chance: np.random.Generator) -> Row:
        try:
            return self._preprocessor.read(rewrite(features.content(example), chance))
        except LeptonError:  # nothing readable was left of it
            return self._row(example)


def order(count: int, batch: int, seed: int, epoch: int) -> list[list[int]]:
    """All of ``count`` places in batches, shuffled anew for every epoch.

    >>> order(5, 2, seed=0, epoch=1) == order(5, 2, seed=0, epoch=1)
    True
    """
    drawn = np.random.default_rng([seed, epoch]).permutation(count).tolist()
    return [drawn[start : start + batch] for start in range(0, count, batch)]


def _to(tensors: dict[str, torch.Tensor], place: torch.device) -> dict[str, torch.Tensor]:
    return {name: tensor.to(place, non_blocking=True) for name, tensor in tensors.items()}


def _cut(tensors: dict[str, torch.Tensor], cut: slice) -> dict[str, torch.Tensor]:
    return {name: tensor[cut] for name, tensor in tensors.items()}

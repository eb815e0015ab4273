"""Examples as batches of tensors: read by the preprocessor that serves, held in memory as far as they fit.

Promises the very arrays that serving sees, in an order that is a function of seed and epoch alone; and that rows which
stand side by side in a batch only because something fills them up (short texts beside long ones) pass through apart.
Knows nothing of models or losses.

Legend: N rows, B batch, K classes (1 for regression).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch

from core.errors import LeptonError
from core.preprocess import Preprocessor, Row
from core.types import Example
from training import features

Rewrite = Callable[[bytes, np.random.Generator], bytes]
Shapes = tuple[tuple[int, ...], ...]  # of a row's inputs, in their order


@dataclass(frozen=True)
class Batch:
    """Rows of one step.

    Attributes:
        inputs: (B, …) by name.
        targets_BK: shares of classes, or standardised values. weights_B: what a row counts.
        unlabelled: inputs of as many rows without labels; empty where there are none.
        shapes: of every row before it was filled up to the largest; empty where none was.
    """

    inputs: dict[str, torch.Tensor]
    targets_BK: torch.Tensor
    weights_B: torch.Tensor
    unlabelled: dict[str, torch.Tensor]
    shapes: tuple[Shapes, ...] = ()

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

    def parts(self, rows: int, apart: bool = True) -> Iterator[tuple[torch.Tensor, Batch]]:
        """Places of at most so many rows, and these rows: where ``apart``, of one shape, not filled up."""
        shapes = self.shapes if apart and self.shapes else ((),) * len(self)
        for mine in sorted(set(shapes)):
            alike = [place for place, other in enumerate(shapes) if other == mine]
            for start in range(0, len(alike), rows):
                places_P = torch.tensor(alike[start : start + rows])
                yield places_P, self._cut(places_P, mine)

    def _cut(self, places_P: torch.Tensor, shapes: Shapes) -> Batch:
        """Some rows, without what fills them up beyond ``shapes``; where there are none, as they are."""
        at = places_P.to(self.targets_BK.device)
        sizes = dict(zip(self.inputs, shapes, strict=False))
        inputs = {name: held[at][(slice(None), *map(slice, sizes.get(name, ())))] for name, held in self.inputs.items()}
        unlabelled = {name: held[at] for name, held in self.unlabelled.items()}
        return Batch(inputs, self.targets_BK[at], self.weights_B[at], unlabelled)


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
        rows = self._rows([self.examples[place] for place in places], chance)
        inputs = self._inputs(rows)
        beside = self._inputs(self._rows([self.unlabelled[place] for place in others], chance))
        shapes = tuple(tuple(row.arrays[name].shape for name in inputs) for row in rows)
        filled = len(set(shapes)) > 1 and not beside  # who aligns features compares whole batches
        return Batch(inputs, self.targets_NK[at], self.weights_N[at], beside, shapes if filled else ())

    def _inputs(self, rows: Sequence[Row]) -> dict[str, torch.Tensor]:
        if not rows:
            return {}
        return {name: torch.from_numpy(array) for name, array in self._preprocessor.batch(rows).items()}

    def _rows(self, examples: Sequence[Example], chance: np.random.Generator | None) -> list[Row]:
        if self._rewrite is None or chance is None:
            return [self._row(example) for example in examples]
        return [self._varied(example, self._rewrite, chance) for example in examples]

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

"""How the rows of one training vary: the augmentation of their modality, by a plan.

Promises that nothing varies where the plan says so or the modality has no file in training.augment. Knows nothing of
steps or losses.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch.utils.hooks import RemovableHandle

from core import plugins
from core.types import Task
from training.augment import image, text
from training.tune.batches import Batch
from training.tune.plan import Plan

PACKAGE = "training.augment"

Rewriter = Callable[[str], str]


@dataclass(frozen=True)
class Variation:
    """What happens to rows on their way into a step.

    Attributes:
        plugin: a file of training.augment; None: nothing happens.
        rewriter: a function of the user's that says a text in other words, such as a back-translation.
    """

    plugin: Any
    plan: Plan
    task: Task
    rewriter: Rewriter | None = None

    @property
    def rewrites(self) -> bool:
        """Whether bytes are changed before they are read; what is not is read once and held."""
        return self.plugin is text

    def rewrite(self, data: bytes, chance: np.random.Generator) -> bytes:
        """The bytes of one example."""
        if self.plugin is None:
            return data
        if self.rewriter is not None and chance.random() < self.plan.strength:
            data = self.rewriter(data.decode("utf-8", errors="replace")).encode()
        rewritten: bytes = self.plugin.rewrite(data, self.plan.strength, chance)
        return rewritten

    def vary(self, batch: Batch, chance: np.random.Generator) -> Batch:
        """A batch, and the unlabelled rows beside it alike."""
        if self.plugin is None:
            return batch
        batch = replace(
            batch,
            inputs=self._vary(batch.inputs, chance),
            unlabelled=self._vary(batch.unlabelled, chance) if batch.unlabelled else {},
        )
        mixing = self.plan.mix > 0 and self.plugin is image and self.task == "classification"
        if not mixing or chance.random() >= self.plan.mix:
            return batch
        pixels, targets_BK = image.mixed(batch.inputs[image.KEY], batch.targets_BK, chance)
        return replace(batch, inputs={**batch.inputs, image.KEY: pixels}, targets_BK=targets_BK)

    def attach(self, body: torch.nn.Module, seed: int) -> Sequence[RemovableHandle]:
        """What happens inside the body."""
        if self.plugin is None:
            return ()
        handles: Sequence[RemovableHandle] = self.plugin.attach(body, self.plan.strength, np.random.default_rng(seed))
        return handles

    def _vary(self, inputs: dict[str, torch.Tensor], chance: np.random.Generator) -> dict[str, torch.Tensor]:
        varied: dict[str, torch.Tensor] = self.plugin.vary(inputs, self.plan.strength, chance)
        if self.plan.flip and self.plugin is image:
            varied[image.KEY] = image.mirrored(varied[image.KEY], chance)
        return varied


def of(modality: str, plan: Plan, task: Task, rewriter: Rewriter | None = None) -> Variation:
    """The variation of a modality's rows."""
    known = plan.augment and modality in plugins.names(PACKAGE)
    plugin = plugins.load(PACKAGE, modality) if known else None
    return Variation(plugin, plan, task, rewriter if modality == "text" else None)

"""Gradual unfreezing: first the last layers, then those below, until all are trained.

When to use: few labels and a deep backbone, most of all a transformer of texts: upper layers settle before lower ones
are touched at all. Limit: as fine-tuning; the lowest layers are trained for the shortest time, so a scene that looks
unlike everything before is better served by ``finetune``.

Promises what ``training.adapt`` asks of a recipe. Starts from the closed-form head, as ``finetune`` does.

Reference: Howard and Ruder, ULMFiT, arXiv 1801.06146.

>>> [stage(number, 8, 4) for number in range(1, 9)]
[1, 1, 2, 2, 3, 3, 4, 4]
"""

from __future__ import annotations

from dataclasses import dataclass

from exporters.backbone import Backbone
from training.recipe import Context, Rows, Tuned
from training.tune.layers import freeze, groups
from training.tune.plan import Plan
from training.tune.run import Job, tune_body


@dataclass(frozen=True, kw_only=True)
class Config(Plan):
    """Settings of gradual unfreezing; those of every training are in ``Plan``."""

    stages: int = 4
    """In how many equal steps the layers are unfrozen; the last step trains all of them."""
    layer_decay: float = 0.9
    """Factor on the rate from a layer to the one below it."""

    def __post_init__(self) -> None:
        """Check ranges."""
        super().__post_init__()
        if type(self.stages) is not int or not 1 <= self.stages <= 100:
            raise ValueError(f"stages is {self.stages!r}; expected a whole number from 1 to 100")
        if not 0 <= self.layer_decay <= 1:
            raise ValueError(f"layer_decay is {self.layer_decay!r}; expected a number from 0 to 1")


def examples() -> tuple[Config, ...]:
    """Two epochs, in two stages."""
    return (Config(epochs=2, rate=1e-3, batch=16, stages=2),)


def tune(base: Backbone, rows: Rows, config: Config, context: Context) -> Tuned:
    """The backbone with its weights moved. Raises as ``training.tune.run.tune_body``."""

    def prepare(job: Job) -> None:
        body = job.network.body
        job.groups = groups(body, config.layer_decay, config.decay)
        job.thaw = lambda number, epochs: freeze(body, 1 - stage(number, epochs, config.stages) / config.stages)

    return tune_body(base, rows, config, context, "gradual", prepare)


def stage(number: int, epochs: int, stages: int) -> int:
    """The stage, from 1, of epoch ``number`` of ``epochs``."""
    return min(stages, (number - 1) * stages // epochs + 1)

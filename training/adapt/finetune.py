"""Fine-tuning from the closed-form head: probe first, then all weights, slowly, the lower layers slower still.

When to use: from some hundred labels on, where the scene looks unlike what the backbone was trained on (digits,
drawings, films): there features have to move. Limit: minutes instead of seconds; with ten labels a class it rarely
beats the closed form, and then the closed form stays. The network remembers its training rows: an erased person's
share in it is told, not removed.

Promises what ``training.adapt`` asks of a recipe. Since the head starts right, the first steps do not tear up good
features to repair a random one: a point better in distribution and ten under shift than plain fine-tuning, in the
paper. The weights that are kept are a moving average, at the epoch with the least validation loss.

Reference: Kumar et al., "Fine-tuning can distort pretrained features", arXiv 2202.10054 (LP-FT); Li et al.,
arXiv 1802.01483 (L2-SP).

>>> Config().layer_decay
0.8
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
    """Settings of fine-tuning; those of every training are in ``Plan``."""

    layer_decay: float = 0.8
    """Factor on the rate from a layer to the one below it."""
    frozen: float = 0.0
    """Share of the layers, from the input on, that is not trained."""

    def __post_init__(self) -> None:
        """Check ranges."""
        super().__post_init__()
        for name, value in (("layer_decay", self.layer_decay), ("frozen", self.frozen)):
            if not 0 <= value <= 1:
                raise ValueError(f"{name} is {value!r}; expected a number from 0 to 1")


def examples() -> tuple[Config, ...]:
    """Two epochs at a given rate; the upper half alone."""
    return (
        Config(epochs=2, rate=1e-3, batch=16),
        Config(epochs=2, rate=1e-3, batch=16, frozen=0.5, average=0.0, class_weights="balanced"),
    )


def tune(base: Backbone, rows: Rows, config: Config, context: Context) -> Tuned:
    """The backbone with its weights moved. Raises as ``training.tune.run.tune_body``."""

    def prepare(job: Job) -> None:
        freeze(job.network.body, config.frozen)
        job.groups = groups(job.network.body, config.layer_decay, config.decay)

    return tune_body(base, rows, config, context, "finetune", prepare)

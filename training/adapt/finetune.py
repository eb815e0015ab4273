"""Fine-tuning from the closed-form head: probe first, then all weights, slowly, the lower layers slower still.

When to use: where the scene looks unlike what the backbone was trained on (digits, drawings, films): there features
have to move, and five to ten labels a class were enough for that. Limit: minutes instead of seconds; where validation
rows see no gain the closed form stays. The network remembers its training rows: an erased person's share in it is told,
not removed.

Promises what ``training.adapt`` asks of a recipe. Since the head starts right, the first steps do not tear up good
features to repair a random one: a point better in distribution and ten under shift than plain fine-tuning, in the
paper. The weights that are kept are a moving average, at the epoch with the least validation loss, or at the last one
(``keep=last``), which was better where validation rows are few; where features are aligned, at the last one that does
the labelled scene no harm (``training.tune.choice``).

Reference: Kumar et al., "Fine-tuning can distort pretrained features", arXiv 2202.10054 (LP-FT); Li et al.,
arXiv 1802.01483 (L2-SP).

>>> Config().layer_decay
0.9
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from core.errors import InvalidInput
from exporters.backbone import Backbone
from training.recipe import Context, Rows, Tuned
from training.tune.adversary import Adversarial
from training.tune.alignment import Aligned
from training.tune.balance import Balanced
from training.tune.choice import last_unharmed
from training.tune.layers import freeze, groups
from training.tune.objective import Objective, Supervised
from training.tune.plan import Plan
from training.tune.run import Job, tune_body


@dataclass(frozen=True, kw_only=True)
class Config(Plan):
    """Settings of fine-tuning; those of every training are in ``Plan``."""

    layer_decay: float = 0.9
    """Factor on the rate from a layer to the one below it."""
    frozen: float = 0.0
    """Share of the layers, from the input on, that is not trained."""
    adversarial: Literal["none", "fgsm", "pgd", "trades"] = "none"
    """Whether pictures are changed against the network while it learns (training.tune.adversary)."""
    epsilon: float = 4.0
    """By how much at most, in pixel units of 0 to 255."""
    attack_steps: int = 5
    """Steps of the attack of ``pgd`` and ``trades``."""
    beta: float = 3.0
    """Weight of the second term of ``trades``: more is more robust and less accurate."""
    align: Literal["none", "dan", "dann"] = "none"
    """Whether features of unlabelled inputs are made alike to those of labelled ones (training.tune.alignment)."""
    align_weight: float = 1.0
    """Weight of that."""

    def __post_init__(self) -> None:
        """Check ranges."""
        super().__post_init__()
        for name, most in (("layer_decay", 1), ("frozen", 1), ("epsilon", 255), ("beta", 1e6), ("align_weight", 1e6)):
            value = getattr(self, name)
            if not 0 <= value <= most:
                raise ValueError(f"{name} is {value!r}; expected a number from 0 to {most:g}")
        if type(self.attack_steps) is not int or not 1 <= self.attack_steps <= 1000:
            raise ValueError(f"attack_steps is {self.attack_steps!r}; expected a whole number from 1 to 1000")
        for name, kinds in (("adversarial", ("none", "fgsm", "pgd", "trades")), ("align", ("none", "dan", "dann"))):
            if getattr(self, name) not in kinds:
                raise ValueError(f"{name} is {getattr(self, name)!r}; choose {', '.join(kinds)}")
        if self.adversarial != "none" and self.align != "none":
            raise ValueError("adversarial and align are both set; choose one of them")


def examples() -> tuple[Config, ...]:
    """Two epochs at a given rate; the upper half alone."""
    return (
        Config(epochs=2, rate=1e-3, batch=16),
        Config(epochs=2, rate=1e-3, batch=16, frozen=0.5, average=0.0, class_weights="balanced"),
    )


def tune(base: Backbone, rows: Rows, config: Config, context: Context) -> Tuned:
    """The backbone with its weights moved.

    Raises:
        InvalidInput: as ``training.tune.run.tune_body``; or a setting does not go with the data.
    """
    _check(base, config, context)

    def prepare(job: Job) -> None:
        freeze(job.network.body, config.frozen)
        job.groups = groups(job.network.body, config.layer_decay, config.decay)
        job.objective = objective = _objective(job.labels, base, config)
        if isinstance(objective, Aligned):
            job.thaw, job.chosen = objective.begin, last_unharmed

    return tune_body(base, rows, config, context, "finetune", prepare)


def _objective(labels: Supervised | Balanced, base: Backbone, config: Config) -> Objective:
    if isinstance(labels, Balanced):
        return labels
    if config.adversarial != "none":
        told = {"epsilon": config.epsilon, "beta": config.beta}
        return Adversarial(labels, config.adversarial, steps=config.attack_steps, **told)
    if config.align != "none":
        return Aligned(labels, config.align, config.align_weight, base.dimension)
    return labels


def _check(base: Backbone, config: Config, context: Context) -> None:
    for name in ("adversarial", "align"):
        if context.scene.further and getattr(config, name) != "none":
            raise InvalidInput(
                f"{name}={getattr(config, name)} is for a scene with one task, and {context.scene.name!r} has "
                f"{len(context.scene.tasks)}",
                "leave it out, or adapt a scene of its own for the task",
            )
    if config.adversarial != "none" and (base.modality != "image" or context.scene.task != "classification"):
        raise InvalidInput(
            f"adversarial={config.adversarial} was asked for on {base.modality} ({context.scene.task})",
            "leave it out: only pixels have a scale in which epsilon means something, and only classes have a border",
        )
    if config.align != "none" and not context.unlabelled:
        raise InvalidInput(
            f"align={config.align} aligns unlabelled inputs, and there are none", "give a folder of them (--unlabelled)"
        )

"""Low-rank adapters: each layer learns a small correction beside its weights, which stay; then both become one.

When to use: large transformers, little memory, few labels: a hundredth of the parameters is trained, and so little can
be forgotten. Limit: in small convolutional networks the corrections save nothing, and depthwise convolutions, which
have no ranks to speak of, get none; norms stay as they are.

Promises what ``training.adapt`` asks of a recipe, and that adapters are merged before export: the tuned backbone has
the very layers of the one it came from, at no cost when it serves. Starts from the closed-form head.

Reference: Hu et al., LoRA, arXiv 2106.09685; the library peft.

>>> Config().rank
8
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch

from core.errors import InvalidInput
from exporters.backbone import Backbone
from training.recipe import Context, Rows, Tuned
from training.tune.plan import Plan
from training.tune.run import Job, tune_body


@dataclass(frozen=True, kw_only=True)
class Config(Plan):
    """Settings of adapters; those of every training are in ``Plan``."""

    rank: int = 8
    """Rank of a correction."""
    alpha: int = 16
    """Scale of a correction: it counts alpha / rank."""
    pull: float = 0.0
    """Pull of corrections towards none."""

    def __post_init__(self) -> None:
        """Check ranges."""
        super().__post_init__()
        if type(self.rank) is not int or not 1 <= self.rank <= 1024:
            raise ValueError(f"rank is {self.rank!r}; expected a whole number from 1 to 1024")
        if type(self.alpha) is not int or not 1 <= self.alpha <= 10**6:
            raise ValueError(f"alpha is {self.alpha!r}; expected a whole number from 1")


def examples() -> tuple[Config, ...]:
    """Two epochs of rank 4."""
    return (Config(epochs=2, rate=3e-3, batch=16, rank=4, alpha=8),)


def tune(base: Backbone, rows: Rows, config: Config, context: Context) -> Tuned:
    """The backbone with corrections merged into its weights.

    Raises:
        InvalidInput: as ``training.tune.run.tune_body``; or no layer can be corrected.
    """

    def prepare(job: Job) -> None:
        body = job.network.body
        _inject(body, config, base.name)
        corrections = [parameter for parameter in body.parameters() if parameter.requires_grad]
        job.groups = [{"params": corrections, "scale": 1.0, "weight_decay": config.decay}]
        job.merge = _merged

    return tune_body(base, rows, config, context, "lora", prepare)


def _inject(body: torch.nn.Module, config: Config, name: str) -> None:
    from peft import LoraConfig, inject_adapter_in_model

    layers = [path for path, module in body.named_modules() if _fits(module)]
    if not layers:
        raise InvalidInput(f"{name} has no layer that takes a low-rank correction", "use --recipe finetune")
    inject_adapter_in_model(
        LoraConfig(r=config.rank, lora_alpha=config.alpha, target_modules=layers, lora_dropout=0.0), body
    )


def _fits(module: torch.nn.Module) -> bool:
    """Linear layers, and convolutions that see all channels."""
    return type(module) is torch.nn.Linear or (isinstance(module, torch.nn.Conv2d) and module.groups == 1)


def _merged(body: torch.nn.Module) -> torch.nn.Module:
    """Corrections added to the weights beside which they stood, and taken out."""
    from peft.tuners.lora import LoraLayer

    for path, module in list(body.named_modules()):
        if isinstance(module, LoraLayer):
            layer: Any = module
            layer.merge(safe_merge=True)
            parent, _, last = path.rpartition(".")
            setattr(body.get_submodule(parent), last, layer.get_base_layer())
    for parameter in body.parameters():
        parameter.requires_grad_(True)
    return body

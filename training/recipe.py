"""What a recipe of ``training.adapt`` is given and what it gives back.

Promises that every recipe is called alike, so that whoever searches, compares or repeats needs to know none of them.
Knows nothing of how weights are moved, of graphs or of the registry.

Legend: N rows, D features, K classes.
"""

from __future__ import annotations

import dataclasses
import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, cast

from core import plugins
from core.errors import InvalidInput
from core.preprocess import Limits
from core.types import Doubles, Example, Head, Scene
from exporters.backbone import Backbone
from exporters.transform import Transform
from training.tune.device import Device

RECIPES = "training.adapt"
FLOOR = "closed_form"  # the recipe that moves nothing, and that every other one has to match


class TooFew(InvalidInput):
    """There is too little to tune a backbone on; the closed form still serves."""


Setting = str | int | float | bool | None


@dataclass(frozen=True, kw_only=True)
class Rows:
    """Labelled examples: what is learned from, and what says when to stop. The test side is no concern of recipes."""

    train: tuple[Example, ...]
    validation: tuple[Example, ...]


@dataclass(frozen=True, kw_only=True)
class Epoch:
    """Where a recipe stands after one pass over the training rows.

    Attributes:
        number: from 1; 0 is before the first step. loss: mean over the training batches, as it was minimised; NaN
            before the first.
        validation_loss: cross-entropy, or the squared error over the variance, of the trained head.
        validation_score: its balanced accuracy, or R squared.
        rate: learning rate at the end. seconds: since the start. left: estimate until the end.
    """

    number: int
    loss: float
    validation_loss: float
    validation_score: float
    rate: float
    seconds: float
    left: float


@dataclass(frozen=True, kw_only=True)
class Context:
    """What stands around a recipe, the same for all that are compared.

    Attributes:
        head: the closed-form head of the training rows on the untouched backbone: where a trained head starts, and the
            order of classes. Rows of other labels are left out.
        transform: what scales the backbone's features before a head.
        budget: seconds, by ``clock``.
        unlabelled: inputs of the scene that the model is to serve, without labels.
        soft: what some training rows are taught instead of their labels, by task and example: shares of the classes
            of the task's head, or a value.
        rewriter: says a text in other words that mean the same: a back-translation, a paraphrase; the user's own.
        told: called with every epoch as it ends; epoch 0 comes first.
        noted: called with what a person should know: a halved batch, rows left out.
    """

    scene: Scene
    head: Head
    transform: Transform
    limits: Limits = field(default_factory=Limits)
    seed: int = 0
    budget: float = math.inf
    device: Device = field(default_factory=Device)
    unlabelled: Sequence[Example] = ()
    soft: Mapping[str, Mapping[str, Doubles]] = field(default_factory=dict, repr=False)
    rewriter: Callable[[str], str] | None = None
    told: Callable[[Epoch], None] = field(default=lambda epoch: None, repr=False)
    noted: Callable[[str], None] = field(default=lambda words: None, repr=False)
    clock: Callable[[], float] = field(default=time.monotonic, repr=False)


@dataclass(frozen=True, kw_only=True)
class Tuned:
    """What a recipe made of a backbone.

    Attributes:
        backbone: with moved weights, or the very one it was given where no epoch was better than its start.
        head: as it was trained beside the weights, never served; None where nothing was trained.
        history: epochs from 0. best: the one whose weights these are, the last one where a plan keeps that.
        stopped: why it ended.
        settings: every hyperparameter as it was used, found ones included.
        notes: what ``Context.noted`` was told.
    """

    backbone: Backbone
    head: Head | None = None
    history: tuple[Epoch, ...] = ()
    best: int = 0
    seconds: float = 0.0
    stopped: str = ""
    settings: Mapping[str, Setting] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    @property
    def moved(self) -> bool:
        """Whether any weight is another than before."""
        return bool(self.backbone.recipe) and self.best > 0


class Recipe(Protocol):
    """A file of ``training/adapt``; see the docstring of that package."""

    Config: type[Any]

    def tune(self, base: Backbone, rows: Rows, config: Any, context: Context) -> Tuned:
        """Move weights."""

    def examples(self) -> tuple[Any, ...]:
        """Small configurations."""


def load(name: str) -> Recipe:
    """A recipe by its name.

    Raises:
        LookupError: there is none; the message lists the choices.
    """
    return cast("Recipe", plugins.load(RECIPES, name))


def configure(name: str, settings: Mapping[str, object]) -> Any:
    """The configuration of a recipe with some fields set.

    Raises:
        InvalidInput: a field that the recipe does not have, or a value that does not fit.

    >>> configure("closed_form", {})
    Config()
    """
    owner = load(name).Config
    known = [field.name for field in dataclasses.fields(owner)]
    unknown = sorted(set(settings) - set(known))
    if unknown:
        raise InvalidInput(
            f"the recipe {name} has no setting {', '.join(unknown)}",
            f"choose among {', '.join(known)}" if known else "leave it out: this recipe has none",
        )
    try:
        return owner(**settings)
    except (TypeError, ValueError) as error:
        raise InvalidInput(f"a setting of the recipe {name} does not fit: {error}", "correct the value") from error


def told(config: Any) -> dict[str, Setting]:
    """The fields of a configuration as plain values, for manifests."""
    values = {field.name: getattr(config, field.name) for field in dataclasses.fields(config)}
    return {
        name: value if isinstance(value, str | int | float | bool | None) else str(value)
        for name, value in values.items()
    }

"""What a search may choose: a backbone, its picture size, the width under the head, a recipe, and its settings.

Promises that a recipe is searched over those of its ``Config`` fields that stand in ``RANGES``, whatever the recipe, so
that a new recipe needs no line here. Knows nothing of how a choice is tried, or of who chooses.

The width under the head is our pragmatic search for an architecture: a linear layer between backbone and head, narrower
than the features; everything else of the network is the backbone's.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from training import recipe
from training.recipe import FLOOR, Setting

FORMAT = 2  # counted up where the same numbers would mean something else


@dataclass(frozen=True, kw_only=True)
class Range:
    """Numbers from ``low`` to ``high``, evenly in their logarithm where ``log`` is set."""

    low: float
    high: float
    log: bool = False

    def draw(self, trial: Any, name: str) -> Setting:
        """What a trial suggests, to three digits."""
        return float(f"{trial.suggest_float(name, self.low, self.high, log=self.log):.3g}")


@dataclass(frozen=True)
class Among:
    """One of a few values."""

    values: tuple[Setting, ...]

    def draw(self, trial: Any, name: str) -> Setting:
        """What a trial suggests."""
        chosen: Setting = trial.suggest_categorical(name, self.values)
        return chosen


RANGES: Mapping[str, Range | Among] = {
    "rate": Range(low=1e-5, high=1e-2, log=True),
    "frozen": Among((0.0, 0.25, 0.5, 0.75)),
    "layer_decay": Among((0.75, 0.9, 1.0)),
    "strength": Range(low=0.0, high=1.0),  # of augmentation
    "rank": Among((2, 4, 8, 16, 32)),
}


@dataclass(frozen=True, kw_only=True)
class Choice:
    """One point of a space.

    Attributes:
        size: side of the pictures in pixels; None of other modalities.
        width: features that the head sees; None: all that the backbone has.
        settings: of the recipe, by name.
    """

    backbone: str
    size: int | None = None
    width: int | None = None
    recipe: str = FLOOR
    settings: Mapping[str, Setting] = field(default_factory=dict)

    @property
    def ground(self) -> tuple[str, int | None, int | None]:
        """What it stands on before any weight is moved."""
        return self.backbone, self.size, self.width

    def words(self) -> str:
        """The choice for a person.

        >>> Choice(backbone="lite0", size=64, recipe="lora", settings={"rank": 4}).words()
        'lite0 at 64 pixels, lora: rank 4'
        """
        where = f" at {self.size} pixels" if self.size else ""
        width = f", {self.width} features" if self.width else ""
        told = ", ".join(f"{name.replace('_', ' ')} {value}" for name, value in self.settings.items())
        return f"{self.backbone}{where}{width}, {self.recipe.replace('_', ' ')}" + (f": {told}" if told else "")


@dataclass(frozen=True, kw_only=True)
class Space:
    """What there is to choose from; every tuple has at least one entry."""

    backbones: tuple[str, ...]
    sizes: tuple[int | None, ...] = (None,)
    widths: tuple[int | None, ...] = (None,)
    recipes: tuple[str, ...]

    def draw(self, trial: Any, given: Choice | None = None) -> Choice:
        """The choice that an Optuna trial suggests; of a given one, only what that one sets."""
        name = trial.suggest_categorical("recipe", self.recipes)
        settings = searched(name) if given is None else tuple(given.settings)
        return Choice(
            backbone=trial.suggest_categorical("backbone", self.backbones),
            size=trial.suggest_categorical("size", self.sizes),
            width=trial.suggest_categorical("width", self.widths),
            recipe=name,
            settings={setting: RANGES[setting].draw(trial, f"{name}.{setting}") for setting in settings},
        )

    def parameters(self, choice: Choice) -> dict[str, Setting]:
        """A choice as the parameters that ``draw`` would make it of; what it leaves open is left out."""
        told = {f"{choice.recipe}.{name}": value for name, value in choice.settings.items()}
        ground: dict[str, Setting] = {"backbone": choice.backbone, "size": choice.size, "width": choice.width}
        return {"recipe": choice.recipe} | ground | told

    def key(self, *more: object) -> str:
        """A name of this space and of whatever else must be the same for its trials to compare."""
        ranges = {name: repr(RANGES[name]) for each in self.recipes for name in searched(each)}
        told = [FORMAT, dataclasses.asdict(self), ranges, [str(each) for each in more]]
        return hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()[:12]


def searched(name: str) -> tuple[str, ...]:
    """The settings of a recipe that are searched over.

    >>> searched("closed_form"), searched("lora")
    ((), ('rate', 'strength', 'rank'))
    """
    return tuple(each.name for each in dataclasses.fields(recipe.load(name).Config) if each.name in RANGES)


def near(size: int | None, smallest: int = 32, largest: int = 224) -> tuple[int | None, ...]:
    """Picture sizes around one that the data suggest.

    >>> near(64), near(None)
    ((48, 64, 96), (None,))
    """
    if size is None:
        return (None,)
    sizes = {size} | {side for side in (size * 3 // 4, size * 3 // 2) if smallest <= side <= largest}
    return tuple(sorted(sizes))


def widths(dimensions: Sequence[int]) -> tuple[int | None, ...]:
    """Widths under the head that are narrower than every backbone's features, and none.

    >>> widths([1280, 384])
    (None, 64, 128, 256)
    """
    return (None, *(width for width in (64, 128, 256, 512) if width < min(dimensions, default=0)))

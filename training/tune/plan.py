"""How a recipe trains: the settings that all of them share. Knows nothing of what it is applied to."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

MOST_EPOCHS = 10_000

Costs = Mapping[str, Mapping[str, float]]


@dataclass(frozen=True, kw_only=True)
class Plan:
    """Settings of the training loop; the defaults are for hundreds to thousands of labels."""

    epochs: int = 16
    """Passes over the training rows, at most."""
    batch: int = 32
    """Rows of one step, over all processes together; held where memory is short, by several smaller passes."""
    rate: float = 0.0
    """Learning rate of the last layer; 0 finds it by a range test (training.tune.rate)."""
    head_rate: float = 1.0
    """Factor on the rate for the head, which starts from the closed form and so is nearly right."""
    warmup: float = 0.1
    """Share of all steps over which the rate rises; afterwards it falls as a cosine."""
    decay: float = 0.0
    """Pull of weights towards zero (AdamW's decoupled weight decay)."""
    pull: float = 1.0
    """Pull of weights towards where they began (L2-SP, decoupled likewise): with few labels they should not go far."""
    clip: float = 1.0
    """Largest norm of a step's gradient; longer ones are shortened."""
    dropout: float = 0.1
    """Share of features that the trained head does not see in a step."""
    smoothing: float = 0.0
    """Label smoothing: share of a target that is spread evenly over all classes. A head in closed form is calibrated
    from the start, so that smoothing mostly makes it paler: 0 measured best."""
    class_weights: Literal["none", "balanced"] = "none"
    """Whether rows of rare classes weigh more, so that every class weighs the same."""
    costs: Costs = field(default_factory=dict)
    """What a wrong answer costs: true label to answered label to a number; adds the expected cost to the loss."""
    balance: Literal["equal", "uncertainty", "upgrad", "mgda", "pcgrad"] = "equal"
    """Of several tasks, how much each counts (training.tune.balance): the same; what is uncertain less; or as torchjd
    finds at every step, so that none suffers for another."""
    average: float = 0.98
    """Decay of the moving average of the weights that is measured and kept; 0 keeps the last weights themselves."""
    keep: Literal["best", "last"] = "best"
    """Which weights are kept: those of the epoch with the least validation loss, or those of the last, when the rate is
    down to nothing. The last need no validation row, so that all of them can say whether tuning was worth it."""
    patience: int = 10
    """Epochs without a better validation loss after which it stops; not where the last weights are kept."""
    batch_norm: Literal["frozen", "batch"] = "frozen"
    """Statistics of BatchNorm: those that came with the weights, or those of each batch. With few labels, or small
    batches, the latter are noise; scale and shift are trained in either case."""
    augment: bool = True
    """Whether rows are varied as training.augment does for their modality."""
    strength: float = 0.5
    """How much they are varied: 0 not at all, 1 as much as still keeps labels right."""
    flip: bool = False
    """Whether pictures may be mirrored: not where left and right tell classes apart, as with letters and road signs."""
    mix: float = 0.0
    """Share of the batches of pictures in which each is mixed with another (mixup, CutMix); classification alone."""

    def __post_init__(self) -> None:
        """Check types and ranges: the values may come from a person."""
        for name, low, high in (("epochs", 1, MOST_EPOCHS), ("batch", 1, 65536), ("patience", 1, MOST_EPOCHS)):
            _whole(name, getattr(self, name), low, high)
        for name, most in (("rate", 10.0), ("head_rate", 1000.0), ("decay", 10.0), ("pull", 1e4), ("clip", 1e9)):
            _number(name, getattr(self, name), most)
        for name in ("warmup", "dropout", "smoothing", "average", "strength", "mix"):
            _number(name, getattr(self, name), 1.0, below=name in {"dropout", "average"})
        _one_of("keep", self.keep, "best", "last")
        _one_of("class_weights", self.class_weights, "none", "balanced")
        _one_of("batch_norm", self.batch_norm, "frozen", "batch")
        _one_of("balance", self.balance, "equal", "uncertainty", "upgrad", "mgda", "pcgrad")
        for name in ("augment", "flip"):
            if type(getattr(self, name)) is not bool:
                raise ValueError(f"{name} is {getattr(self, name)!r}; expected true or false")
        _check_costs(self.costs)


def _whole(name: str, value: object, low: int, high: int) -> None:
    if type(value) is not int or not low <= value <= high:
        raise ValueError(f"{name} is {value!r}; expected a whole number from {low} to {high}")


def _number(name: str, value: object, most: float, *, below: bool = False) -> None:
    fits = isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value <= most
    if not fits or (below and value == most):
        raise ValueError(f"{name} is {value!r}; expected a number from 0 to {'below ' if below else ''}{most:g}")


def _one_of(name: str, value: object, *choices: str) -> None:
    if value not in choices:
        raise ValueError(f"{name} is {value!r}; choose {', '.join(choices[:-1])} or {choices[-1]}")


def _check_costs(costs: object) -> None:
    if not isinstance(costs, Mapping) or not all(isinstance(row, Mapping) for row in costs.values()):
        raise ValueError(f'costs is {costs!r}; expected {{"true label": {{"answered label": 10}}}}')
    for truth, row in costs.items():
        for answer, cost in row.items():
            _number(f"costs[{truth!r}][{answer!r}]", cost, 1e6)

"""A backbone prepared for many small scenes: its features are tuned in episodes, so that a head of a few labels fits.

When to use: new small scenes come again and again, and labelled data of many classes that look like theirs lie here;
preparing takes minutes once, and every new scene adapts in seconds as before. Limit: it helps where new classes are
like those it was prepared on, and may harm elsewhere: name the prepared backbone beside the untouched one, and
leave-one-out chooses. The weights remember what they were prepared on: prepare anew where somebody of it is erased.

Promises that classes are kept apart to say when to stop, that what comes back is the best so far by those, and the base
itself where nothing was better; that the base keeps every bit; and the same weights for the same rows and seed on one
machine with one number of threads, unless the time runs out. Knows nothing of files or scenes.

Legend: N rows, D features, S support rows, Q query rows, K classes.
"""

from __future__ import annotations

import copy
import math
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import count, pairwise

import numpy as np
import torch

from core.errors import InvalidInput
from core.preprocess import Limits, modality
from core.types import Example
from exporters.backbone import Backbone
from exporters.transform import Transform
from training import episodes, tuned
from training.assemble import measured
from training.episodes import INNER, Inner, Ridge
from training.tune import layers, variation
from training.tune.average import Average
from training.tune.batches import Feed
from training.tune.losses import cross_entropy
from training.tune.network import Scale, torch_body
from training.tune.plan import Plan
from training.tune.schedule import factor

KEPT_APART = 1 / 3  # of a source's classes, to say when to stop
FEWEST = 5  # classes that a source needs for that
JUDGED, SHOWN = 20, 60  # rows of a class kept apart, and episodes of them, that judge
_NEW = 10.0  # factor on the rate of what the head within an episode learns along
_AT_ONCE = 32

Clock = Callable[[], float]


@dataclass(frozen=True, kw_only=True)
class Preparing:
    """How a backbone is prepared."""

    inner: str = "ridge"
    """How a head is found within an episode: ridge, prototype or anil (training.episodes)."""
    ways: int = 5
    """Classes of an episode, at most."""
    shots: int = 5
    """Labelled rows of each."""
    queries: int = 5
    """Other rows of each, which ask."""
    episodes: int = 600
    """At most."""
    every: int = 30
    """Episodes between two looks at the classes kept apart."""
    patience: int = 5
    """Looks without anything better, after which it stops."""
    rate: float = 3e-4
    """Learning rate of the last layer; it rises, then falls as a cosine."""
    layer_decay: float = 0.9
    """Factor on the rate from a layer to the one below it."""
    pull: float = 1.0
    """Pull of weights towards where they began, in proportion to the rate."""
    average: float = 0.98
    """Decay of the moving average of the weights that is judged and kept."""

    @property
    def rows(self) -> int:
        """That pass through the backbone in all episodes."""
        return self.episodes * self.ways * (self.shots + self.queries)

    def __post_init__(self) -> None:
        """Check ranges: the values may come from a person."""
        if self.inner not in INNER:
            raise InvalidInput(f"inner is {self.inner!r}", f"choose one of: {', '.join(INNER)}")
        for name, low in (("ways", 2), ("shots", 1), ("queries", 1), ("episodes", 1), ("every", 1), ("patience", 1)):
            if not low <= getattr(self, name) <= 10_000:
                raise InvalidInput(f"{name} is {getattr(self, name)}", f"give a whole number from {low} to 10000")
        if not 0 < self.rate <= 1:
            raise InvalidInput(f"rate is {self.rate}", "give a number above 0, up to 1")


@dataclass(frozen=True, kw_only=True)
class Look:
    """What the classes kept apart said after so many episodes; ``loss`` is the mean since the look before."""

    episode: int
    loss: float
    score: float
    seconds: float


@dataclass(frozen=True, kw_only=True)
class Prepared:
    """What came of it; ``best`` is the look whose weights these are, the first where the base stays."""

    backbone: Backbone
    looks: tuple[Look, ...]
    best: Look
    stopped: str
    classes: tuple[int, int] = field(default=(0, 0))  # learned from, and kept apart


def prepare(
    base: Backbone,
    sources: Sequence[Sequence[Example]],
    plan: Preparing,
    *,
    seed: int = 0,
    budget: float = math.inf,
    limits: Limits | None = None,
    told: Callable[[Look], None] = lambda look: None,
    clock: Clock = time.monotonic,
) -> Prepared:
    """Tune a copy of ``base`` in episodes, each of classes of one source.

    Raises:
        InvalidInput: the backbone is no torch model, or no source has classes enough.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return _Preparation(base, sources, plan, seed, limits or Limits()).run(budget, told, clock)


class _Stop(Exception):
    """Why there is no further episode."""


class _Preparation:
    """One preparation: a copy of the body, which it moves."""

    def __init__(
        self, base: Backbone, sources: Sequence[Sequence[Example]], plan: Preparing, seed: int, limits: Limits
    ) -> None:
        self._base, self._plan, self._seed = base, plan, seed
        examples = [example for source in sources for example in source]
        self._learned, self._apart = _sides(sources, plan.shots + 1, seed)
        reader = modality(base.modality).preprocessor(base.inputs, base.files, limits)
        self._feed = Feed(examples, torch.zeros(len(examples), 1), torch.ones(len(examples)), reader)
        self._varied = variation.of(base.modality, Plan(), "classification")
        self._body = copy.deepcopy(torch_body(base))
        self._inner: Inner = INNER[plan.inner]()
        self._scale = self._scaled()
        groups = layers.groups(self._body, plan.layer_decay, 0.0)
        groups.append({"params": list(self._inner.parameters()), "scale": _NEW, "weight_decay": 0.0})
        self._optimiser = torch.optim.AdamW([{**group, "lr": plan.rate} for group in groups], fused=True)
        self._moved = [p for group in groups[:-1] for p in group["params"]]
        self._start = [parameter.detach().clone() for parameter in self._moved]
        self._average = Average(self._moved, plan.average)

    def run(self, budget: float, told: Callable[[Look], None], clock: Clock) -> Prepared:
        """Until something ends it."""
        begun, total, losses = clock(), self._plan.episodes, list[float]()
        best = self._look(0, math.nan, 0.0)
        kept, looks = self._state(), [best]
        told(best)
        try:
            for number in count(1):
                losses.append(self._learn(number, number / total))
                late = clock() - begun >= budget
                if number % self._plan.every and number < total and not late:
                    continue
                looks.append(self._look(number, float(np.mean(losses)), clock() - begun))
                told(looks[-1])
                losses.clear()
                if looks[-1].score > best.score:
                    best, kept = looks[-1], self._state()
                total = max(number, int(min(total, number * budget / max(looks[-1].seconds, 1e-9))))
                if (number - best.episode) // self._plan.every >= self._plan.patience:
                    raise _Stop(f"nothing better for {self._plan.patience} looks")
                if number >= total or late:
                    short = "" if number >= self._plan.episodes else ", as the time allowed"
                    raise _Stop(f"after {number} episodes{short}")
        except _Stop as stop:
            stopped = str(stop)
        except torch.OutOfMemoryError:
            stopped = "memory does not suffice for an episode: ask for fewer ways, shots or queries"
        self._body.load_state_dict(kept)
        backbone = tuned.moved(self._base, self._body, "prepare") if best.episode else self._base
        classes = sum(map(len, self._learned)), sum(map(len, self._apart))
        return Prepared(backbone=backbone, looks=tuple(looks), best=best, stopped=stopped, classes=classes)

    def _learn(self, number: int, through: float) -> float:
        """One episode, at a rate by how much of the way is gone."""
        chance = np.random.default_rng([self._seed, number])
        sizes = np.array([len(classes) for classes in self._learned], np.float64)
        source = self._learned[int(chance.choice(len(sizes), p=sizes / sizes.sum()))]
        plan = self._plan
        episode = episodes.draw(source, plan.ways, plan.shots, plan.queries, chance)
        batch = self._varied.vary(self._feed.batch((*episode.support, *episode.query)), chance)
        self._body.train()
        layers.steady(self._body)
        for group in self._optimiser.param_groups:
            group["lr"] = plan.rate * group["scale"] * factor(round(1000 * min(through, 1.0)), 1000, 0.1)
        self._optimiser.zero_grad()
        features_ND = self._scale(self._body(**batch.inputs).float())
        cut = len(episode.support)
        scores_QK, targets_QK = episodes.answered(self._inner, features_ND[:cut], features_ND[cut:], episode)
        loss = cross_entropy(scores_QK, targets_QK).mean()
        loss.backward()  # type: ignore[no-untyped-call]
        norm, told = (
            torch.nn.utils.clip_grad_norm_([*self._moved, *self._inner.parameters()], 1.0),
            float(loss.detach()),
        )
        if not math.isfinite(told) or not bool(norm.isfinite()):
            raise _Stop(f"the loss was no number in episode {number}")
        self._optimiser.step()
        self._pull()
        self._average.update()
        return told

    @torch.no_grad()
    def _pull(self) -> None:
        """Every weight a little back to where it began."""
        start = iter(self._start)
        for group in self._optimiser.param_groups[:-1]:
            held = [next(start) for _ in group["params"]]
            torch._foreach_lerp_([p.detach() for p in group["params"]], held, min(1.0, group["lr"] * self._plan.pull))

    @torch.no_grad()
    def _look(self, number: int, loss: float, seconds: float) -> Look:
        """Score episodes of the classes kept apart, the same ones every time, by ridge regression."""
        scores: list[float] = []
        judge = Ridge()
        with self._average.in_place():
            for place, source in enumerate(self._apart):
                held = [list(rows)[:JUDGED] for rows in source]
                features_ND = self._features([row for rows in held for row in rows])
                ends = np.cumsum([0, *(len(rows) for rows in held)]).tolist()
                local = [range(start, stop) for start, stop in pairwise(ends)]
                chance = np.random.default_rng([self._seed, place])
                for _ in range(-(-SHOWN // len(self._apart))):
                    drawn = episodes.draw(local, self._plan.ways, self._plan.shots, JUDGED, chance)
                    support_SD, query_QD = features_ND[list(drawn.support)], features_ND[list(drawn.query)]
                    scores_QK, targets_QK = episodes.answered(judge, support_SD, query_QD, drawn)
                    scores.append(float((scores_QK.argmax(dim=1) == targets_QK.argmax(dim=1)).float().mean()))
        return Look(episode=number, loss=loss, score=float(np.mean(scores)), seconds=seconds)

    def _features(self, places: Sequence[int]) -> torch.Tensor:
        self._body.eval()
        parts = [
            self._scale(self._body(**self._feed.batch(places[start : start + _AT_ONCE]).inputs).float())
            for start in range(0, len(places), _AT_ONCE)
        ]
        return torch.cat(parts)

    @torch.no_grad()
    def _scaled(self) -> Scale:
        """The transform that suits the backbone, measured where it has to be."""
        kind = self._base.transform
        if kind != "standardised":
            return Scale(Transform(kind=kind))
        some = np.random.default_rng(self._seed).permutation(len(self._feed))[:256].tolist()
        raw_ND = torch.cat([self._body.eval()(**self._feed.batch([place]).inputs).float() for place in some])
        return Scale(measured(kind, raw_ND.numpy()))

    def _state(self) -> dict[str, torch.Tensor]:
        with self._average.in_place():
            return {name: tensor.detach().clone() for name, tensor in self._body.state_dict().items()}


Classes = list[list[list[int]]]  # of every source, of every class, the places of its rows


def _sides(sources: Sequence[Sequence[Example]], fewest: int, seed: int) -> tuple[Classes, Classes]:
    """Classes to learn from, and classes kept apart; those of fewer rows than ``fewest`` are left out."""
    chance = np.random.default_rng(seed)
    learned, apart = Classes(), Classes()
    first = 0
    for source in sources:
        by_class: dict[str, list[int]] = defaultdict(list)
        for place, example in enumerate(source, first):
            by_class[example.label or ""].append(place)
        first += len(source)
        classes = [rows for _, rows in sorted(by_class.items()) if len(rows) >= fewest]
        drawn = [classes[place] for place in chance.permutation(len(classes))]
        cut = round(KEPT_APART * len(drawn)) if len(drawn) >= FEWEST else 0
        if cut:
            apart.append(drawn[:cut])
        if len(drawn) - cut > 1:
            learned.append(drawn[cut:])
    if not apart or not learned:
        raise InvalidInput(
            f"no source has {FEWEST} classes of {fewest} rows",
            "give data with more classes, or ask for fewer shots: a third of the classes says when to stop",
        )
    return learned, apart

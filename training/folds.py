"""What teaches parted in two, where it judges by turns: weights are tuned on each half, each answers the examples of
the other, and where both lead together is what could be served.

Promises that no example is answered, where the gate compares, by weights that were tuned on it; and that who is in
which half follows from a keyed hash of the example alone, so that a scene from which somebody was erased is parted as
one that never saw them. What could be served is judged by the anchor set, which none of the three has seen. Knows
nothing of recipes.

Cross-fitting: Chernozhukov et al., arXiv 1608.00060. How two moves become one: ``training/sweep.py``.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from core.holdouts import drawn
from core.types import Example, GridRows, Scene
from training.assemble import Assembly
from training.recipe import Rows
from training.stock import Stock

FOLDS = 2
WATCHED = 32  # rows, at least, by which the tuning of a half is watched; where there are fewer, all of them


@dataclass(frozen=True, kw_only=True)
class Fold:
    """Weights that answer some examples in the candidate's stead.

    Attributes:
        assembly: the candidate's graph with these weights.
        judged: the examples that they answer. learned: those that they were tuned on, no judged one among them.
        known: features by example, as far as they were asked for.
    """

    assembly: Assembly
    judged: frozenset[str]
    learned: frozenset[str] = frozenset()
    known: Mapping[str, GridRows] = field(default_factory=dict, repr=False)


def part(names: Iterable[str], scene: Scene) -> tuple[frozenset[str], ...]:
    """The two halves of some examples.

    >>> one, other = part(["a", "b", "c", "d"], Scene(name="s", task="classification", modality="text"))
    >>> sorted(one | other), one & other
    (['a', 'b', 'c', 'd'], frozenset())
    """
    mine = frozenset(names)
    first = frozenset(name for name in mine if drawn(scene.hash_key, "fold", name, 1 / FOLDS))
    return first, mine - first


def turns(scene: Scene, stock: Stock) -> list[frozenset[str]]:
    """Those that judge, in turns: while some are asked the heads know all others. By turns the anchor is first."""
    if not stock.by_turns:
        return [stock.judging]
    return [stock.anchor, *part(stock.judging - stock.anchor, scene)]


def teaching(rows: Rows, scene: Scene, by_turns: bool) -> tuple[Rows, ...]:
    """What is tuned on, by turns each half of it; of those who say when to stop each half has its own, where they are
    many."""
    if not by_turns:
        return (rows,)
    held = frozenset(example.digest for example in rows.validation)
    watched = part(held, scene)
    if min(map(len, watched)) < WATCHED:
        watched = (held, held)
    return tuple(
        Rows(train=_among(rows.train, mine), validation=_among(rows.validation, watching))
        for mine, watching in zip(part(names(rows), scene), watched, strict=True)
    )


def _among(examples: tuple[Example, ...], names: frozenset[str]) -> tuple[Example, ...]:
    return tuple(example for example in examples if example.digest in names)


def names(rows: Rows) -> frozenset[str]:
    """The examples that are tuned on."""
    return frozenset(example.digest for example in rows.train)

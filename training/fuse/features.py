"""Features of several models side by side, one head solved for all of them together, in closed form.

When to use it: models that see different things (other architectures, other pretraining). Limit: it costs the time of
all members at every answer, so members that add nothing are dropped, one after the other, and the whole is at most
2,048 wide: beyond, every member is projected at random to its part of that.

Reference: members dropped backwards as in Caruana et al., "Ensemble selection", ICML 2004; the projection after Johnson
and Lindenstrauss, 1984.

>>> import numpy as np
>>> rows_ND = np.array([[9, 1], [8, 0], [1, 9], [0, 8]], np.int16) * 1000
>>> members = [Member(name="one", features_ND=rows_ND), Member(name="other", features_ND=rows_ND[:, ::-1])]
>>> targets_NK = np.repeat(np.eye(2), 2, axis=0)
>>> fuse(Given(members=members, task="classification", targets_NK=targets_NK, judged_N=np.ones(4, bool))).alphas
(0.5, 0.5)
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from core.statistics import from_grid, to_grid
from core.types import Doubles, GridRows
from exporters.transform import combine, projection
from training.merge.members import Given, Member, Mix, held_out, outcomes, score, shares

SPACE = "features"
SYMMETRIC = True


@dataclass(frozen=True, kw_only=True)
class Config:
    """When a member pays for its time, and how wide the whole may be."""

    widest: int = 2048
    """Features of all members together; the head's memory grows with the square."""
    worth: float = 0.0
    """Score that a member must add to stay."""
    least: int = 2
    """Members that stay in any case."""

    def __post_init__(self) -> None:
        """Check ranges."""
        if self.widest < 1 or self.least < 1:
            raise ValueError(f"widest is {self.widest} and least {self.least}; expected at least 1")
        if not 0 <= self.worth < 1:
            raise ValueError(f"worth is {self.worth}; expected 0 to below 1")


def examples() -> tuple[Config, ...]:
    """The default, a narrow one, and one whose members must pay."""
    return Config(), Config(widest=5), Config(worth=0.01, least=1)


def fuse(given: Given, config: Config = Config()) -> Mix:
    """Drop members that do not pay; α is how much of the features' squared length each has, the same for all kept."""
    kept = list(range(len(given.members)))
    whole_J = _judge(given, kept, config)
    tried = {_told(given, kept): score(given, whole_J)}
    while len(kept) > config.least:
        rests = {place: [other for other in kept if other != place] for place in kept}
        found = {place: _judge(given, rest, config) for place, rest in rests.items()}
        tried |= {_told(given, rests[place]): score(given, rest_J) for place, rest_J in found.items()}
        whole = score(given, whole_J)
        idle = [place for place, rest_J in found.items() if whole - score(given, rest_J) <= config.worth]
        if not idle:
            break
        out = max(idle, key=lambda place: (score(given, found[place]), given.members[place].milliseconds))
        kept, whole_J = rests[out], found[out]
    return Mix(
        alphas=shares([float(place in kept) for place in range(len(given.members))]),
        widths=tuple(widths([member.features_ND.shape[1] for member in given.members], kept, config.widest)),
        blocks=False,
        outcomes_N=whole_J,
        tried=tried,
    )


def widths(dimensions: Sequence[int], kept: Sequence[int], widest: int) -> list[int]:
    """How many features each member has in the whole; those that are not kept keep theirs."""
    total = sum(dimensions[place] for place in kept)
    if total <= widest:
        return list(dimensions)
    return [max(1, widest * size // total) if place in kept else size for place, size in enumerate(dimensions)]


def joined(members: Sequence[Member], wide: Sequence[int]) -> GridRows:
    """Features of members side by side, as the composed graph gives them but for a second rounding."""
    parts = []
    for member, width in zip(members, wide, strict=True):
        rows_ND = from_grid(member.features_ND)
        narrower = width < rows_ND.shape[1]
        parts.append(rows_ND @ projection(rows_ND.shape[1], width).astype(np.float64) if narrower else rows_ND)
    return to_grid(combine(parts))


def _judge(given: Given, kept: Sequence[int], config: Config) -> Doubles:
    chosen = [given.members[place] for place in kept]
    if len(chosen) == 1:
        return outcomes(given, held_out(given, chosen[0].features_ND))
    wide = widths([member.features_ND.shape[1] for member in chosen], range(len(chosen)), config.widest)
    return outcomes(given, held_out(given, joined(chosen, wide)))


def _told(given: Given, kept: Sequence[int]) -> str:
    return " + ".join(given.members[place].name for place in kept)

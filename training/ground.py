"""What a cycle of retraining stands on, and what it makes of that: the ground, and a candidate.

Knows nothing of how weights are moved, or of who is compared with whom.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field

from core.bundle import Tuning
from core.follow import Follower
from core.home import Home
from core.job_settings import RetrainSettings
from core.types import Example, GridRows, Scene
from training import regained
from training.assemble import Assembly
from training.folds import Fold
from training.judge import Bench
from training.merge.parents import Parent
from training.reporter import Reporter
from training.stock import Stock


@dataclass(frozen=True, kw_only=True)
class Ground:
    """What a cycle stands on.

    Attributes:
        champion: the version that serves. follower: of its features.
        asked: the policy, with what was asked for this cycle alone. settings: of the recipe, by name.
        start: base or champion. tainted: the champion has learned of somebody who was erased, so that it has to go.
        deadline: by ``time.monotonic``.
    """

    home: Home
    scene: Scene
    champion: Parent
    follower: Follower
    stock: Stock
    asked: RetrainSettings
    settings: Mapping[str, object]
    start: str
    tainted: bool
    seed: int
    deadline: float
    reporter: Reporter

    @property
    def bench(self) -> Bench:
        """What stands around a judgement."""
        kind = regained.kind(self.champion.manifest)
        return Bench(self.scene, self.home.cache, self.home.limits, kind, os.cpu_count() or 1, self.seed)

    @property
    def goes_on(self) -> bool:
        """Whether tuning begins from weights that have seen labels of the scene."""
        return self.start == "champion" and any(member.tuned for member in self.champion.manifest.members)

    def serves(self, assembly: Assembly) -> bool:
        """Whether a graph computes the champion's very features."""
        return assembly.extractor == self.champion.manifest.extractor

    def served(self) -> dict[str, GridRows]:
        """(D,) the champion's features by example, of all that stands."""
        return {name: row.features for each in self.follower.tasks for name, row in each.state.rows.items()}


@dataclass(frozen=True, kw_only=True)
class Candidate:
    """A graph that could take the champion's place, its head still empty.

    Attributes:
        recipe: that moved its weights. tuning: what the manifest says of that; None where none was moved.
        spared: examples on which no weight was tuned; none where none was on any. learned: those on which some was.
        drawn: teaching examples on which parity was shown, unless the champion's graph was made again.
        folds: who answers for it in the gate what it was tuned on; none where no weight was moved.
        known: its features by example, as far as they were asked for on the way.
    """

    recipe: str
    assembly: Assembly
    tuning: Tuning | None = None
    spared: frozenset[str] = frozenset()
    learned: frozenset[str] = frozenset()
    drawn: tuple[Example, ...] = field(repr=False)
    folds: tuple[Fold, ...] = ()
    known: Mapping[str, GridRows] = field(default_factory=dict, repr=False)

"""A scene whose labels come in batches, some wrong on purpose, under the guard and what can stand beside it.

Promises the real road: labels into the ledger, the learner's step, published revisions; whoever the guard names is
removed by one call, and a hold that names nobody is accepted. Knows nothing of tasks, nor of who lies how.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from core.annotators import remove
from core.config import Settings
from core.events import TRAINING, Feedback
from core.evidence import Evidence
from core.home import Home, open_home
from core.label_settings import GuardSettings, HygieneSettings
from core.types import GridRows, Head, Scene
from learner.loop import Learner
from learner.metrics import Metrics

EXTRACTOR, VERSION = "features", "v" * 64

DEFENCES: dict[str, tuple[GuardSettings, HygieneSettings]] = {
    "none": (GuardSettings(on=False), HygieneSettings()),
    "guard (the default)": (GuardSettings(), HygieneSettings()),
    "guard, quarantine": (GuardSettings(), HygieneSettings(quarantine=True)),
    "guard, second opinion": (GuardSettings(), HygieneSettings(second_opinion=True)),
}


@dataclass(frozen=True, eq=False)
class Said:
    """One label of the stream, a class or a value, and whether it is wrong on purpose."""

    name: str
    features: GridRows
    told: str | float
    annotator: str
    wrong: bool


class Attacked:
    """One scene with a learner: what was taught first is in its head."""

    def __init__(self, home: Home, scene: Scene) -> None:
        self.home, self.scene = home, scene.name
        self.removed: set[str] = set()
        self.held = 0  # revisions
        self._learner = Learner(home, "benchmark", Metrics())
        self.step()

    def stream(self, batches: Sequence[Sequence[Said]]) -> None:
        """Labels in, batch by batch; those of annotators who were removed are not taken."""
        for batch in batches:
            for each in batch:
                if each.annotator not in self.removed:
                    evidence = Evidence(example=each.name, features={EXTRACTOR: each.features})
                    self.home.ledger.add(_feedback(self.scene, each.name, each.told, each.annotator), evidence)
            self.step()
            self._answer()

    def step(self) -> None:
        """The learner's."""
        assert self._learner.lead()
        self._learner.step()

    def head(self) -> Head:
        """The one that serves."""
        revision = self.home.registry.latest_revision(self.scene, VERSION)
        assert revision is not None, "it was registered with one"
        return revision.head

    def caught(self, batches: Sequence[Sequence[Said]]) -> tuple[float, float]:
        """Of the wrong labels the share that does not count, and of the right ones whose annotators may go on."""
        follower = self.home.follower(
            self.home.registry.scene(self.scene), self.home.registry.version(self.scene, VERSION)
        )
        follower.catch_up()
        said = [(each, each.name not in follower.state.rows) for batch in batches for each in batch]
        wrong = [out for each, out in said if each.wrong]
        right = [out for each, out in said if not each.wrong and each.annotator not in self.removed]
        return float(np.mean(wrong)) if wrong else 0.0, float(np.mean(right))

    def _answer(self) -> None:
        """What a person says to a hold, if there is one."""
        hold = self.home.holds.of(self.scene)
        if hold is None:
            return
        self.held += 1
        if hold.annotator:
            self.removed.add(hold.annotator)
            remove(self.home, self.scene, hold.annotator)
        else:
            self.home.holds.accept(self.scene)
        self.step()


@contextmanager
def attacked(
    scene: Scene,
    taught: tuple[GridRows, Sequence[str | float]],
    blank: Head,
    guard: GuardSettings,
    hygiene: HygieneSettings,
) -> Iterator[Attacked]:
    """A scene with training data, (N, D) features and what is said of them, in a home of its own."""
    rows_ND, told = taught
    with tempfile.TemporaryDirectory() as folder:
        home = open_home(Settings(home=Path(folder), guard=guard, hygiene=hygiene))
        home.registry.declare(scene)
        home.evidence.keep([Evidence(example=f"o{n}", features={EXTRACTOR: row}) for n, row in enumerate(rows_ND)])
        home.ledger.teach(scene.name, [_feedback(scene.name, f"o{n}", each, "") for n, each in enumerate(told)])
        manifest = {"extractor": EXTRACTOR, "lineage": {"sequence": 0}, "features": rows_ND.shape[1]}
        home.registry.register(scene.name, VERSION, manifest, blank)
        yield Attacked(home, scene)
        home.close()


def _feedback(scene: str, example: str, told: str | float, annotator: str) -> Feedback:
    """A label as people give it; without an annotator, of training data."""
    label, value = (told, None) if isinstance(told, str) else (None, told)
    source = "feedback" if annotator else TRAINING
    return Feedback(scene=scene, example=example, label=label, value=value, annotator=annotator, source=source)

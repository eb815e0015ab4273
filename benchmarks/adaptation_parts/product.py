"""The product itself under a stream of pictures: a home, its ledger, the learner's step, and its cycle of retraining.

Promises that nothing of it is copied: the first version is what ``lepton adapt`` makes, labels are events of feedback
beside the features that were served, heads are those that the learner publishes, and a cycle is what ``lepton retrain``
runs, gate, promotion and all. Processor seconds of cycles and of heads are counted apart, those of answers not at all.
"""

from __future__ import annotations

import csv
import shutil
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from benchmarks.debian import BENCH
from benchmarks.draws import Names
from core.config import Settings
from core.events import Feedback
from core.evidence import Evidence
from core.home import open_home
from core.job_settings import RetrainSettings
from core.statistics import from_grid
from core.types import Example, GridRows, Scene
from learner.loop import Learner
from learner.metrics import Metrics
from lepton.output import Stages
from training import features, incremental, pipeline
from training.incremental import Cycle
from training.merge.parents import Parent

SCENE = "stream"
ASKED = RetrainSettings(labels=0, start="champion")  # never by itself: the stream says when
UNHURRIED = 3600.0  # seconds that a cycle may tune, so that a busy machine changes no result


class Counting(Stages):
    """Tells nobody anything, and counts the processor seconds of each stage."""

    def __init__(self) -> None:
        super().__init__(quiet=True)
        self.seconds: dict[str, float] = {}
        self._now, self._since = "", time.process_time()

    def stage(self, title: str) -> None:
        """A new stage begins."""
        self.end()
        self._now = title

    def end(self) -> None:
        """The last one is over."""
        begun, self._since = self._since, time.process_time()
        self.seconds[self._now] = round(self.seconds.get(self._now, 0.0) + self._since - begun, 1)


class Product:
    """One home, adapted to its first scene.

    Args:
        folder: of the home. backbone, size: what is adapted. seed: of everything.
        every: labels after which it retrains, as ``lepton retrain`` does where nothing else is asked.
    """

    def __init__(
        self,
        folder: Path,
        backbone: str,
        size: int,
        seed: int,
        every: int,
    ) -> None:
        self._folder, self._backbone, self._size, self._seed = folder, backbone, size, seed
        self.every = every
        self._served, self._rows = "", dict[str, GridRows]()
        self.seconds = self.head_seconds = 0.0
        self.cycles: list[Cycle] = []
        self.spent: list[dict[str, float]] = []
        self.held = 0

    def begin(self, examples: Sequence[Example]) -> None:
        """The first version, and its head."""
        graphs = BENCH / "features" / "graphs"
        graphs.mkdir(parents=True, exist_ok=True)
        (self._folder / "cache").mkdir(parents=True)
        (self._folder / "cache" / "graphs").symlink_to(graphs.resolve())  # exported once; features are computed anew
        self._home = open_home(Settings(home=self._folder, retrain=ASKED))
        request = pipeline.Request(
            scene=SCENE,
            data=_table(self._folder / "data", examples),
            backbones=(self._backbone,),
            recipe="closed_form",
            size=self._size,
            seed=self._seed,
        )
        labels = tuple(sorted({str(example.label) for example in examples}))
        key = f"stream {self._seed}".encode()  # of who judges: the same at every call
        scene = Scene(name=SCENE, task="classification", modality="image", labels=labels, hash_key=key)
        self._home.registry.declare(scene)
        pipeline.adapt(self._home, request, Stages(quiet=True))
        self._learner = Learner(self._home, "benchmark", Metrics())
        self._step()

    def answer(self, examples: Sequence[Example]) -> Names:
        """What the service would answer."""
        alias = self._home.registry.champion(SCENE)
        assert alias is not None, "it was adapted"
        if alias.version != self._served:
            self._served, self._rows = alias.version, {}
            version = self._home.registry.version(SCENE, alias.version)
            self._champion = Parent(version=version, bundle=self._home.bundle(alias.version), home=self._home)
        revision = self._home.registry.latest_revision(SCENE, self._served)
        assert revision is not None, "a version is registered with one"
        scores_NK = from_grid(self._of(examples)) @ revision.head.weight + revision.head.bias
        said_N: Names = np.array(revision.head.labels)[scores_NK.argmax(axis=1)]
        return said_N

    def learn(self, examples: Sequence[Example]) -> None:
        """Labels come as feedback on what was answered, and the learner takes its step."""
        extractor = self._champion.manifest.extractor
        for example, row in zip(examples, self._of(examples), strict=True):
            seen = Evidence(
                example=example.digest,
                features={extractor: row},
                media="image/png",
                path=str(Path(example.path).resolve()),
            )
            self._home.ledger.add(Feedback(scene=SCENE, example=example.digest, label=example.label), seen)
        self._step()

    def moment(self) -> None:
        """One cycle of retraining, and the head of today's labels."""
        request = incremental.Request(scene=SCENE, budget=UNHURRIED, seed=self._seed)
        counting, begun = Counting(), time.process_time()
        self.cycles.append(incremental.retrain(self._home, request, counting))
        self.seconds += time.process_time() - begun
        counting.end()
        self.spent.append(counting.seconds)
        self._step()

    def close(self) -> None:
        """Let go of the home."""
        self._home.close()

    def _of(self, examples: Sequence[Example]) -> GridRows:
        """(N, D) features by the champion, each computed once."""
        missing = [example for example in examples if example.digest not in self._rows]
        side = self._champion
        found_ND = features.extract(side.session, side.preprocessor, side.manifest.extractor, missing, None)
        self._rows |= {example.digest: row for example, row in zip(missing, found_ND, strict=True)}
        return np.stack([self._rows[example.digest] for example in examples])

    def _step(self) -> None:
        """The learner's; a head that the guard holds is let out, as a person does who looked at right labels."""
        begun = time.process_time()
        for _ in range(2):
            assert self._learner.lead()
            self._learner.step()
            if self._home.holds.of(SCENE) is None:
                break
            self.held += 1
            self._home.holds.accept(SCENE)
        self.head_seconds += time.process_time() - begun


def _table(folder: Path, examples: Sequence[Example]) -> Path:
    """The examples as data that ``lepton adapt`` takes, all of them to be learned."""
    folder.mkdir()
    with (folder / "data.csv").open("w", newline="", encoding="utf-8") as file:
        told = csv.writer(file)
        told.writerow(["image", "label", "split"])
        for example in examples:
            name = f"{example.digest}{Path(example.path).suffix}"
            shutil.copyfile(example.path, folder / name)
            told.writerow([name, example.label, "train"])
    return folder / "data.csv"

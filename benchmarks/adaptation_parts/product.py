"""The product itself under a stream: a home, its ledger, the learner's step, and its cycle of retraining.

Promises that nothing of it is copied: the first version is what ``lepton adapt`` makes, labels are events of feedback
beside the features that were served, heads are those that the learner publishes, a cycle is what ``lepton retrain``
runs, gate, promotion and all, and a challenger answers a copy of the traffic into the log, where the learner's referee
finds it. Processor seconds of cycles and of challengers (answers, heads, the referee) are counted; not those of the
champion's.
"""

from __future__ import annotations

import csv
import shutil
import time
import uuid
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from benchmarks.adaptation_parts.stages import Stream, text_of
from benchmarks.debian import BENCH
from benchmarks.draws import Names
from core.config import LabelSettings, Settings
from core.events import Feedback
from core.evidence import Evidence
from core.home import Home, open_home
from core.job_settings import RetrainSettings
from core.registry import Alias
from core.statistics import from_grid
from core.types import Example, GridRows, Prediction, Role, Scene
from learner.loop import Learner
from learner.metrics import Metrics
from learner.referee import Ruling, judge
from lepton.output import Stages
from training import features, incremental, pipeline
from training.incremental import Cycle
from training.merge.parents import Parent

SCENE = "stream"
ASKED = RetrainSettings(labels=0, start="champion")  # never by itself: the stream says when
ALIKE = LabelSettings(feedback=1)  # every label weighs the same, as it does in training from scratch
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
        folder: of the home. stream: what comes, what reads it, and after how many labels it retrains, as
            ``lepton retrain`` does where nothing else is asked. seed: of everything.
    """

    def __init__(self, folder: Path, stream: Stream, seed: int) -> None:
        self._folder, self._stream, self._seed = folder, stream, seed
        self.every = stream.every
        self._sides: dict[str, Side] = {}
        self.seconds = 0.0
        self.cycles: list[Cycle] = []
        self.rulings: list[Ruling] = []
        self.spent: list[dict[str, float]] = []
        self.held = 0

    @property
    def ruled(self) -> list[str]:
        """What evidence has ruled of challengers, as long as it was not to wait."""
        return [ruling.verdict for ruling in self.rulings if ruling.verdict != "wait"]

    def begin(self, examples: Sequence[Example]) -> None:
        """The first version, and its head."""
        graphs = BENCH / "features" / "graphs"
        graphs.mkdir(parents=True, exist_ok=True)
        (self._folder / "cache").mkdir(parents=True)
        (self._folder / "cache" / "graphs").symlink_to(graphs.resolve())  # exported once; features are computed anew
        self._home = open_home(Settings(home=self._folder, retrain=ASKED, labels=ALIKE))
        request = pipeline.Request(
            scene=SCENE,
            data=_table(self._folder / "data", examples, self._stream.modality),
            backbones=(self._stream.backbone,),
            recipe="closed_form",
            size=self._stream.size,
            seed=self._seed,
        )
        labels = tuple(sorted({str(example.label) for example in examples}))
        key = f"stream {self._seed}".encode()  # of who judges: the same at every call
        scene = Scene(name=SCENE, task="classification", modality=self._stream.modality, labels=labels, hash_key=key)
        self._home.registry.declare(scene)
        pipeline.adapt(self._home, request, Stages(quiet=True))
        self._learner = Learner(self._home, "benchmark", Metrics())
        self._step()

    def answer(self, examples: Sequence[Example]) -> Names:
        """What the service would answer."""
        return self._side(self._alias().version).answer(examples)

    def traffic(self, examples: Sequence[Example]) -> Names:
        """The same of inputs that come, which are logged; a challenger answers a copy."""
        said = self._side(self._alias().version).logged(examples, "champion")
        if (running := self._home.challenges.of(SCENE)) is not None:
            begun = time.process_time()
            self._side(running.version).logged(examples, "shadow")
            self.seconds += time.process_time() - begun
        return said

    def learn(self, examples: Sequence[Example]) -> None:
        """Labels come as feedback on what was answered, the learner takes its step, and its referee looks."""
        side = self._side(self._alias().version)
        for example, row in zip(examples, side.of(examples), strict=True):
            seen = Evidence(
                example=example.digest,
                features={side.parent.manifest.extractor: row},
                media=self._stream.media,
                path=str(Path(example.path).resolve()),
            )
            self._home.ledger.add(Feedback(scene=SCENE, example=example.digest, label=example.label), seen)
        begun, running = time.process_time(), self._home.challenges.of(SCENE)
        self._step()
        if running is not None:
            self.seconds += (time.process_time() - begun) / 2  # of two heads, one is the challenger's
            begun = time.process_time()
            self.rulings.append(judge(self._home, running))
            self.seconds += time.process_time() - begun

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

    def _alias(self) -> Alias:
        alias = self._home.registry.champion(SCENE)
        assert alias is not None, "it was adapted"
        return alias

    def _side(self, version: str) -> Side:
        if version not in self._sides:
            self._sides[version] = Side(self._home, version)
        return self._sides[version]

    def _step(self) -> None:
        """The learner's; a head that the guard holds is let out, as a person does who looked at right labels."""
        for _ in range(2):
            assert self._learner.lead()
            self._learner.step()
            if self._home.holds.of(SCENE) is None:
                break
            self.held += 1
            self._home.holds.accept(SCENE)


class Side:
    """One version that answers; each input is read once."""

    def __init__(self, home: Home, version: str) -> None:
        self._home, self._version, self._rows = home, version, dict[str, GridRows]()
        self.parent = Parent(version=home.registry.version(SCENE, version), bundle=home.bundle(version), home=home)

    def of(self, examples: Sequence[Example]) -> GridRows:
        """(N, D) features."""
        missing = [example for example in examples if example.digest not in self._rows]
        side = self.parent
        found_ND = features.extract(side.session, side.preprocessor, side.manifest.extractor, missing, None)
        self._rows |= {example.digest: row for example, row in zip(missing, found_ND, strict=True)}
        return np.stack([self._rows[example.digest] for example in examples])

    def answer(self, examples: Sequence[Example]) -> Names:
        """A label for each, by the newest head."""
        revision = self._home.registry.latest_revision(SCENE, self._version)
        assert revision is not None, "a version is registered with one"
        scores_NK = from_grid(self.of(examples)) @ revision.head.weight + revision.head.bias
        said_N: Names = np.array(revision.head.labels)[scores_NK.argmax(axis=1)]
        return said_N

    def logged(self, examples: Sequence[Example], role: Role) -> Names:
        """The same, written down as the service does."""
        said_N = self.answer(examples)
        told = [
            Prediction(
                prediction_id=f"{SCENE}:{uuid.uuid4().hex}",
                scene=SCENE,
                version=self._version,
                extractor=self.parent.manifest.extractor,
                revision=0,
                example=example.digest,
                features=row,
                label=str(said),
                value=None,
                confidence=1.0,
                margin=1.0,
                created_at=time.time(),
                role=role,
            )
            for example, row, said in zip(examples, self.of(examples), said_N, strict=True)
        ]
        self._home.predictions.append(told)
        return said_N


def _table(folder: Path, examples: Sequence[Example], modality: str) -> Path:
    """The examples as data that ``lepton adapt`` takes, all of them to be learned."""
    folder.mkdir()
    with (folder / "data.csv").open("w", newline="", encoding="utf-8") as file:
        told = csv.writer(file)
        told.writerow([modality, "label", "split"])
        for example in examples:
            said = text_of(example) if modality == "text" else _copied(example, folder)
            told.writerow([said, example.label, "train"])
    return folder / "data.csv"


def _copied(example: Example, folder: Path) -> str:
    name = f"{example.digest}{Path(example.path).suffix}"
    shutil.copyfile(example.path, folder / name)
    return name

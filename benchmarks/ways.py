"""Ways to carry EfficientNet-Lite0 to another scene by its labels, each timed: what ``benchmarks.recipes`` compares.

* The closed form on the untouched backbone; fine-tuning from a head at zero, and from the closed form (LP-FT, which is
  what the recipe does), the latter with its last weights in place of its best, too, and with layers unfrozen from the
  last on (gradual); adapters (lora).
* Weights: LP-FT once more with another seed, their uniform soup, the greedy soup of all, WiSE-FT by validation rows,
  and every point of its line.
* Lite0, 1 and 2 together: features side by side, logits by chosen α, and Lite0 taught by the latter (distill).
* ``auto``: what ``lepton adapt`` would serve after the same time.

Promises that no test picture is seen. Each training is ``SHORT`` and ends after ``BUDGET`` seconds at the latest, auto
after the same. Seconds are those of the processor, one thread: what else runs on the machine changes nothing.
"""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch

from benchmarks.debian import BENCH
from benchmarks.eyes import Eye, eye, seen, solved
from benchmarks.pairs import Draw, Pictures
from core.config import Settings
from core.home import open_home
from core.modality.image import preprocessor
from core.preprocess import Limits
from core.statistics import from_grid
from core.types import GridRows, Head, Scene
from exporters.backbone import Backbone
from exporters.transform import Transform
from training import auto, judge, recipe, zoo
from training.data import Dataset
from training.fuse import distill, greedy_soup, logits, uniform_soup, wise_ft
from training.fuse import features as side_by_side
from training.judge import Bench
from training.merge import members
from training.merge.ensemble import joint_of
from training.merge.members import Given, Member, Mix
from training.merge.soup import Kitchen
from training.merge.weights import State
from training.merge.weights import mean as mixed
from training.ready import Ready
from training.recipe import Context
from training.report import DataReport
from training.tune.batches import Feed
from training.tune.network import Tensors

CLOCK = time.process_time
BACKBONES = ("efficientnet_lite0", "efficientnet_lite1", "efficientnet_lite2")
BUDGET = 30.0
SHORT: dict[str, Any] = {"epochs": 8}  # instead of 16
FLOOR, PLAIN, TUNED, LORA = "closed form", "finetune, head from zero", "finetune (LP-FT)", "lora"
LAST, GRADUAL = "finetune (LP-FT), keep=last", "gradual unfreezing"
WISE, AUTO, POINT = "WiSE-FT, by validation", "auto", "WiSE-FT, α = "
SINGLE = (FLOOR, PLAIN, TUNED, LAST, LORA, GRADUAL)  # that auto is held against
ALPHAS = wise_ft.Config().alphas


@dataclass(frozen=True, kw_only=True)
class Bearer:
    """One draw, and the backbones before anything is moved.

    Attributes:
        head: the closed form of the training rows alone, on the first of them.
    """

    drawn: Draw
    pictures: Pictures
    backbones: tuple[Backbone, ...]
    head: Head = field(repr=False)

    @property
    def base(self) -> Backbone:
        """The one that is carried."""
        return self.backbones[0]

    def context(self, head: Head, seed: int) -> Context:
        """What a training is given."""
        scene = Scene(name="target", task="classification", modality="image", labels=head.labels)
        transform = Transform(kind=self.base.transform)
        return Context(scene=scene, head=head, transform=transform, seed=seed, budget=BUDGET, clock=CLOCK)

    def given(self, each: list[Member]) -> Given:
        """The taught rows as fusions take them; validation rows judge."""
        labels = [example.label or "" for example in self.drawn.taught]
        targets_NK = np.eye(len(self.drawn.labels))[[self.drawn.labels.index(label) for label in labels]]
        judged_N = np.arange(len(labels)) >= len(self.drawn.rows.train)
        return Given(
            members=each, task="classification", targets_NK=targets_NK, judged_N=judged_N, seed=self.drawn.seed
        )


Result = TypeVar("Result")
Made = tuple[str, Eye, float]  # the way, what it sees, and the seconds that it took


def bearer(drawn: Draw, pictures: Pictures, backbones: tuple[Backbone, ...]) -> Bearer:
    """With the head that trainings begin with."""
    taught_ND = eye(backbones[0]).see(pictures.taught)[: len(drawn.rows.train)]
    head = solved(Eye(see=lambda batches: taught_ND), taught_ND, drawn.rows.train)
    return Bearer(drawn=drawn, pictures=pictures, backbones=backbones, head=head)


def ways(of: Bearer) -> Iterator[Made]:
    """Every way but auto, one after the other."""
    floor = eye(of.base)
    yield FLOOR, floor, 0.0
    zero = replace(of.head, weight=np.zeros_like(of.head.weight), bias=np.zeros_like(of.head.bias))
    for name, recipe_name, head in ((PLAIN, "finetune", zero), (LORA, "lora", of.head), (GRADUAL, "gradual", of.head)):
        backbone, seconds = _tuned(of, recipe_name, head, of.drawn.seed)
        yield name, eye(backbone), seconds
    yield last(of)
    once, seconds = _tuned(of, "finetune", of.head, of.drawn.seed)
    tuned = eye(once)
    yield TUNED, tuned, seconds
    again, more = _tuned(of, "finetune", of.head, of.drawn.seed + 1000)
    yield from _soups(of, once, again, {0.0: floor, 1.0: tuned}, seconds, more)
    yield from _together(of)


def last(of: Bearer) -> Made:
    """LP-FT with the weights of its last epoch."""
    backbone, seconds = _tuned(of, "finetune", of.head, of.drawn.seed, keep="last")
    return LAST, eye(backbone), seconds


def explored(of: Bearer) -> tuple[Backbone, float]:
    """What ``auto`` serves, and what it took."""
    examples, labels = of.drawn.taught, of.drawn.labels
    report = DataReport(root="", task="classification", seen=len(examples), kept=len(examples), findings=())
    dataset = Dataset(examples=examples, labels=labels, task="classification", report=report, median_side=0)
    with tempfile.TemporaryDirectory() as folder:
        home = open_home(Settings(home=Path(folder)))
        scene = home.registry.declare(Scene(name="target", task="classification", modality="image", labels=labels))
        bench = Bench(scene=scene, cache=BENCH / "features", limits=Limits(), seed=of.drawn.seed)
        judged = judge.judge(of.base, of.drawn.rows, bench)
        floor = Ready(assembly=judged.assembly, parity=judged.parity, rows=judged.features)
        plan = auto.Plan(
            strategy="auto", backbones=BACKBONES[:1], load=load, size=of.base.size[0], budget=BUDGET, clock=CLOCK
        )
        begun = CLOCK()
        (backbone,) = auto.explored(home, dataset, floor, plan, bench, Quiet()).assembly.backbones
        home.close()
    return backbone, CLOCK() - begun


def load(name: str, size: int | None) -> Backbone:
    """A backbone of the zoo."""
    return zoo.load(name, zoo.Setting(size=size))


class Quiet:
    """A reporter whose notes go to standard error, and nothing else anywhere."""

    run = ""

    def metric(self, name: str, step: int, value: float) -> None:
        """Nothing is shown."""

    def stage(self, title: str) -> None:
        """Nothing is shown."""

    def progress(self, done: int, total: int) -> None:
        """Nothing is shown."""

    def note(self, words: str) -> None:
        """Progress."""
        print(f"    {words}", file=sys.stderr, flush=True)


def _tuned(of: Bearer, name: str, head: Head, seed: int, **more: object) -> tuple[Backbone, float]:
    config: Any = recipe.configure(name, SHORT | more)
    made, seconds = _timed(lambda: recipe.load(name).tune(of.base, of.drawn.rows, config, of.context(head, seed)))
    return made.backbone, seconds


def _soups(
    of: Bearer, once: Backbone, again: Backbone, ends: dict[float, Eye], seconds: float, more: float
) -> Iterator[Made]:
    """Mixed weights: of both trainings, and on the line from the untouched ones to the first, whose ends are known."""
    kitchen = Kitchen(
        kind=of.base.transform,
        batches=of.pictures.taught,
        backbones=[of.base, once, again],
        rows=of.given([]),
    )
    given = kitchen.given
    line = replace(given, states=given.states[:2])

    def looking(state: State) -> Eye:
        body = kitchen.filled(state)
        return Eye(see=lambda batches: seen(body, of.base, batches))

    mixes: dict[str, tuple[Callable[[], State], float]] = {
        "uniform soup of two": (
            lambda: uniform_soup.fuse(replace(given, states=given.states[1:])).state,
            seconds + more,
        ),
        "greedy soup of three": (lambda: greedy_soup.fuse(given).state, seconds + more),
    }
    for name, (choose, spent) in mixes.items():
        state, chosen = _timed(choose)
        yield name, looking(state), spent + chosen
    soup, chosen = _timed(lambda: wise_ft.fuse(line))
    points = ends | {alpha: looking(mixed(line.states, (1 - alpha, alpha))) for alpha in ALPHAS if alpha not in ends}
    yield WISE, points[soup.chosen["share"]], seconds + chosen
    for alpha in ALPHAS:
        yield f"{POINT}{alpha:g}", points[alpha], seconds


def _together(of: Bearer) -> Iterator[Made]:
    """Three backbones, and one that they teach."""
    held: dict[tuple[int, int], GridRows] = {}

    def by(place: int, batches: list[Tensors]) -> GridRows:
        if (place, id(batches)) not in held:  # the same lists come again and again, and are kept by the draw
            held[place, id(batches)] = eye(of.backbones[place]).see(batches)
        return held[place, id(batches)]

    def looking(mix: Mix) -> Eye:
        joint = joint_of(mix)

        def see(batches: list[Tensors]) -> GridRows:
            chosen = [Member(name="", features_ND=by(place, batches)) for place in mix.kept]
            return side_by_side.joined(chosen, joint.widths)

        return Eye(see=see, blocks=joint.cut())

    each, seeing = _timed(
        lambda: [Member(name=b.name, features_ND=by(place, of.pictures.taught)) for place, b in enumerate(of.backbones)]
    )
    given = of.given(each)
    given = replace(given, judged_N=np.ones_like(given.judged_N))
    mixes: dict[str, Callable[[], Mix]] = {
        "features of three": lambda: side_by_side.fuse(given, side_by_side.Config(least=3)),
        "logits of three": lambda: logits.fuse(given),
    }
    for name, fuse in mixes.items():
        mix, seconds = _timed(fuse)
        yield name, looking(mix), seeing + seconds
    student, seconds = _timed(lambda: _student(of, each))
    yield "distilled from them", eye(student), seeing + seconds


def _student(of: Bearer, each: list[Member]) -> Backbone:
    """Lite0, taught the answers of all three mixed, as ``training.merge.teaching`` does."""
    count, whole = len(of.drawn.rows.train), of.given(each)
    taught = [replace(member, features_ND=member.features_ND[:count]) for member in each]
    school = replace(whole, members=taught, targets_NK=whole.targets_NK[:count], judged_N=np.ones(count, np.bool_))
    mix = logits.fuse(school)
    scores_MTK = np.stack([members.held_out(school, member.features_ND) for member in taught])
    columns = [of.drawn.labels.index(label) for label in of.head.labels]
    reader = preprocessor(of.base.inputs, of.base.files, Limits())
    targets_NK = torch.from_numpy(whole.targets_NK[:, columns]).float()
    wide = [member.features_ND.shape[1] for member in taught]
    lesson = distill.Lesson(
        train=Feed(of.drawn.rows.train, targets_NK[:count], torch.ones(count), reader),
        held=Feed(of.drawn.rows.validation, targets_NK[count:], torch.ones(len(targets_NK) - count), reader),
        logits_NK=torch.from_numpy(logits.mix(scores_MTK, mix.alphas)[:, columns] / of.head.temperature).float(),
        features_ND=torch.from_numpy(from_grid(side_by_side.joined(taught, wide))).float(),
    )
    context = of.context(of.head, of.drawn.seed)
    return distill.fuse(of.base, lesson, context, distill.Config(**SHORT))[0]


def _timed(do: Callable[[], Result]) -> tuple[Result, float]:
    begun = CLOCK()
    return do(), CLOCK() - begun

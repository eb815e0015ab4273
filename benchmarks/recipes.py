"""A backbone carried to another scene by each recipe: what it knows there, and what it has forgotten of the one before.

``python -m benchmarks.recipes [--quick] [--json FILE]``: MNIST to scikit-learn's digits, and photographs to clip art
(the five classes they share); EfficientNet-Lite0 at 64 px. Of the target up to 400 labelled examples learn, a fifth of
them to judge by, and up to 400 others test; every recipe may take 120 s. 5 seeds (quick: 1 seed, 48 px, 30 s).
``forgotten`` is what a closed form on the source's own labels loses in points where its features come from the tuned
backbone instead of the untouched one.

Promises paired draws: every recipe sees the same rows, is given the same time, and is tested on the same rows, by a
head in closed form, as it would be served.
"""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from threadpoolctl import threadpool_limits

from benchmarks import scenes
from benchmarks.debian import BENCH
from benchmarks.draws import mean_and_half, mean_told
from benchmarks.report import Claim, Row, finish, options
from core.config import Settings
from core.home import Home, open_home
from core.preprocess import Limits
from core.types import Example, Scene
from exporters.backbone import Backbone
from training import auto, data, judge, package, recipe, select, tuning, zoo
from training.assemble import Assembly
from training.data import Dataset
from training.judge import Bench
from training.ready import Ready
from training.recipe import FLOOR, Rows
from training.report import DataReport
from training.tuning import Ask

BACKBONE = "efficientnet_lite0"
LABELLED, JUDGING, TESTED = 400, 0.2, 400
RECIPES = (FLOOR, "finetune", "lora", "auto")
LEVEL = 0.0  # points that auto may be below a recipe, where the interval says that it is no chance


@dataclass(frozen=True, kw_only=True)
class Draw:
    """One draw of a pair of scenes. ``source`` holds labelled rows of the scene before, to solve a head and to test."""

    rows: Rows
    tested: tuple[Example, ...]
    source: Rows
    bench: Bench
    home: Home
    floor: Ready
    budget: float

    def load(self, name: str, size: int | None) -> Backbone:
        """A backbone of the zoo."""
        return zoo.load(name, zoo.Setting(size=size))


class Quiet:
    """A reporter for benchmarks."""

    run = ""

    def metric(self, name: str, step: int, value: float) -> None:
        """Nothing is shown."""

    def stage(self, title: str) -> None:
        """Nothing is shown."""

    def progress(self, done: int, total: int) -> None:
        """Nothing is shown."""

    def note(self, words: str) -> None:
        """Progress, on standard error."""
        print(f"    {words}", file=sys.stderr, flush=True)


def main(argv: Sequence[str] | None = None) -> int:
    """Run, print, and give the exit code."""
    given = options(__doc__ or "", argv)
    seeds, size, budget = (1, 48, 30.0) if given.quick else (5, 64, 120.0)
    pairs = {
        "MNIST → digits": (
            scenes.mnist(BENCH / "scenes" / "mnist"),
            scenes.digits(BENCH / "scenes" / "digits"),
        ),
        "photo → clip art": (scenes.photo(), scenes.clip_art()),
    }
    rows: list[Row] = []
    claims: list[Claim] = []
    for name, (source, target) in pairs.items():
        with threadpool_limits(2):
            told, held = _measured(name, source, target, seeds, size, budget)
        rows += told
        claims += held
    return finish("Accuracy on the target, and what is forgotten of the source, in %", rows, claims, given.json)


def _measured(
    name: str, source: Path, target: Path, seeds: int, size: int, budget: float
) -> tuple[list[Row], list[Claim]]:
    before, after = (data.load(folder).examples for folder in (source, target))
    shared = {example.label for example in before} & {example.label for example in after}
    before, after = (tuple(each for each in side if each.label in shared) for side in (before, after))
    figures: dict[str, list[tuple[float, float, float]]] = {each: [] for each in RECIPES}
    for seed in range(seeds):
        with tempfile.TemporaryDirectory() as folder:
            home = open_home(Settings(home=Path(folder)))
            draw = _draw(home, before, after, seed, size, budget)
            known = _scored(draw.source, draw.source.validation, draw.floor.assembly, draw.bench)
            for each in RECIPES:
                begun = time.perf_counter()
                assembly = _adapted(each, draw)
                seconds = time.perf_counter() - begun
                everything = Rows(train=(*draw.rows.train, *draw.rows.validation), validation=draw.tested)
                score = _scored(everything, draw.tested, assembly, draw.bench)
                kept = _scored(draw.source, draw.source.validation, assembly, draw.bench)
                figures[each].append((score, known - kept, seconds))
                print(f"… {name}, seed {seed}, {each}: {score:.1f} %", file=sys.stderr, flush=True)
            home.close()
    return [_row(name, each, figures) for each in RECIPES], _claims(name, figures)


def _draw(home: Home, before: Sequence[Example], after: Sequence[Example], seed: int, size: int, budget: float) -> Draw:
    random = np.random.default_rng(seed)
    there, here = ([side[place] for place in random.permutation(len(side))] for side in (before, after))
    few = min(LABELLED, len(here) // 2)
    cut = round(JUDGING * few)
    rows = Rows(train=_side(here[cut:few], "train"), validation=_side(here[:cut], "validation"))
    half = min(LABELLED, len(there) // 2)
    labels = tuple(sorted({example.label or "" for example in after}))
    scene = home.registry.declare(Scene(name="target", task="classification", modality="image", labels=labels))
    bench = Bench(scene=scene, cache=BENCH / "features", limits=Limits(), threads=2, seed=seed)
    judged = judge.judge(zoo.load(BACKBONE, zoo.Setting(size=size)), rows, bench)
    return Draw(
        rows=rows,
        tested=_side(here[few:][:TESTED], "test"),
        source=Rows(train=_side(there[:half], "train"), validation=_side(there[half:][:TESTED], "validation")),
        bench=bench,
        home=home,
        floor=Ready(assembly=judged.assembly, parity=judged.parity, rows=judged.features),
        budget=budget,
    )


def _side(examples: Sequence[Example], side: str) -> tuple[Example, ...]:
    return tuple(replace(example, split=side) for example in examples)  # type: ignore[arg-type]


def _adapted(name: str, draw: Draw) -> Assembly:
    """The graph that a recipe would have served."""
    if name == FLOOR:
        return draw.floor.assembly
    if name == "auto":
        return _explored(draw).assembly
    config = recipe.configure(name, {})
    ask = Ask(name=name, config=config, budget=draw.budget)
    made = tuning.attempt(draw.floor.assembly, draw.floor.parity, draw.rows, draw.bench, ask)
    print(f"    {made.words}", file=sys.stderr, flush=True)
    return draw.floor.assembly if made.judged is None else made.judged.assembly


def _explored(draw: Draw) -> Ready:
    examples = (*draw.rows.train, *draw.rows.validation)
    report = DataReport(root="", task="classification", seen=len(examples), kept=len(examples), findings=())
    dataset = Dataset(
        examples=examples, labels=draw.bench.scene.labels, task="classification", report=report, median_side=0
    )
    (backbone,) = draw.floor.assembly.backbones
    plan = auto.Plan(strategy="auto", backbones=(BACKBONE,), load=draw.load, size=backbone.size[0], budget=draw.budget)
    return auto.explored(draw.home, dataset, draw.floor, plan, draw.bench, Quiet())


def _scored(rows: Rows, tested: Sequence[Example], assembly: Assembly, bench: Bench) -> float:
    """Balanced accuracy, in %, of a closed form of the training rows."""
    parity = package.check_parity(assembly, judge.draw(rows.train, bench.seed))
    judged = judge.of_assembly(assembly, parity, replace(rows, validation=tuple(tested)), bench)
    return 100 * select.score(judged.outcomes_N, judged.groups_N)


def _row(name: str, each: str, figures: dict[str, list[tuple[float, float, float]]]) -> Row:
    score_S, forgotten_S, seconds_S = np.array(figures[each]).T
    floor_S = np.array(figures[FLOOR])[:, 0]
    return {
        "scenes": name,
        "recipe": each,
        "seeds": len(score_S),
        "target": mean_told(score_S),
        "against closed form": "" if each == FLOOR else mean_told(score_S - floor_S, sign="+"),
        "forgotten": "" if each == FLOOR else mean_told(forgotten_S, sign="+"),
        "seconds": float(seconds_S.mean()),
    }


def _claims(name: str, figures: dict[str, list[tuple[float, float, float]]]) -> list[Claim]:
    """No recipe alone, the closed form among them, is told apart from auto above it; one seed tells nothing apart."""
    own_S = np.array(figures["auto"])[:, 0]
    made: list[Claim] = []
    for each in RECIPES[:-1] if len(own_S) > 1 else ():
        behind_S = np.array(figures[each])[:, 0] - own_S
        mean, half = mean_and_half(behind_S)
        words = f"{name}: points that {each} is above auto, as far as it is told apart"
        lowest = mean - half
        made.append(Claim(claim=words, value=lowest, bound=LEVEL, holds=lowest <= LEVEL))
    return made


if __name__ == "__main__":
    sys.exit(main())

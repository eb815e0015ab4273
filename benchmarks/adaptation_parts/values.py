"""Values that lie: 30 % of what is said of a regression is wrong on purpose, all of it by one annotator.

Real table (progression of diabetes after a year, 442 patients, from scikit-learn), the table's own graph, and the real
road: values into the ledger, the learner's step, published revisions. 120 patients are training data, 200 are labelled
as feedback in batches of ten, 122 judge. ``bias`` adds two standard deviations to the true value, ``flip`` mirrors it
at the mean; either the liar is one of four annotators from the beginning (0.3 of the labels by lot), or comes with all
60 wrong labels in one batch at the end. ``nobody`` lies in the first rows; there the same labels are asked of the guard
one by one, too. Whoever the guard names is removed by one call; a hold that names nobody is accepted.

Promises the same labels in the same order for every defence.

Legend: N rows, D features.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benchmarks.adaptation_parts.measured import Measured
from benchmarks.draws import mean_and_half
from benchmarks.report import Claim, Row
from benchmarks.table_data import TABLES
from benchmarks.tables import features, fold_of
from core.annotators import remove
from core.config import Settings
from core.events import TRAINING, Feedback
from core.evidence import Evidence
from core.follow import blank
from core.home import Home, open_home
from core.label_settings import GuardSettings, HygieneSettings
from core.statistics import from_grid
from core.types import Doubles, Example, GridRows, Scene
from learner.loop import Learner
from learner.metrics import Metrics
from training.evaluate import r2
from training.tasks import scaled

SCENE, EXTRACTOR, VERSION = "progression", "table_linear", "v" * 64
TAUGHT, LABELLED, BATCH = 120, 200, 10
HONEST, LIAR, WRONG = ("ann", "bob", "cy"), "mallory", 0.3
FAR = 2.0  # standard deviations that a bias adds
SEEDS = 10
FALSE = 0.01  # of honest revisions, that may be held

DEFENCES: dict[str, tuple[GuardSettings, HygieneSettings]] = {
    "none": (GuardSettings(on=False), HygieneSettings()),
    "guard (the default)": (GuardSettings(), HygieneSettings()),
    "guard, quarantine": (GuardSettings(), HygieneSettings(quarantine=True)),
    "guard, second opinion": (GuardSettings(), HygieneSettings(second_opinion=True)),
}
ATTACKS = ("nobody", "bias from the beginning", "flip from the beginning", "bias in one batch", "flip in one batch")


@dataclass(frozen=True, eq=False)
class Said:
    """One value of the stream, and whether it is wrong on purpose."""

    name: str
    features: GridRows
    value: float
    annotator: str
    wrong: bool


@dataclass(frozen=True, eq=False)
class Draw:
    """A draw of the scene: training rows, batches of values, and rows to be judged on."""

    task: Scene
    taught: tuple[GridRows, Doubles]
    batches: tuple[tuple[Said, ...], ...]
    test: tuple[GridRows, Doubles]


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What came of one stream under one defence; shares from 0 to 1."""

    score: float  # R² on rows that nobody labels
    caught: float  # of the wrong values, those that are held, or whose annotator was removed
    wronged: float  # of the right values, those that are held
    held: int  # revisions that the guard held, of ``revisions``
    revisions: int


def measured(*, quick: bool) -> Measured:
    """R², and what is caught, under every attack and defence; and honest values one by one."""
    found: dict[tuple[str, str], list[Outcome]] = {}
    for seed in range(2 if quick else SEEDS):
        for attack in ATTACKS:
            draw = _draw(attack, seed, BATCH)
            for defence in DEFENCES:
                found.setdefault((attack, defence), []).append(_run(draw, defence))
        found.setdefault(("nobody, one by one", "guard (the default)"), []).append(
            _run(_draw("nobody", seed, 1), "guard (the default)")
        )
    return Measured(rows=[_row(*names, outcomes) for names, outcomes in found.items()], claims=_claims(found))


def _draw(attack: str, seed: int, batch: int) -> Draw:
    chance, table = np.random.default_rng(seed), TABLES["progression"]()
    order = chance.permutation(len(table.rows))
    taught, others = order[:TAUGHT], order[TAUGHT:]
    fold = fold_of(table, taught, others)
    taught_ND, others_ND = features(EXTRACTOR, fold)
    taught_N, others_N = fold.wanted_N.astype(np.float64), fold.truth_N.astype(np.float64)
    examples = [Example(digest="", path="", split="train", value=float(value)) for value in taught_N]
    task = scaled(Scene(name=SCENE, task="regression", modality="tabular", hash_key=str(seed).encode()), examples)
    wrong_N = chance.random(LABELLED) < WRONG
    if attack.endswith("batch"):
        wrong_N = np.arange(LABELLED) >= round((1 - WRONG) * LABELLED)
    wrong_N &= attack != "nobody"
    middle, spread = float(taught_N.mean()), float(taught_N.std())
    said = []
    for n, wrong in enumerate(wrong_N):
        value, who = float(others_N[n]), LIAR if wrong else HONEST[int(chance.integers(len(HONEST)))]
        if wrong:
            value = value + FAR * spread if attack.startswith("bias") else 2 * middle - value
        value = float(np.clip(value, task.offset - 0.999 * task.scale, task.offset + 0.999 * task.scale))
        said.append(Said(f"n{n}", others_ND[n], value, who, bool(wrong)))
    right = [each for each in said if not each.wrong] if attack.endswith("batch") else said
    batches = [tuple(right[start : start + batch]) for start in range(0, len(right), batch)]
    if len(right) < len(said):
        batches.append(tuple(said[len(right) :]))
    test = others_ND[LABELLED:], others_N[LABELLED:]
    return Draw(task, (taught_ND, taught_N), tuple(batches), test)


def _run(draw: Draw, defence: str) -> Outcome:
    with _home(draw, *DEFENCES[defence]) as (home, learner):
        removed, held = _stream(home, learner, draw.batches)
        follower = home.follower(home.registry.scene(SCENE), home.registry.version(SCENE, VERSION))
        follower.catch_up()
        kept = set(follower.state.rows)
        revision = home.registry.latest_revision(SCENE, VERSION)
        assert revision is not None, "it was registered with one"
        told_N = (from_grid(draw.test[0]) @ revision.head.weight + revision.head.bias)[:, 0]
    said = [each for batch in draw.batches for each in batch]
    wrong = [each.name not in kept for each in said if each.wrong]
    right = [each.name not in kept for each in said if not each.wrong and each.annotator not in removed]
    return Outcome(
        score=r2(told_N * draw.task.scale + draw.task.offset, draw.test[1]),
        caught=float(np.mean(wrong)) if wrong else 0.0,
        wronged=float(np.mean(right)),
        held=held,
        revisions=len(draw.batches),
    )


@contextmanager
def _home(draw: Draw, guard: GuardSettings, hygiene: HygieneSettings) -> Iterator[tuple[Home, Learner]]:
    with tempfile.TemporaryDirectory() as folder:
        home = open_home(Settings(home=Path(folder), guard=guard, hygiene=hygiene))
        home.registry.declare(draw.task)
        rows_ND, values_N = draw.taught
        home.evidence.keep([Evidence(example=f"o{n}", features={EXTRACTOR: row}) for n, row in enumerate(rows_ND)])
        told = [
            Feedback(scene=SCENE, example=f"o{n}", value=float(value), source=TRAINING)
            for n, value in enumerate(values_N)
        ]
        home.ledger.teach(SCENE, told)
        width = rows_ND.shape[1]
        manifest = {"extractor": EXTRACTOR, "lineage": {"sequence": 0}, "features": width}
        home.registry.register(SCENE, VERSION, manifest, blank(draw.task, width))
        learner = Learner(home, "benchmark", Metrics())
        _step(learner)
        yield home, learner
        home.close()


def _stream(home: Home, learner: Learner, batches: Sequence[Sequence[Said]]) -> tuple[set[str], int]:
    """Values in, batch by batch; whoever the guard names is removed. Returns who was, and how often it held."""
    removed, held = set[str](), 0
    for batch in batches:
        for each in batch:
            if each.annotator not in removed:
                evidence = Evidence(example=each.name, features={EXTRACTOR: each.features})
                told = Feedback(scene=SCENE, value=each.value, example=each.name, annotator=each.annotator)
                home.ledger.add(told, evidence)
        _step(learner)
        hold = home.holds.of(SCENE)
        if hold is not None:
            held += 1
            if hold.annotator:
                removed.add(hold.annotator)
                remove(home, SCENE, hold.annotator)
            else:
                home.holds.accept(SCENE)
            _step(learner)
    return removed, held


def _step(learner: Learner) -> None:
    assert learner.lead()
    learner.step()


def _row(attack: str, defence: str, outcomes: Sequence[Outcome]) -> Row:
    mean, half = mean_and_half(100 * np.array([each.score for each in outcomes]))
    return {
        "part": "values",
        "attack": attack,
        "defence": defence,
        "R² %": round(mean, 1),
        "± 95 %": round(half, 1),
        "wrong values caught %": round(100 * float(np.mean([each.caught for each in outcomes])), 1),
        "right values held %": round(100 * float(np.mean([each.wronged for each in outcomes])), 1),
        "revisions held": sum(each.held for each in outcomes),
        "of": sum(each.revisions for each in outcomes),
        "seeds": len(outcomes),
    }


def _claims(found: dict[tuple[str, str], list[Outcome]]) -> list[Claim]:
    guarded = {names: told for names, told in found.items() if names[0].startswith("nobody") and names[1] != "none"}
    honest = [each for outcomes in guarded.values() for each in outcomes]
    share = sum(each.held for each in honest) / sum(each.revisions for each in honest)
    claims = [Claim(claim="share of honest revisions that are held", value=share, bound=FALSE, holds=share <= FALSE)]
    for attack in ATTACKS[1:]:
        plain = np.array([each.score for each in found[attack, "none"]])
        screened = np.array([each.score for each in found[attack, "guard, quarantine"]])
        gain = 100 * float((screened - plain).mean())
        words = f"{attack}: points of R² with guard and quarantine beside none, on average"
        claims.append(Claim(claim=words, value=gain, bound=0.0, holds=gain >= 0.0))
    return claims

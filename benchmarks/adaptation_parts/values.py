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

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from benchmarks.adaptation_parts.attacked import DEFENCES, Said, attacked
from benchmarks.adaptation_parts.measured import Measured
from benchmarks.draws import mean_and_half
from benchmarks.report import Claim, Row
from benchmarks.table_data import TABLES
from benchmarks.tables import features, fold_of
from core.follow import blank
from core.statistics import from_grid
from core.types import Doubles, Example, GridRows, Scene
from training.evaluate import r2
from training.tasks import scaled

SCENE, BACKBONE = "progression", "table_linear"
TAUGHT, LABELLED, BATCH = 120, 200, 10
HONEST, LIAR, WRONG = ("ann", "bob", "cy"), "mallory", 0.3
FAR = 2.0  # standard deviations that a bias adds
SEEDS = 10
FALSE = 0.01  # of honest revisions, that may be held

ATTACKS = ("nobody", "bias from the beginning", "flip from the beginning", "bias in one batch", "flip in one batch")


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
    taught_ND, others_ND = features(BACKBONE, fold)
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
    rows_ND, values_N = draw.taught
    taught = rows_ND, [float(value) for value in values_N]
    with attacked(draw.task, taught, blank(draw.task, rows_ND.shape[1]), *DEFENCES[defence]) as scene:
        scene.stream(draw.batches)
        caught, wronged = scene.caught(draw.batches)
        head = scene.head()
        told_N = (from_grid(draw.test[0]) @ head.weight + head.bias)[:, 0]
    return Outcome(
        score=r2(told_N * draw.task.scale + draw.task.offset, draw.test[1]),
        caught=caught,
        wronged=wronged,
        held=scene.held,
        revisions=len(draw.batches),
    )


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

"""Wrong labels on purpose: one annotator of three flips 30 % of its labels; a patient attacker plants one trigger.

Real features, and the real road: labels into the ledger, the learner's step, published revisions. MNIST is the training
data, the scene is labelled in batches. Measured without guards, with the guard alone (it is on by default), and with
the quarantine or a second opinion beside it (off by default); whoever the guard names is removed by one call.

Promises the same labels in the same order for every defence, and that accuracy is judged on rows that nobody labels.

Legend: N rows, D features.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from benchmarks.adaptation_parts import streams
from benchmarks.adaptation_parts.attacked import DEFENCES, Attacked, Said, attacked
from benchmarks.adaptation_parts.measured import Measured
from benchmarks.draws import Names, mean_and_half
from benchmarks.report import Claim, Row
from core.annotators import remove
from core.follow import blank
from core.label_settings import GuardSettings, HygieneSettings
from core.statistics import from_grid
from core.types import GridRows, Head, Scene

LABELS = tuple(str(digit) for digit in range(10))
DIGITS = Scene(name="digits", task="classification", modality="image", labels=LABELS, hash_key=b"key")
TAUGHT, LABELLED, TESTED = 600, 240, 600
BATCH, ANNOTATORS = 20, ("ann", "bob", "mallory")
FLIPPED = 0.3
LOSES = 2.0  # points of accuracy that a defence may cost, whatever happens
PLANTED, TARGET = 40, "8"  # triggered inputs in the attacker's one batch, and what they are called


@dataclass(frozen=True, eq=False)
class Draw:
    """A draw of the scene: training rows, batches of labels, rows to be judged on, and the same with the trigger."""

    taught: tuple[GridRows, list[str]]
    batches: tuple[tuple[Said, ...], ...]
    test: tuple[GridRows, Names]
    triggered: GridRows


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What came of one stream under one defence: shares from 0 to 1."""

    accuracy: float
    caught: float  # of the wrong labels, those that are held, or whose annotator was removed
    wronged: float  # of the right labels, those that are held
    fooled: float  # of triggered inputs of other classes, those that are answered as the attacker wants
    restored: float  # largest difference to the head of a ledger without the attacker, after removal; 0 if not compared


def measured(*, quick: bool) -> Measured:
    """Accuracy under every attack and defence, and that removal by one call restores the head."""
    seeds, rows, claims = 2 if quick else 5, list[Row](), list[Claim]()
    pair, triggered = streams.digits(), streams.triggered()[0]
    for attack in ("flips 30 %", "patient trigger", "nobody"):
        found: dict[str, list[Outcome]] = {}
        for seed in range(seeds):
            draw = _draw(pair, triggered, attack, seed)
            for defence in DEFENCES:
                found.setdefault(defence, []).append(_run(draw, defence, compared=seed == 0))
        for defence, outcomes in found.items():
            rows.append(_row(attack, defence, outcomes))
        claims += _claims(attack, found)
    return Measured(rows=rows, claims=claims)


def _draw(pair: streams.Pair, triggered_ND: GridRows, attack: str, seed: int) -> Draw:
    chance = np.random.default_rng(seed)
    taught, order = chance.permutation(len(pair.old_N))[:TAUGHT], chance.permutation(len(pair.new_N))
    test, pool = order[:TESTED], order[TESTED:]
    said = [_said(pair, int(n), place, attack, chance) for place, n in enumerate(pool[:LABELLED])]
    batches = [tuple(said[start : start + BATCH]) for start in range(0, LABELLED, BATCH)]
    if attack == "patient trigger":
        marked = [n for n in pool[LABELLED:] if pair.new_N[n] != TARGET][:PLANTED]
        batches.append(tuple(Said(f"t{n}", triggered_ND[n], TARGET, "mallory", True) for n in marked))
    others = test[pair.new_N[test] != TARGET]
    return Draw(
        (pair.old_ND[taught], [str(label) for label in pair.old_N[taught]]),
        tuple(batches),
        (pair.new_ND[test], pair.new_N[test]),
        triggered_ND[others],
    )


def _said(pair: streams.Pair, n: int, place: int, attack: str, chance: np.random.Generator) -> Said:
    annotator, label = ANNOTATORS[place % len(ANNOTATORS)], str(pair.new_N[n])
    wrong = bool(attack == "flips 30 %" and annotator == "mallory" and chance.random() < FLIPPED)
    if wrong:
        label = str((int(label) + int(chance.integers(1, 10))) % 10)
    return Said(f"n{n}", pair.new_ND[n], label, annotator, wrong)


def _run(draw: Draw, defence: str, compared: bool) -> Outcome:
    guard, hygiene = DEFENCES[defence]
    with attacked(DIGITS, draw.taught, _blank(draw), guard, hygiene) as scene:
        scene.stream(draw.batches)
        caught, wronged = scene.caught(draw.batches)
        head = scene.head()
        told = [head.labels[k] for k in _answers(head, draw.triggered)]
        accuracy = float(np.mean([head.labels[k] for k in _answers(head, draw.test[0])] == draw.test[1]))
        restored = _restored(scene, draw, hygiene) if compared else 0.0
    return Outcome(
        accuracy=accuracy,
        caught=caught,
        wronged=wronged,
        fooled=float(np.mean([label == TARGET for label in told])),
        restored=restored,
    )


def _restored(scene: Attacked, draw: Draw, hygiene: HygieneSettings) -> float:
    """Take the attacker out by one call; the largest difference to the head of a ledger that never saw them."""
    if "mallory" not in scene.removed:
        remove(scene.home, scene.scene, "mallory")
        scene.step()
    others = {"mallory", *scene.removed}
    honest = [each for batch in draw.batches for each in batch if each.annotator not in others]
    with attacked(DIGITS, draw.taught, _blank(draw), GuardSettings(on=False), hygiene) as never:
        never.stream([honest])
        return float(np.abs(scene.head().weight - never.head().weight).max())


def _blank(draw: Draw) -> Head:
    return blank(DIGITS, draw.taught[0].shape[1])


def _answers(head: Head, rows_ND: GridRows) -> list[int]:
    return [int(k) for k in (from_grid(rows_ND) @ head.weight + head.bias).argmax(axis=1)]


def _row(attack: str, defence: str, outcomes: Sequence[Outcome]) -> Row:
    mean, half = mean_and_half(100 * np.array([each.accuracy for each in outcomes]))
    return {
        "part": "poison",
        "attack": attack,
        "defence": defence,
        "accuracy %": round(mean, 1),
        "± 95 %": round(half, 1),
        "wrong labels caught %": round(100 * float(np.mean([each.caught for each in outcomes])), 1),
        "right labels held %": round(100 * float(np.mean([each.wronged for each in outcomes])), 1),
        "triggered answered as wanted %": round(100 * float(np.mean([each.fooled for each in outcomes])), 1),
        "difference after removal": max(each.restored for each in outcomes),
        "seeds": len(outcomes),
    }


def _claims(attack: str, found: dict[str, list[Outcome]]) -> list[Claim]:
    restored = max(each.restored for outcomes in found.values() for each in outcomes)
    words = f"{attack}: largest difference of a head after removal to one that never saw the labels"
    claims = [Claim(claim=words, value=restored, bound=1e-6, holds=restored <= 1e-6)]
    plain = np.array([each.accuracy for each in found["none"]])
    for defence, outcomes in found.items():
        gain = 100 * float((np.array([each.accuracy for each in outcomes]) - plain).mean())
        if defence != "none":
            words = f"{attack}: points of accuracy with {defence} beside none, on average"
            claims.append(Claim(claim=words, value=gain, bound=-LOSES, holds=gain >= -LOSES))
    return claims

"""Wrong labels on purpose: one annotator of three flips 30 % of its labels; a patient attacker plants one trigger.

Real features, and the real road: labels into the ledger, the learner's step, published revisions. MNIST is the training
data, the scene is labelled in batches. Measured without guards, with the guard alone (it is on by default), and with
the quarantine or a second opinion beside it (off by default); whoever the guard names is removed by one call.

Promises the same labels in the same order for every defence, and that accuracy is judged on rows that nobody labels.

Legend: N rows, D features.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benchmarks.adaptation_parts import streams
from benchmarks.adaptation_parts.measured import Measured
from benchmarks.draws import Names, mean_and_half
from benchmarks.report import Claim, Row
from core.annotators import remove
from core.config import Settings
from core.events import TRAINING, Feedback
from core.evidence import Evidence
from core.home import Home, open_home
from core.label_settings import GuardSettings, HygieneSettings
from core.statistics import from_grid
from core.types import GridRows, Head, Scene
from learner.loop import Learner
from learner.metrics import Metrics

SCENE, EXTRACTOR, VERSION = "digits", "lite0", "v" * 64
MANIFEST: dict[str, object] = {"extractor": EXTRACTOR, "lineage": {"sequence": 0}}
TAUGHT, LABELLED, TESTED = 600, 240, 600
BATCH, ANNOTATORS = 20, ("ann", "bob", "mallory")
FLIPPED = 0.3
LOSES = 2.0  # points of accuracy that a defence may cost, whatever happens
PLANTED, TARGET = 40, "8"  # triggered inputs in the attacker's one batch, and what they are called

DEFENCES: dict[str, tuple[GuardSettings, HygieneSettings]] = {
    "none": (GuardSettings(on=False), HygieneSettings()),
    "guard (the default)": (GuardSettings(), HygieneSettings()),
    "guard, quarantine": (GuardSettings(), HygieneSettings(quarantine=True)),
    "guard, second opinion": (GuardSettings(), HygieneSettings(second_opinion=True)),
}


@dataclass(frozen=True, eq=False)
class Said:
    """One label of the stream, and whether it is wrong on purpose."""

    name: str
    features: GridRows
    label: str
    annotator: str
    wrong: bool


@dataclass(frozen=True, eq=False)
class Draw:
    """A draw of the scene: training rows, batches of labels, rows to be judged on, and the same with the trigger."""

    taught: tuple[GridRows, Names]
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
        (pair.old_ND[taught], pair.old_N[taught]),
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
    with _home(draw, guard, hygiene) as (home, learner):
        removed = _stream(home, learner, draw.batches)
        said = [each for batch in draw.batches for each in batch]
        kept = _kept(home)
        wrong = [each for each in said if each.wrong]
        right = [each for each in said if not each.wrong and each.annotator not in removed]
        head = _head(home)
        told = [head.labels[k] for k in _answers(head, draw.triggered)]
        accuracy = float(np.mean([head.labels[k] for k in _answers(head, draw.test[0])] == draw.test[1]))
        restored = _restored(home, learner, draw, hygiene, removed) if compared else 0.0
    return Outcome(
        accuracy=accuracy,
        caught=float(np.mean([each.name not in kept for each in wrong])) if wrong else 0.0,
        wronged=float(np.mean([each.name not in kept for each in right])),
        fooled=float(np.mean([label == TARGET for label in told])),
        restored=restored,
    )


def _restored(home: Home, learner: Learner, draw: Draw, hygiene: HygieneSettings, removed: set[str]) -> float:
    """Take the attacker out by one call; the largest difference to the head of a ledger that never saw them."""
    if "mallory" not in removed:
        remove(home, SCENE, "mallory")
        _step(learner)
    others = {"mallory", *removed}
    honest = [each for batch in draw.batches for each in batch if each.annotator not in others]
    with _home(draw, GuardSettings(on=False), hygiene) as (never, other):
        _stream(never, other, [honest])
        return float(np.abs(_head(home).weight - _head(never).weight).max())


@contextmanager
def _home(draw: Draw, guard: GuardSettings, hygiene: HygieneSettings) -> Iterator[tuple[Home, Learner]]:
    with tempfile.TemporaryDirectory() as folder:
        home = open_home(Settings(home=Path(folder), guard=guard, hygiene=hygiene))
        labels = tuple(str(digit) for digit in range(10))
        home.registry.declare(
            Scene(name=SCENE, task="classification", modality="image", labels=labels, hash_key=b"key")
        )
        rows_ND, labels_N = draw.taught
        home.evidence.keep([Evidence(example=f"o{n}", features={EXTRACTOR: row}) for n, row in enumerate(rows_ND)])
        home.ledger.teach(
            SCENE,
            [
                Feedback(scene=SCENE, example=f"o{n}", label=str(label), source=TRAINING)
                for n, label in enumerate(labels_N)
            ],
        )
        blank = Head(weight=np.zeros((rows_ND.shape[1], 10), np.float32), bias=np.zeros(10, np.float32), labels=labels)
        home.registry.register(SCENE, VERSION, MANIFEST | {"features": rows_ND.shape[1]}, blank)
        learner = Learner(home, "benchmark", Metrics())
        _step(learner)
        yield home, learner
        home.close()


def _stream(home: Home, learner: Learner, batches: Sequence[Sequence[Said]]) -> set[str]:
    """Labels in, batch by batch; whoever the guard names is removed. Returns who was."""
    removed: set[str] = set()
    for batch in batches:
        for each in batch:
            if each.annotator not in removed:
                evidence = Evidence(example=each.name, features={EXTRACTOR: each.features})
                told = Feedback(scene=SCENE, label=each.label, example=each.name, annotator=each.annotator)
                home.ledger.add(told, evidence)
        _step(learner)
        hold = home.holds.of(SCENE)
        if hold is not None:
            if hold.annotator:
                removed.add(hold.annotator)
                remove(home, SCENE, hold.annotator)
            else:
                home.holds.accept(SCENE)
            _step(learner)
    return removed


def _step(learner: Learner) -> None:
    assert learner.lead()
    learner.step()


def _head(home: Home) -> Head:
    revision = home.registry.latest_revision(SCENE, VERSION)
    assert revision is not None, "it was registered with one"
    return revision.head


def _kept(home: Home) -> set[str]:
    """Examples whose labels count."""
    follower = home.follower(home.registry.scene(SCENE), home.registry.version(SCENE, VERSION))
    follower.catch_up()
    return set(follower.state.rows)


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

"""Labels in one scene, inputs alone in another: what each method of ``training.transfer`` brings there, DAN and DANN.

``python -m benchmarks.transfer [--quick] [--json FILE]``: the pairs of ``benchmarks.pairs``, EfficientNet-Lite0, digits
at 32 px and pictures at 48. Of the source up to 300 labelled examples learn and up to 100 judge (reverse validation);
of the target up to 256 inputs are given without labels, and up to 300 others test. 5 seeds (quick: one, one pair).
``taken`` is what ``lepton adapt --unlabelled`` would have taken, by its own rule; ``dan`` and ``dann`` are ``finetune``
with that as ``align``, four epochs, which no rule takes by itself. ``target`` and ``hurt`` are of test pictures, whole
and gone wrong in six ways; ``source`` is of the rows that judge, answered by the same extractor and head.

Promises paired draws: every method sees the same examples and the same test. To add a method is to add a function to
``METHODS``: it is given a ``Case`` and answers pictures.
"""

from __future__ import annotations

import sys
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import cast

import numpy as np
import torch
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from benchmarks.debian import BENCH
from benchmarks.draws import mean_told
from benchmarks.eyes import eye
from benchmarks.pairs import HURT, PAIRS, Pair, batched, damaged, loaded
from benchmarks.report import Claim, Row, finish, options
from benchmarks.ways import CLOCK
from core import plugins
from core.errors import ParityFailed
from core.head import fit_head
from core.preprocess import Limits
from core.preprocess import Row as PreparedRow
from core.types import Doubles, Example, Scene
from training import features, recipe, robustness, unlabelled, zoo
from training.adapt import finetune
from training.assemble import assemble
from training.recipe import Context, Rows
from training.situation import Situation
from training.unlabelled import FLOOR, Judge, Judges, Method

BACKBONE, SEEDS = "efficientnet_lite0", 5
LABELLED, JUDGING, MOST_JUDGING, INPUTS, TESTED = 300, 0.25, 100, 256, 300
ALIGNING, TAKEN = ("dan", "dann"), "taken"
ALIGNED = {"epochs": 4}  # half of what other trainings get: a step goes through twice the rows
BUDGET = 60.0  # seconds of one, at most
MEASURES = ("target", "hurt", "source")
WORST = 1.0  # points that the rule may lose in the mean over a pair's seeds

Names = NDArray[np.str_]
Answer = Callable[[Sequence[PreparedRow]], Names]


@dataclass(frozen=True, kw_only=True)
class Case:
    """One draw of a pair of scenes, its pictures read; ``inputs`` are the target's, without labels."""

    situation: Situation
    judge: Judge
    source: Rows
    inputs: tuple[Example, ...]
    tested: tuple[Example, ...]
    rows: list[PreparedRow]
    hurt: dict[str, list[PreparedRow]]


@dataclass(frozen=True, kw_only=True)
class Figures:
    """One method on one draw: balanced accuracy in %, seconds, and what the rule thinks that it gained, in points."""

    target: float
    hurt: float
    source: float
    seconds: float
    gain: float | None = None


def transferred(name: str, case: Case) -> tuple[Answer, Doubles]:
    """What the source's head answers by the extractor that a method gives, and how reverse validation judges that.

    A method whose graph is not faithful is none, as in the product.
    """
    made = case.situation.assembly
    if name != FLOOR:
        try:
            made = cast("Method", plugins.load(unlabelled.METHODS, name)).adapt(case.situation)
        except ParityFailed as failed:
            print(f"    {name}: {failed.message}", file=sys.stderr, flush=True)
    return lambda rows: unlabelled.said(case.situation.head, unlabelled.extracted(made, rows)), case.judge.outcomes(
        made
    )


def aligned(align: str, case: Case) -> tuple[Answer, None]:
    """What a head of the source answers on features tuned on its labels, and made alike on inputs of both."""
    of = case.situation
    (base,), (transform,) = of.assembly.backbones, of.assembly.transforms
    context = Context(
        scene=of.scene,
        head=of.head,
        transform=transform,
        seed=of.seed,
        budget=BUDGET,
        unlabelled=case.inputs,
        clock=CLOCK,
    )
    made = finetune.tune(base, case.source, recipe.configure("finetune", {"align": align, **ALIGNED}), context)
    print(f"    {align}: epoch {made.best} of {len(made.history) - 1}, {made.stopped}", file=sys.stderr, flush=True)
    look, reader = eye(made.backbone), of.assembly.preprocessor
    learned = [features.read(example, reader) for example in case.source.train]
    labels = [example.label or "" for example in case.source.train]
    head = fit_head(look.see(batched(learned, reader)), labels, declared=of.scene.labels, key=of.scene.hash_key)
    return lambda rows: unlabelled.said(head, look.see(batched(rows, reader))), None


METHODS: dict[str, Callable[[Case], tuple[Answer, Doubles | None]]] = {
    **{name: partial(transferred, name) for name in (FLOOR, *plugins.names(unlabelled.METHODS))},
    **{align: partial(aligned, align) for align in ALIGNING},
}

Found = Mapping[str, list[Figures]]  # by method, a seed each


def main(argv: Sequence[str] | None = None) -> int:
    """Run, print, and give the exit code."""
    given = options(__doc__ or "", argv)
    names, seeds = (list(PAIRS)[-1:], 1) if given.quick else (list(PAIRS), SEEDS)
    found: dict[str, defaultdict[str, list[Figures]]] = {name: defaultdict(list) for name in names}
    chosen: dict[str, list[str]] = {name: [] for name in names}
    torch.set_num_threads(1)
    with threadpool_limits(1):
        for seed in range(seeds):
            for name in names:
                figures, taken = _measured(_case(PAIRS[name], seed))
                for method, each in (*figures.items(), (TAKEN, figures[taken])):
                    found[name][method].append(each)
                    print(f"… {name}, seed {seed}, {method}: {each}", file=sys.stderr, flush=True)
                chosen[name].append(taken)
    rows = [_row(name, method, found[name], chosen[name]) for name in names for method in found[name]]
    claims = [_claim(name, found[name]) for name in names]
    return finish("No label of the target is known: balanced accuracy in %", rows, claims, given.json)


def _measured(case: Case) -> tuple[dict[str, Figures], str]:
    """Every method on one draw, and the one that the rule takes."""
    found: dict[str, Figures] = {}
    trials, floor_V = [], None
    for method, adapt in METHODS.items():
        begun = CLOCK()
        answer, outcomes_V = adapt(case)
        seconds, gain = CLOCK() - begun, None
        if outcomes_V is not None:
            floor_V = outcomes_V if floor_V is None else floor_V
            trials.append(case.judge.trial(method, outcomes_V, floor_V, seconds))
            gain = 100 * trials[-1].gain
        asked = [features.read(each, case.situation.assembly.preprocessor) for each in case.source.validation]
        spoilt = [_balanced(answer(rows), case.tested[:HURT]) for rows in case.hurt.values()]
        found[method] = Figures(
            target=_balanced(answer(case.rows), case.tested),
            hurt=float(np.mean(spoilt)),
            source=_balanced(answer(asked), case.source.validation),
            seconds=seconds,
            gain=gain,
        )
    return found, unlabelled.better(trials).name


def _case(pair: Pair, seed: int) -> Case:
    labelled, others = loaded(pair)
    shared = {example.label for example in labelled} & {example.label for example in others}
    random = np.random.default_rng(seed)
    drawn, there = (
        [side[place] for place in random.permutation(len(side)) if side[place].label in shared]
        for side in (labelled, others)
    )
    cut = min(round(JUDGING * len(drawn)), MOST_JUDGING)
    judging = tuple(replace(example, split="validation") for example in drawn[:cut])
    learning = tuple(replace(example, split="train") for example in drawn[cut:][:LABELLED])
    few = min(INPUTS, len(there) // 2)
    inputs = tuple(replace(example, label=None) for example in there[:few])
    tested = tuple(there[few:][:TESTED])
    scene = Scene(name="transfer", task="classification", modality="image", labels=tuple(sorted(map(str, shared))))
    backbone = zoo.load(BACKBONE, zoo.Setting(size=pair.size))
    assembly = assemble([backbone], None, scene, BENCH / "features", [], 1, Limits())
    source = [*learning, *judging]
    rows_ND = features.extract(assembly.session, assembly.preprocessor, assembly.extractor, source, BENCH / "features")
    rows = {example.digest: row for example, row in zip(source, rows_ND, strict=True)}
    situation, judge = unlabelled.prepare(scene, assembly, inputs, Judges(source=source, rows=rows), seed)
    kinds = robustness.corruption("image").KINDS
    return Case(
        situation=situation,
        judge=judge,
        source=Rows(train=learning, validation=judging),
        inputs=inputs,
        tested=tested,
        rows=[features.read(example, assembly.preprocessor) for example in tested],
        hurt={kind: damaged(tested[:HURT], kind, assembly.preprocessor, seed) for kind in kinds},
    )


def _balanced(said: Names, tested: Sequence[Example]) -> float:
    truth = np.array([example.label for example in tested])
    return 100 * float(np.mean([(said[truth == label] == label).mean() for label in np.unique(truth)]))


def _row(name: str, method: str, found: Found, chosen: Sequence[str]) -> Row:
    told: dict[str, str | int | float | None] = {"scenes": name, "method": method, "seeds": len(found[method])}
    for measure in MEASURES:
        held_S, floor_S = _of(found, method, measure), _of(found, FLOOR, measure)
        told[measure] = mean_told(held_S)
        told[f"{measure}, change"] = "" if method == FLOOR else mean_told(held_S - floor_S, "+")
    gains = [each.gain for each in found[method] if each.gain is not None and method != TAKEN]
    told["gain, by reverse validation"] = mean_told(np.array(gains), "+") if gains else ""
    told["taken"] = chosen.count(method) if method != TAKEN else None
    told["seconds"] = round(float(np.median(_of(found, method, "seconds"))), 1)
    return told


def _claim(name: str, found: Found) -> Claim:
    lost = float(np.mean(_of(found, FLOOR, "target") - _of(found, TAKEN, "target")))
    words = f"{name}: points lost by what is taken, against the untouched extractor"
    return Claim(claim=words, value=lost, bound=WORST, holds=lost <= WORST)


def _of(found: Found, method: str, measure: str) -> Doubles:
    return np.array([getattr(each, measure) for each in found[method]])


if __name__ == "__main__":
    sys.exit(main())

"""Versions teach one of them: the ensemble of all is the teacher, the quickest whose weights can be had the student.

Promises that the rows which judge the student were not trained on, by it or by any version. Knows nothing of the loss.

Legend: N rows, of which T are trained on, D features, K columns.
"""

from __future__ import annotations

from dataclasses import replace
from typing import cast

import numpy as np
import torch

from core.errors import InvalidInput
from core.home import Home
from core.statistics import from_grid
from core.types import Doubles
from exporters.backbone import Backbone
from exporters.transform import Kind
from training.fuse import distill, logits
from training.fuse.features import joined
from training.merge import members
from training.merge.bench import FEWEST, Bench
from training.merge.members import Flags, Given
from training.merge.proposal import Proposal, evidence
from training.merge.soup import REMEDY, Kitchen, batches, measured_by_onnx, restored
from training.recipe import Context
from training.tune.batches import Feed

_PARTS = 3  # of the rows one is left aside, where no version has left any


def propose(home: Home, bench: Bench, config: distill.Config, budget: float) -> Proposal:
    """The student, taught.

    Raises:
        InvalidInput: no version has weights that can be moved, or there are too few rows.
    """
    place, student = _student(home, bench)
    aside_N = _aside(bench)
    given = replace(bench.given, judged_N=aside_N)
    school = _only(given, ~aside_N)
    mix = logits.fuse(school)
    scores_MTK = np.stack([members.held_out(school, member.features_ND) for member in school.members])
    kind = cast("Kind", bench.parents[place].manifest.transform)
    moved = _taught(home, bench, given, student, kind, logits.mix(scores_MTK, mix.alphas), config, budget)
    assembly, parity, outcomes_J = measured_by_onnx(home, bench, given, moved, kind)
    fusion = evidence("distill", given, outcomes_J, mix.alphas, [None] * len(mix.alphas), {}, {})
    aside = frozenset(example.digest for example, counts in zip(bench.examples, aside_N, strict=True) if counts)
    return Proposal(assembly=assembly, parity=parity, fusion=fusion, transform=kind, slower=False, aside=aside)


def _student(home: Home, bench: Bench) -> tuple[int, Backbone]:
    """The quickest version whose weights can be had, and its backbone."""
    why: list[str] = []
    for place in np.argsort(bench.milliseconds):
        try:
            return int(place), restored(home, bench.parents[place])
        except InvalidInput as error:
            why.append(error.message)
    raise InvalidInput(f"no version can be taught: {'; '.join(why)}", REMEDY)


def _aside(bench: Bench) -> Flags:
    """Rows that judge and are not trained on."""
    if bench.held is not None and not bench.judged_N.all():
        return bench.judged_N
    _, judge_N = next(members.folds(bench.given, _PARTS))
    if judge_N.sum() < FEWEST:
        raise InvalidInput(
            f"{int(bench.judged_N.sum())} rows leave {int(judge_N.sum())} to judge a student by; expected {FEWEST}",
            "label more of the scene",
        )
    return judge_N


def _only(given: Given, rows_N: Flags) -> Given:
    """Some of the rows, as if there were no others."""
    rows = [replace(member, features_ND=member.features_ND[rows_N]) for member in given.members]
    targets_TK = given.targets_NK[rows_N]
    return replace(given, members=rows, targets_NK=targets_TK, judged_N=np.ones(len(targets_TK), np.bool_))


def _taught(
    home: Home,
    bench: Bench,
    given: Given,
    student: Backbone,
    kind: Kind,
    teacher_TK: Doubles,
    config: distill.Config,
    budget: float,
) -> Backbone:
    kitchen = Kitchen(kind, batches(bench), [student], given)
    train_N = ~given.judged_N
    transform, rows_ND = kitchen.features(kitchen.filled(kitchen.states[0]))
    head = kitchen.head(rows_ND, train_N)
    cooled = head.temperature if given.task == "classification" else 1.0
    spread = max(float(given.targets_NK[train_N].std()), 1e-12) if given.task == "regression" else 1.0
    feeds = {side: _feed(bench, given, side_N, spread) for side, side_N in (("train", train_N), ("held", ~train_N))}
    wide = [member.features_ND.shape[1] for member in given.members]
    lesson = distill.Lesson(
        **feeds,
        logits_NK=torch.from_numpy(teacher_TK / (cooled * spread)).float(),
        features_ND=torch.from_numpy(from_grid(joined(given.members, wide))[train_N]).float(),
    )
    head = replace(head, weight=head.weight / np.float32(spread), bias=head.bias / np.float32(spread))
    context = Context(
        scene=bench.scene.tasks[0], head=head, transform=transform, limits=home.limits, seed=bench.seed, budget=budget
    )
    return distill.fuse(student, lesson, context, config)[0]


def _feed(bench: Bench, given: Given, side_N: Flags, spread: float) -> Feed:
    chosen = [example for example, counts in zip(bench.examples, side_N, strict=True) if counts]
    targets_NK = torch.from_numpy(given.targets_NK[side_N] / spread).float()
    return Feed(chosen, targets_NK, torch.ones(len(chosen)), bench.parents[0].preprocessor)

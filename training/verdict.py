"""The gate asked about one cycle's candidate: what the policy makes it ask, and its decision written down.

Promises that a decision is written with every number before anybody acts on it, and that a cycle which would only
repeat the last one, or which no candidate could win, is found before any work. Knows nothing of how a candidate is made
or promoted.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any

from core import gate
from core.decisions import Uses, Written
from core.gate import Check, Policy
from core.paired import Counts, by_class
from training.contest import ANCHOR, FRESH, Contest, ceiling, contest, counts, names_of
from training.ground import Candidate, Ground

UNDECIDED = "shadow"  # goes on as one, where the policy does not say otherwise


def policy(ground: Ground) -> Policy:
    """What the gate asks. A champion that has to go need not be surpassed, and nothing need have come since it.

    Fresh labels may be of some tasks alone: one task needs enough of them, and the anchor judges all.
    """
    asked, scene = ground.asked, ground.scene
    anchors, fresh = names_of(scene, ANCHOR), names_of(scene, FRESH)
    found = counts(scene, ground.follower, ground.stock)
    heard = tuple(name for name in fresh if found[name] >= Policy.least)
    names = (*anchors, *(heard or fresh))
    if ground.tainted:
        names = (*(name for name in anchors if found[name] >= Policy.least), *heard) or anchors
    return Policy(
        margin=asked.margin,
        alpha=asked.alpha,
        confidence=asked.confidence,
        abstention=asked.abstention,
        holdouts=names,
        superior=() if ground.tainted else tuple(_groups(anchors, fresh)),
    )


def _groups(anchors: Sequence[str], fresh: Sequence[str]) -> Iterator[tuple[str, ...]]:
    """Of every task what came since, and all that judges."""
    for anchor, newest in zip(anchors, fresh, strict=True):
        yield (newest,)
        yield (anchor, newest)


def before(ground: Ground) -> Written | None:
    """The decision that this cycle would only repeat: nothing was said since, and nothing else is asked; not one after
    which a candidate was lost before it was registered."""
    champion = ground.champion.version
    last = next((each for each in ground.home.decisions.of(champion.scene) if each.champion == champion.version), None)
    if last is None or (last.version is None and (last.accepted or last.record.get("undecided"))):
        return None
    same = (last.record["upto"], last.record["asked"]) == (ground.stock.upto, _key(ground))
    return last if same else None


def hopeless(ground: Ground, policy: Policy) -> tuple[Check, ...]:
    """Why a candidate that answers every example right would not be shown to be better: then none need be made.

    Nothing is spent, since no candidate was asked.
    """
    if not policy.superior:
        return ()
    uses = ground.home.decisions.uses(ground.scene.name, ground.champion.version.version, ground.stock.number)
    check = gate.better(ceiling(ground.scene, ground.follower, ground.stock, _spent(uses)), policy)
    return () if check.holds else (check,)


def reach(ground: Ground, candidate: Candidate, policy: Policy) -> tuple[Written, Contest]:
    """Ask both, decide, and write the decision down.

    Raises:
        Conflict: another cycle decided by the same examples meanwhile.
    """
    home, scene, stock = ground.home, ground.scene, ground.stock
    champion = ground.champion.version.version
    uses = home.decisions.uses(scene.name, champion, stock.number)
    told = contest(scene, ground.champion, ground.follower, candidate, stock, _spent(uses), policy.confidence)
    asked = (told.holdouts, told.champion, told.candidate, policy, ground.seed)
    decided, shadows = gate.decide(*asked), ground.asked.undecided == UNDECIDED and bool(policy.superior)
    undecided = shadows and not decided.accepted and gate.undecided(*asked)
    record = decided.to_json() | {
        "undecided": undecided,
        "brought": _brought(ground, told, policy) if undecided else {},
        "candidate": candidate.recipe,
        "extractor": candidate.assembly.extractor,
        "holdouts": {
            name: {
                "rows": len(each.truth),
                "uses": each.uses,
                "champion": float(each.champion.mean()) if len(each.truth) else None,
                "candidate": float(each.candidate.mean()) if len(each.truth) else None,
            }
            for name, each in told.holdouts.items()
        },
        "since": stock.since,
        "upto": stock.upto,
        "asked": _key(ground),
    }
    return home.decisions.write(scene.name, champion, stock.number, uses, decided.accepted, record), told


def _brought(ground: Ground, told: Contest, policy: Policy) -> dict[str, dict[str, Counts]]:
    """Task → class → its fresh examples, and how often the candidate alone was right, and the champion: its challenge
    begins with that evidence, unless something may well be lost."""
    scene, held = ground.scene, told.holdouts
    if not gate.likely_harmless(held, policy, ground.seed):
        return {}
    names = zip(scene.tasks, names_of(scene, FRESH), strict=True)
    return {task.task_name: by_class(held[name]) for task, name in names}


def checks(decision: Written) -> tuple[Check, ...]:
    """What the gate asked, as it was written down."""
    listed: list[dict[str, Any]] = decision.record["checks"]
    return tuple(Check(**(each | {"bound": math.nan if each["bound"] is None else each["bound"]})) for each in listed)


def _spent(uses: Uses) -> dict[str, int]:
    return {ANCHOR: uses.anchor, FRESH: uses.fresh}


def _key(ground: Ground) -> dict[str, Any]:
    """What a cycle is asked, as it stands in its decision."""
    asked = ground.asked
    return {
        "start": ground.start,
        "recipe": asked.recipe,
        "settings": {name: str(value) for name, value in ground.settings.items()},
        "seed": ground.seed,
        "budget": 60 * asked.minutes,
        "replay": asked.replay,
        "distill": asked.distill,
        "margin": asked.margin,
        "alpha": asked.alpha,
        "abstention": [asked.confidence, asked.abstention],
        **({"slices": asked.slices} if asked.slices else {}),
        **({"undecided": asked.undecided} if asked.undecided != UNDECIDED else {}),
        **({"judging": asked.judging} if asked.judging != "auto" else {}),
    }

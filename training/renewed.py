"""What a cycle of retraining makes of the labels that stand: the closed form first, then weights moved where that pays.

Of several backbones, fused or of a mixture, all are had again and one is moved: of those that can be tuned the one with
the largest share in the answer. The others stay, and so do widths, shares and blocks.

Promises that every weight begins at the pretrained backbone, or at the champion's where that is asked for; that only
examples of ``training.stock`` that teach are learned from, half of them new and half old ones, classes in turn; that
what was tuned takes the closed form's place only where it is no worse on validation rows that no weight has seen (by a
standard error at most, where the gate will ask for a gain); and the same bits for the same examples and seed on one
machine with one number of threads, unless the time runs out. Knows nothing of the gate, of the registry or of what
serves.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np

from core.errors import BadConfiguration, InvalidInput, LeptonError, ParityFailed
from core.failpoint import passes
from core.types import Doubles, Example, Head, Scene
from exporters.backbone import Backbone
from exporters.parity import SHOWN
from training import auto, folds, judge, kinds, package, parts, recipe, regained, tuning
from training.assemble import Assembly, Joint, assemble
from training.folds import Fold, names
from training.ground import Candidate, Ground
from training.judge import Judged
from training.ready import MEASURES, sentence
from training.recipe import FLOOR, Context, Epoch, Rows, TooFew, Tuned
from training.replayed import soft
from training.select import spread
from training.solo import Solo, solo
from training.sweep import Line
from training.tasks import by_task
from training.tune import device

AUTO, DEFAULT = "auto", "finetune"
BRIEF: Mapping[str, object] = {"epochs": 4, "frozen": 0.5, "keep": "last"}  # a cycle begins nearly right, comes again
KNOWN: Mapping[str, Mapping[str, object]] = {  # elsewhere a range test finds the rate, at a quarter of the time
    "image": {"rate": 6e-4},
    "text": {"rate": 3e-4, "epochs": 2, "frozen": 0.15},  # all but the words: of seven layers the first
}
LEAST_HELD, HELD = 128, 0.05  # rows, and the share of them, that say whether to ask the gate; of few rows a fifth
TUNING = 0.6  # of the time that is left goes into moving weights; the rest is for the sweep and for measuring


def renewed(ground: Ground) -> Candidate | None:
    """The best of what could be made; None where nothing but the head of the champion can move, and where its tuned
    weights were gone on from and nothing better came of it.

    Raises:
        InvalidInput: a recipe that was named does not fit the backbone or the scene.
        BadConfiguration: it was named, and what the champion's weights need is not installed.
    """
    if ground.goes_on and ground.asked.recipe != FLOOR:
        return _moved(ground, None)
    ground.reporter.stage("the closed form, on what was pretrained and what stands")
    floor = _refit(ground)
    if floor is None or ground.asked.recipe == FLOOR:
        return floor
    return _moved(ground, floor.assembly) or floor


def _refit(ground: Ground) -> Candidate | None:
    files = _files(ground)
    try:
        joint = regained.joint(ground.champion)
        backbones = regained.pristine(ground.home, ground.champion, files)
    except (LeptonError, LookupError) as error:
        words = "the champion's backbones cannot be had again, so that nothing but its head can move"
        ground.reporter.note(f"{words}: {error}")
        return None
    drawn = judge.draw(ground.stock.of(ground.stock.teaching), ground.seed)
    assembly = _assembled(ground, backbones, drawn, joint)
    try:
        _show(ground, assembly, drawn)
    except ParityFailed as error:
        ground.reporter.note(f"{error.message}: nothing but the champion's head can move")
        return None
    return Candidate(recipe=FLOOR, assembly=assembly, drawn=tuple(drawn))


def _own(ground: Ground) -> Assembly:
    """The champion's weights in their graph.

    Raises:
        InvalidInput, BadConfiguration: they cannot be had again. ParityFailed: their graph is not faithful.
    """
    backbones = regained.own(ground.home, ground.champion)
    drawn = judge.draw(ground.stock.of(ground.stock.teaching), ground.seed)
    assembly = _assembled(ground, backbones, drawn, regained.joint(ground.champion))
    _show(ground, assembly, drawn)
    return assembly


def _show(ground: Ground, assembly: Assembly, drawn: list[Example]) -> None:
    """Parity, unless it was shown when this very graph was registered.

    Raises:
        ParityFailed: the graph is not faithful.
    """
    if not ground.serves(assembly):
        package.check_parity(assembly, drawn)


def _files(ground: Ground) -> Mapping[str, bytes]:
    """What is fitted on teaching rows, such as the columns of a table, and what came with the backbone."""
    files = dict(ground.champion.bundle.files)
    modality = ground.champion.manifest.modality
    if "tabular" in parts.names(modality):
        contents = [ground.stock.files[name].read_bytes() for name in ground.stock.teaching]
        files |= kinds.kind(modality).setting(contents, (), 0.0, 0.0).files
    return files


def _assembled(ground: Ground, backbones: Sequence[Backbone], drawn: list[Example], joint: Joint | None) -> Assembly:
    bench = ground.bench
    return assemble(backbones, bench.kind, ground.scene, bench.cache, drawn, bench.threads, bench.limits, joint)


def _moved(ground: Ground, floor: Assembly | None) -> Candidate | None:
    """What a recipe makes of the floor, or of the champion's own weights where there is none; None where that is no
    better."""
    named, note = ground.asked.recipe != AUTO, ground.reporter.note
    name = ground.asked.recipe if named else DEFAULT
    try:
        start = floor or _own(ground)
        moving = start.backbones[regained.lead(ground.champion, start.backbones)]
        tuning.check(name, [moving])
        config = recipe.configure(name, ground.settings if named else brief(moving.modality))
        return _tried(ground, start, sides(ground), name, config)
    except (TooFew, ParityFailed) as error:
        note(f"{error.message}: {_stays(ground)}")
    except (InvalidInput, BadConfiguration) as refused:
        if named:
            raise
        note(f"{refused.message}: {_stays(ground)}")
    return None


def brief(modality: str) -> Mapping[str, object]:
    """How weights are moved where nobody says how: few passes at a high rate, of the upper half of the layers, or, of
    texts, of all but those of single words, which cost a tenth of a step and see most words seldom.

    >>> brief("text")
    {'epochs': 2, 'frozen': 0.15, 'keep': 'last', 'rate': 0.0003}
    >>> brief("audio")
    {'epochs': 4, 'frozen': 0.5, 'keep': 'last'}
    """
    return {**BRIEF, **KNOWN.get(modality, {})}


def _stays(ground: Ground) -> str:
    return "the champion's weights stay" if ground.goes_on else "the closed form stays"


def sides(ground: Ground) -> Rows:
    """Rows to tune on and to judge by: as many old ones as there are new ones, and at least as many as are asked for.

    Where tuning begins from the champion's weights, which have seen the old ones, only new rows judge, and old ones are
    as many as new ones at most.
    """
    stock, scene, seed = ground.stock, ground.scene, ground.seed
    new, onwards = stock.of(stock.new), ground.goes_on
    old = spread(stock.of(stock.old), scene, seed, len(new) if onwards else max(len(new), ground.asked.replay))
    mixed = _ordered(new if onwards else new + old)
    found = tuning.sides(mixed, scene, seed, most=max(LEAST_HELD, HELD * len(mixed)))
    return replace(found, train=_ordered(found.train + old)) if onwards else found


def _ordered(examples: tuple[Example, ...]) -> tuple[Example, ...]:
    return tuple(sorted(examples, key=lambda example: example.digest))


def _tried(ground: Ground, start: Assembly, rows: Rows, name: str, config: Any) -> Candidate | None:
    note, bench = ground.reporter.note, ground.bench
    place = regained.lead(ground.champion, start.backbones)
    ground.reporter.stage(f"the closed form, on {len(rows.train)} examples that teach")
    known = ground.served() if ground.serves(start) else {}
    held = judge.of_assembly(start, SHOWN, rows, bench, known=known)
    if ground.asked.recipe == AUTO and rows.train and (why := auto.against(held.score, ground.scene, rows.train)):
        note(f"{why}: {_stays(ground)}")
        return None
    halves = folds.teaching(rows, ground.scene, ground.stock.by_turns)
    made = _tuned(ground, start, place, held, halves, name, config)
    passes("retrain.tuned")
    if (still := next((each for each in made if not each.moved), None)) is not None:
        note(f"{name} found nothing better than its start ({still.stopped}): {_stays(ground)}")
        return None
    ground.reporter.stage("averaging the weights with those that they began from")
    alone = solo(start, place, held, rows, bench)
    line = Line(alone.assembly, [each.backbone for each in made], alone.rows, alone.scene, ground.seed)
    found = _judged(ground, start, place, line.at(1.0), rows)
    computed = {0.0: held.features, 1.0: found.features} if len(start.backbones) == 1 else {}
    again = not ground.tainted  # then the gate asks for a gain, by other rows
    share = line.best(computed, again=again and ground.stock.by_turns)
    if share == 0:
        note(f"no average with the tuned weights is better than none of them: {_stays(ground)}")
        return None
    found = found if share == 1 else _judged(ground, start, place, line.at(share), rows)
    decided = judge.decide(held, found, name, ground.seed, again=again)
    note(decided.words)
    if not decided.accepted:
        return None
    attempt = tuning.Attempt(
        name=name,
        rows=rows,
        words=decided.words,
        tuned=_together(ground, made, rows, share),
        judged=found,
        decision=decided,
        trained=float(np.mean([each.history[each.best].validation_score for each in made])),
    )
    answering = list(zip(line.ends(share), halves, strict=True)) if ground.stock.by_turns else []
    return _candidate(ground, start, place, attempt, answering)


def _candidate(
    ground: Ground, start: Assembly, place: int, attempt: tuning.Attempt, answering: Sequence[tuple[Backbone, Rows]]
) -> Candidate:
    """What was made, and what answers for it by turns: the weights of each half, by the examples of the other."""
    found, rows, drawn = attempt.judged, attempt.rows, partial(judge.draw, seed=ground.seed)
    assert found is not None, "it was accepted"
    unknown = ground.stock.untouched if ground.start == "champion" else frozenset(ground.stock.files)
    learned = partial(ground.home.untouched.learned, ground.scene.name, ground.stock.upto)
    taught, spared = names(rows), unknown - names(rows)
    return Candidate(
        recipe=attempt.name,
        assembly=found.assembly,
        tuning=tuning.told(attempt, start.backbones[place].digest, ground.reporter.run, ground.seed),
        spared=spared,
        learned=learned(spared),
        drawn=tuple(drawn(rows.train)),
        folds=tuple(
            Fold(
                assembly=_replaced(ground, start, place, end, drawn(half.train)),
                judged=(taught - names(half)) & ground.stock.untouched,
                learned=learned(unknown - names(half)),
            )
            for end, half in answering
        ),
        known=found.features,
    )


def _together(ground: Ground, made: Sequence[Tuned], rows: Rows, share: float) -> Tuned:
    """The tunings of both halves as one, for the manifest."""
    more = {
        "halves": len(made),
        "share_of_tuned": share,
        "replayed": _replayed(ground, rows),
        "distill": ground.asked.distill,
    }
    last = made[-1]
    return replace(last, settings={**last.settings, **more}, seconds=sum(each.seconds for each in made))


def _tuned(
    ground: Ground, start: Assembly, place: int, held: Judged, halves: Sequence[Rows], name: str, config: Any
) -> list[Tuned]:
    """The weights tuned on what teaches, or on each half of it, from a head that knows that half alone."""
    bench, base, made = ground.bench, start.backbones[place], list[Tuned]()
    until = time.monotonic() + TUNING * (ground.deadline - time.monotonic())
    for number, rows in enumerate(halves):
        which = f" (half {number + 1} of {len(halves)})" if len(halves) > 1 else ""
        ground.reporter.stage(f"tuning {base.name} by {name} on {len(rows.train)} examples{which}")
        alone = solo(start, place, _knowing(ground, start, held, rows) if which else held, rows, bench)
        seconds = (until - time.monotonic()) / (len(halves) - number)
        progress = partial(_told, ground, getattr(config, "epochs", 0), number, len(halves), alone.scene)
        made.append(recipe.load(name).tune(base, alone.rows, config, _context(ground, alone, rows, seconds, progress)))
    return made


def _knowing(ground: Ground, start: Assembly, held: Judged, rows: Rows) -> Judged:
    """The start with a head that knows some of its rows alone."""
    return replace(held, head=judge.solve(ground.scene, rows.train, held.features, start.blocks))


def _judged(ground: Ground, start: Assembly, place: int, backbone: Backbone, rows: Rows) -> Judged:
    """What would be served with a backbone in its place among those that stay."""
    drawn = judge.draw(rows.train, ground.seed)
    assembly = _replaced(ground, start, place, backbone, drawn)
    return judge.of_assembly(assembly, package.check_parity(assembly, drawn), rows, ground.bench)


def _replaced(ground: Ground, start: Assembly, place: int, backbone: Backbone, drawn: list[Example]) -> Assembly:
    backbones = [*start.backbones[:place], backbone, *start.backbones[place + 1 :]]
    return _assembled(ground, backbones, drawn, start.joint)


def _replayed(ground: Ground, rows: Rows) -> int:
    old = set(ground.stock.old)
    return sum(example.digest in old for example in rows.train)


def _told(ground: Ground, epochs: int, number: int, halves: int, scene: Scene, at: Epoch) -> None:
    """An epoch of one half, whose numbers go on where those of the other ended."""
    for name in MEASURES:
        ground.reporter.metric(name, number * (epochs + 1) + at.number, getattr(at, name))
    ground.reporter.note(sentence(at, scene))
    ground.reporter.progress(number * epochs + at.number, halves * epochs)


def _context(ground: Ground, alone: Solo, rows: Rows, seconds: float, told: Callable[[Epoch], None]) -> Context:
    return Context(
        scene=alone.scene,
        head=alone.head,
        transform=alone.assembly.transforms[0],
        limits=ground.home.limits,
        seed=ground.seed,
        budget=max(0.0, seconds),
        device=device.alone(),
        soft={
            task: {alone.names.get(name, name): target_K for name, target_K in targets.items()}
            for task, targets in soft_of(ground, alone.head, rows).items()
        },
        told=told,
        noted=ground.reporter.note,
    )


def soft_of(ground: Ground, head: Head, rows: Rows) -> dict[str, dict[str, Doubles]]:
    """What replayed rows are taught, task by task, where the champion has a share in it beside their labels; of those
    that judge its head has seen none but these."""
    old, share = set(ground.stock.old), ground.asked.distill
    replayed = [example for example in rows.train if example.digest in old] if share else []
    unseen = ground.stock.judging - names(rows)
    asked = zip(ground.follower.tasks, by_task(ground.scene, replayed), strict=True)
    return {
        task.task_name: soft(task, each.state, unseen, mine, head.of(task.task_name).labels, share)
        for each, (task, mine) in asked
    }

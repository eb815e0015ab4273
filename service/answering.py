"""Instances to answers, all by one snapshot: admitted, read, run, counted and logged.

Promises that a bad instance among several has its own error in its place, or, where the caller can tell only of the
whole, that nothing of a refused request is logged. Knows nothing of HTTP.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from core.errors import BrokenBundle, LeptonError, TooLarge
from core.ids import prediction_id
from core.predictions import as_json
from service.context import Context
from service.engine.admission import Overloaded
from service.engine.answer import Verdict, verdict
from service.engine.batcher import expired
from service.engine.queues import FOREVER, Answer
from service.engine.record import Packed, Record, pack, unpack
from service.engine.routing import Routed
from service.engine.snapshot import Snapshot
from service.identity import Known
from service.reading import Ready, inline, ready, together
from service.tracing import NOT_TRACED, Trace


@dataclass(frozen=True, slots=True)
class Asked:
    """A request for answers.

    Attributes:
        instances: each the bytes of a file, a row of tensors, or what a client wrote of it in JSON.
        size: bytes of the request.
        deadline: of the batcher's clock.
        top_k: probabilities that are told, best first; all if None.
    """

    instances: Sequence[Any]
    size: int
    deadline: float = FOREVER
    top_k: int | None = None
    trace: Trace = field(default=NOT_TRACED)


class Answered(NamedTuple):
    """An instance with what is told of it.

    Attributes:
        created_at: seconds since the epoch.
        given: what the model said. ready: the instance as the model took it.
    """

    prediction_id: str
    created_at: float
    verdict: Verdict
    given: Answer
    ready: Ready


Outcome = Answered | LeptonError


async def answer(context: Context, routed: Routed, asked: Asked) -> tuple[Snapshot, list[Outcome]]:
    """An outcome for every instance, in order, and the snapshot that gave them all.

    No input is kept of tensors: they fit one model, and another needs others.

    Raises:
        TooLarge: more instances than the cap. Overloaded: too many wait, or too long.
    """
    routed, outcomes = await _by_either(context, routed, asked)
    _keep(context, routed, outcomes)
    return routed.snapshot, outcomes


async def answer_all(context: Context, routed: Routed, asked: Asked) -> tuple[Snapshot, list[Answered]]:
    """As ``answer``, but one bad instance refuses all, by its own error with its number.

    Raises:
        LeptonError: the first error.
    """
    routed, outcomes = await _by_either(context, routed, asked)
    for number, outcome in enumerate(outcomes):
        if isinstance(outcome, LeptonError):
            context.metrics.predictions.labels(routed.snapshot.scene.name, "refused").inc(len(outcomes))
            if isinstance(outcome, Overloaded):
                raise outcome
            raise type(outcome)(f"instance {number}: {outcome.message}", outcome.remedy)
    _keep(context, routed, outcomes)
    return routed.snapshot, [outcome for outcome in outcomes if isinstance(outcome, Answered)]


def _keep(context: Context, routed: Routed, outcomes: Sequence[Outcome]) -> None:
    """Count and log what was answered, and let a shadow have a copy of it."""
    scene = routed.snapshot.scene.name
    answered = [outcome for outcome in outcomes if isinstance(outcome, Answered)]
    if answered:
        context.metrics.predictions.labels(scene, "answered").inc(len(answered))
        if _logged(context) or routed.shadow is not None:
            _log(context, routed, answered)
    if len(answered) < len(outcomes):
        context.metrics.predictions.labels(scene, "refused").inc(len(outcomes) - len(answered))
    for each in answered:
        for flag, named in each.ready.row.flags.items():
            context.metrics.flag(scene, flag, len(named))


def _logged(context: Context) -> bool:
    return context.home.settings.serve.log_predictions


def _log(context: Context, routed: Routed, answered: Sequence[Answered]) -> None:
    kept = context.home.settings.serve.keep_instances
    if routed.shadow is not None:
        for each in answered:
            each.ready.identity()  # a copy is of bytes: they are made now, and once
    waiting = [_packed(routed, each, kept) for each in answered]
    if _logged(context):
        context.log.put(waiting)
    if routed.shadow is not None:
        for each, packed in zip(answered, waiting, strict=True):
            data = each.ready.identity().data
            if data is not None:
                context.shadows.put(routed.shadow, unpack(packed), data)


async def _by_either(context: Context, routed: Routed, asked: Asked) -> tuple[Routed, list[Outcome]]:
    """By what the request was routed to; where that fails on what another version can answer, by the other one: a
    challenger by the champion, a champion on probation by the one before it."""
    outcomes = await _outcomes(context, routed, asked)
    if routed.instead is None:
        return routed, outcomes
    broken = _broken(outcomes)
    if broken is None:
        if any(isinstance(outcome, Answered) for outcome in outcomes):  # bad input is no word for who answered
            context.engine.judge(routed.snapshot, None)
        return routed, outcomes
    other = Routed(routed.instead, role="champion" if routed.role == "challenger" else "challenger")
    again = await _outcomes(context, other, asked)
    if _broken(again) is None:
        context.engine.judge(routed.snapshot, broken)
    return other, again


def _broken(outcomes: Sequence[Outcome]) -> BrokenBundle | None:
    return next((outcome for outcome in outcomes if isinstance(outcome, BrokenBundle)), None)


async def _outcomes(context: Context, routed: Routed, asked: Asked) -> list[Outcome]:
    count, most = len(asked.instances), context.home.settings.serve.max_instances
    if count > most:
        raise TooLarge(f"the request has {count} instances, of {most} at most", "send several requests")
    scene, clock = routed.snapshot.scene, context.batcher.clock
    with context.predicting.of(scene.name, count, asked.deadline - clock()):
        if inline(scene, asked.size):
            begun = [_begin(context, routed.snapshot, asked, told) for told in asked.instances]
            return [await _end(context, routed, asked, each) for each in begun]
        if count == 1:
            return [await _outcome(context, routed, asked, asked.instances[0])]
        if together(scene, asked.size, count):
            return await _one_thread(context, routed, asked)
        return await asyncio.gather(*(_outcome(context, routed, asked, told) for told in asked.instances))


Begun = tuple[Ready, asyncio.Future[Answer]] | LeptonError


def _begin(context: Context, snapshot: Snapshot, asked: Asked, told: Any) -> Begun:
    """Read an instance here and now, and let it wait for the model."""
    try:
        with asked.trace.part("decode"):
            read = ready(snapshot, context.home.limits, told)
        return read, context.batcher.enqueue(snapshot, read.row, asked.deadline)
    except LeptonError as error:
        return error


async def _outcome(context: Context, routed: Routed, asked: Asked, told: Any) -> Outcome:
    """Read an instance in a thread, and let it wait for the model."""
    snapshot = routed.snapshot
    try:
        with asked.trace.part("decode"):
            read = await context.decode(_in_time, context, snapshot, asked.deadline, told)
    except LeptonError as error:
        return error
    return await _end(context, routed, asked, _enqueued(context, snapshot, asked, read))


async def _one_thread(context: Context, routed: Routed, asked: Asked) -> list[Outcome]:
    """Read all instances in one thread, and let them wait for the model."""
    with asked.trace.part("decode"):
        read = await context.decode(_all_in_time, context, routed.snapshot, asked)
    begun = [_enqueued(context, routed.snapshot, asked, each) for each in read]
    return [await _end(context, routed, asked, each) for each in begun]


def _enqueued(context: Context, snapshot: Snapshot, asked: Asked, read: Ready | LeptonError) -> Begun:
    if isinstance(read, LeptonError):
        return read
    try:
        return read, context.batcher.enqueue(snapshot, read.row, asked.deadline)
    except LeptonError as error:
        return error


def _all_in_time(context: Context, snapshot: Snapshot, asked: Asked) -> list[Ready | LeptonError]:
    """Each instance read as ``_in_time`` does, or its error."""
    read: list[Ready | LeptonError] = []
    for told in asked.instances:
        try:
            read.append(_in_time(context, snapshot, asked.deadline, told))
        except LeptonError as error:
            read.append(error)
    return read


def _in_time(context: Context, snapshot: Snapshot, deadline: float, told: Any) -> Ready:
    """An instance that has waited for its thread beyond its deadline is not read any more."""
    if context.batcher.clock() > deadline:
        context.metrics.refuse(snapshot.scene.name, "expired")
        raise expired()
    return ready(snapshot, context.home.limits, told)


async def _end(context: Context, routed: Routed, asked: Asked, begun: Begun) -> Outcome:
    if isinstance(begun, LeptonError):
        return begun
    read, future = begun
    try:
        given = await future
    except LeptonError as error:
        return error
    asked.trace.ran(given)
    snapshot, now = routed.snapshot, time.time()
    said = verdict(snapshot, given.outputs, given.further, asked.top_k)
    return Answered(prediction_id(snapshot.scene.name, now), now, said, given, read)


def _packed(routed: Routed, answered: Answered, kept: bool) -> Packed:
    """What is logged of an answer, with its input where that is to be kept."""
    snapshot, said, known = routed.snapshot, answered.verdict, answered.ready.known
    content, (example, media, data) = (None, known) if isinstance(known, Known) else (known, Known(""))
    record = Record(
        answered.prediction_id,
        snapshot.scene.name,
        snapshot.version,
        snapshot.extractor,
        snapshot.revision,
        example,
        answered.given.features.tobytes(),
        said.label,
        said.value,
        said.confidence,
        said.margin,
        media if kept else "",
        answered.created_at,
        routed.role,
        None,
        as_json(said.further),
        content,
        kept,
    )
    return pack(record, data if kept else None)

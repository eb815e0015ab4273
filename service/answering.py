"""Instances to answers, all by one snapshot: admitted, decoded, run, counted and logged.

Promises that a bad instance among several has its own error in its place, or, where the caller can tell only of the
whole, that nothing of a refused request is logged. Knows nothing of HTTP.

Legend: H height, W width.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from core.errors import InvalidInput, LeptonError, TooLarge
from core.ids import prediction_id
from core.types import Floats, Prediction
from service.api.instances import bytes_of
from service.context import Context, Embedded
from service.engine.answer import Verdict, verdict
from service.engine.snapshot import Snapshot


@dataclass(frozen=True)
class Answered:
    """An instance with what is logged of it, what is told of it, and the row that the model gave, (K,) float32."""

    prediction: Prediction
    verdict: Verdict
    outputs: Floats


Outcome = Answered | LeptonError


async def answer(
    context: Context, snapshot: Snapshot, instances: Sequence[Any], top_k: int | None = None
) -> list[Outcome]:
    """An outcome for every instance, in order.

    An instance is the bytes of a file, a decoded picture, (H, W, 3) uint8 of the snapshot's size, or what a client
    wrote of it in JSON. No input is kept of a decoded picture: it has one size, and another model needs another.

    Raises:
        TooLarge: more instances than the cap. Unavailable: too many wait.
    """
    outcomes = await _outcomes(context, snapshot, instances, top_k)
    _count(context, snapshot, outcomes)
    context.log.put([outcome.prediction for outcome in outcomes if isinstance(outcome, Answered)])
    return outcomes


async def answer_all(context: Context, snapshot: Snapshot, instances: Sequence[Any]) -> list[Answered]:
    """As ``answer``, but one bad instance refuses all, by its own error with its number.

    Raises:
        LeptonError: the first error.
    """
    outcomes = await _outcomes(context, snapshot, instances, None)
    for number, outcome in enumerate(outcomes):
        if isinstance(outcome, LeptonError):
            _count(context, snapshot, [outcome] * len(outcomes))
            raise type(outcome)(f"instance {number}: {outcome.message}", outcome.remedy)
    answered = [outcome for outcome in outcomes if isinstance(outcome, Answered)]
    _count(context, snapshot, answered)
    context.log.put([each.prediction for each in answered])
    return answered


async def _outcomes(context: Context, snapshot: Snapshot, instances: Sequence[Any], top_k: int | None) -> list[Outcome]:
    most = context.home.settings.serve.max_instances
    if len(instances) > most:
        raise TooLarge(f"the request has {len(instances)} instances, of {most} at most", "send several requests")
    with context.predicting.of(len(instances)):
        return await asyncio.gather(*(_outcome(context, snapshot, told, top_k) for told in instances))


async def _outcome(context: Context, snapshot: Snapshot, told: Any, top_k: int | None) -> Outcome:
    kept: bytes | None = None
    try:
        if isinstance(told, np.ndarray):
            embedded = await context.embed_picture(snapshot, told)
        else:
            data = await _data(context, snapshot, told)
            embedded = await context.embed(snapshot, data)
            kept = data if context.home.settings.serve.keep_instances else None
    except LeptonError as error:
        return error
    said = verdict(snapshot, embedded.answer.outputs, top_k)
    return Answered(_prediction(snapshot, embedded, said, kept), said, embedded.answer.outputs)


async def _data(context: Context, snapshot: Snapshot, told: Any) -> bytes:
    data = told
    if not isinstance(told, bytes):
        data = await context.decode(bytes_of, told, snapshot.scene, context.home.limits)
    if not data:
        raise InvalidInput("the instance is empty", "send the bytes of a file")
    return bytes(data)


def _prediction(snapshot: Snapshot, embedded: Embedded, said: Verdict, kept: bytes | None) -> Prediction:
    now = time.time()
    return Prediction(
        prediction_id=prediction_id(snapshot.scene.name, now),
        scene=snapshot.scene.name,
        version=snapshot.version,
        extractor=snapshot.extractor,
        revision=snapshot.revision,
        example=embedded.example,
        features=embedded.answer.features,
        label=said.label,
        value=said.value,
        confidence=said.confidence,
        margin=said.margin,
        created_at=now,
        media=embedded.media if kept is not None else "",
        instance=kept,
    )


def _count(context: Context, snapshot: Snapshot, outcomes: Sequence[Outcome]) -> None:
    bad = sum(isinstance(outcome, LeptonError) for outcome in outcomes)
    for word, number in (("answered", len(outcomes) - bad), ("refused", bad)):
        if number:
            context.metrics.predictions.labels(snapshot.scene.name, word).inc(number)

"""A label to an event of the ledger: finds or makes the features that it is about.

Promises that what is answered as accepted is on disk together with its features and its input, and that a repeated
event is answered before any work is done. Knows nothing of HTTP.
"""

from __future__ import annotations

from dataclasses import replace

from core.errors import InvalidInput
from core.events import Feedback, Receipt
from core.evidence import Evidence
from core.ids import scene_of
from core.labels import check_label
from core.preprocess import modality
from core.tasks import task_of
from core.types import Prediction, Scene
from service.api.schemas import FeedbackIn
from service.context import Context
from service.identity import digest
from service.reading import example_bytes


async def take(context: Context, told: FeedbackIn) -> Receipt:
    """Take one label in.

    Raises:
        InvalidInput: a task or a label that the scene does not know, or an instance that cannot be used.
        NotFound: no such scene. Conflict: the event id is known with another body.
        Unavailable: too many labels wait, or the disk is full; nothing was kept.
    """
    with context.telling.of():
        scene = context.engine.scene(_scene(told))
        task = task_of(scene, told.task)
        check_label(task, told.label, told.value)
        data = await _data(context, told, scene)
        feedback = await context.decode(_feedback, told, task, data)
        known = await context.store(context.home.ledger.known, feedback)
        if known is None:
            evidence = await _evidence(context, told, scene, data)
            example = evidence.example if evidence else None
            known = await context.store(context.home.ledger.add, replace(feedback, example=example), evidence)
    context.metrics.labels.labels(scene.name, known.status).inc()
    return known


def _scene(told: FeedbackIn) -> str:
    if told.prediction_id is None:
        assert told.scene is not None, "the schema asks for one of the two"
        return told.scene
    named = scene_of(told.prediction_id)
    if told.scene is not None and told.scene != named:
        raise InvalidInput(
            f"the prediction is of scene {named!r}, the label of {told.scene[:80]!r}", "leave the scene out"
        )
    return named


async def _data(context: Context, told: FeedbackIn, scene: Scene) -> bytes | None:
    if told.instance is None:
        return None
    return await context.decode(example_bytes, scene, context.home.limits, told.instance)


def _feedback(told: FeedbackIn, task: Scene, data: bytes | None) -> Feedback:
    return Feedback(
        scene=task.name,
        task=task.task_name,
        event_id=told.event_id,
        prediction_id=told.prediction_id,
        example=None if data is None else digest(data),
        label=told.label,
        value=told.value,
        annotator=told.annotator or "",
        source=told.source,
        confidence=told.confidence,
        observed_at=told.observed_at,
        subject=told.subject,
    )


async def _evidence(context: Context, told: FeedbackIn, scene: Scene, data: bytes | None) -> Evidence | None:
    """What the label is about; None while its prediction is not known and its instance was not sent."""
    found: Prediction | None = None
    if told.prediction_id is not None:
        found = (await context.store(context.log.find, [told.prediction_id])).get(told.prediction_id)
    if found is None:
        return None if data is None else await _made(context, scene, data)
    if data is not None and digest(data) != found.example:
        raise InvalidInput(
            "the instance is not the one that was predicted", "send the same bytes, or leave the instance out"
        )
    given = data or found.instance
    features = {found.extractor: found.features}
    if given is None:
        return Evidence(example=found.example, features=features)
    if context.engine.snapshot(scene.name).extractor != found.extractor:  # promoted since: today's head needs its own
        features |= (await _made(context, scene, given)).features
    else:
        await context.store(context.home.artifacts.put, given)
    return Evidence(example=found.example, features=features, media=modality(scene.modality).sniff(given))


async def _made(context: Context, scene: Scene, data: bytes) -> Evidence:
    snapshot = context.engine.snapshot(scene.name)
    read, given = await context.embed(snapshot, data)
    await context.store(context.home.artifacts.put, data)
    known = read.identity()
    return Evidence(example=known.example, features={snapshot.extractor: given.features}, media=known.media)

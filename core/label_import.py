"""Labels of a file into the ledger, each as if it had come over HTTP.

Promises that a file that is read twice counts once: the same event says the same, and one that says something else
corrects what it said. The features of an input that is new here come when the learner embeds it. Knows nothing of
file formats.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Mapping, Sequence

import sqlalchemy as sa

from core.database import features, label_events
from core.errors import Conflict, InvalidInput, Withdrawn
from core.events import Feedback
from core.evidence import Evidence
from core.home import Home
from core.ids import check_identifier
from core.label_files import Said
from core.labels import check_label
from core.preprocess import keys, modality
from core.types import Scene


def take_in(home: Home, task: Scene, said: Sequence[Said]) -> dict[str, int]:
    """Take labels in; how many were ``accepted``, ``duplicate``, ``corrected`` and ``withdrawn`` before.

    Raises:
        InvalidInput: a label that the scene does not know, a name that cannot be used, or an example that is not
            known here and whose input the file does not have; nothing of the file is taken in.
    """
    ready = [(each, _evidence(home, task, each)) for each in said]
    counts = Counter(accepted=0, duplicate=0, corrected=0, withdrawn=0)
    for each, evidence in ready:
        counts[_one(home, task, each, evidence)] += 1
    return dict(counts)


def _one(home: Home, task: Scene, said: Said, evidence: Evidence) -> str:
    feedback = Feedback(
        scene=task.name,
        task=task.task_name,
        event_id=said.event_id or None,
        example=evidence.example,
        label=said.label,
        value=said.value,
        annotator=said.annotator,
        source=said.source,
        confidence=said.confidence,
    )
    known = _said(home, said.event_id) if said.event_id else None
    try:
        if known is None:
            return home.ledger.add(feedback, evidence).status
        if known != (task.name, said.label, said.value):
            if known[0] != task.name:
                raise Conflict(f"event {said.event_id!r} is of scene {known[0]!r}", "import it there")
            home.ledger.correct(said.event_id, label=said.label, value=said.value, confidence=said.confidence)
            return "corrected"
        return "duplicate"
    except Withdrawn:
        return "withdrawn"


def _evidence(home: Home, task: Scene, said: Said) -> Evidence:
    """What a label is about; checks everything of it."""
    check_label(task, said.label, said.value)
    for name, word in (("event_id", said.event_id), ("annotator", said.annotator), ("source", said.source)):
        if word:
            check_identifier(name, word)
    if not 0 < said.confidence <= 1:
        raise InvalidInput(f"confidence {said.confidence!r} cannot be used", "give a number above 0 and up to 1")
    if said.instance is not None:
        data = _bytes(task, said.instance, home)
        example = hashlib.sha256(data).hexdigest()
        home.artifacts.put(data)
        return Evidence(example=example, features={}, media=modality(task.modality).sniff(data))
    return _known(home, said.example)


def _known(home: Home, example: str) -> Evidence:
    """What the log or the ledger has of an example."""
    logged = home.predictions.of_example(example)
    if logged is not None:
        found = {logged.extractor: logged.features}
        if logged.instance is None:
            return Evidence(example=example, features=found)
        home.artifacts.put(logged.instance)
        return Evidence(example=example, features=found, media=logged.media)
    with home.ledger.database.read() as connection:
        held = connection.execute(sa.select(features.c.example).where(features.c.example == example).limit(1)).first()
    if held is None:
        raise InvalidInput(
            f"example {example[:80]!r} is not known here", "send its input along, or import where it was answered"
        )
    return Evidence(example=example, features={})


def _said(home: Home, event_id: str) -> tuple[str, str | None, float | None] | None:
    """Scene, label and value of an event as it stands; None where there is none."""
    told = label_events.c.label, label_events.c.value, label_events.c.scene
    first = (label_events.c.event_id == event_id) & (label_events.c.kind == "label")
    later = (label_events.c.target == event_id) & (label_events.c.kind == "correct")
    with home.ledger.database.read() as connection:
        rows = connection.execute(sa.select(*told).where(first | later).order_by(label_events.c.sequence)).all()
    return None if not rows else (rows[-1].scene, rows[-1].label, rows[-1].value)


def _bytes(task: Scene, instance: Mapping[str, object], home: Home) -> bytes:
    """The bytes of an instance, as over HTTP."""
    taken, plugin = keys(task.modality), modality(task.modality)
    told = instance.get(taken[0]) if len(taken) == 1 else dict(instance)
    return plugin.from_json(told, home.limits)

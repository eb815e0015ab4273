"""A tiny real model, made in a moment: 16 × 16 pictures, 32 features, a head learned from real examples.

``register`` puts it into a home as a scene with a champion; ``picture`` draws pictures that it can tell apart. Other
versions of the same scene come by another ``seed``, which makes another backbone.
"""

from __future__ import annotations

import hashlib
import io
import tempfile
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from onnx import TensorProto, helper, numpy_helper
from PIL import Image

from core import bundle
from core.bundle import FurtherTask, Golden, Lineage, Manifest, Member, Metric
from core.embed import embed
from core.events import TRAINING, Feedback
from core.evidence import Evidence
from core.home import Home
from core.lease import acquire
from core.modality import image
from core.session import Session
from core.types import Head, Policy, Revision, Scene, Task, Version
from exporters import compose
from training import card

SIDE, WIDTH = 16, 32
LABELS = ("circle", "square", "triangle")


@dataclass(frozen=True)
class Pico:
    """What was registered; ``examples`` are the digests of the training pictures."""

    scene: Scene
    version: Version
    examples: tuple[str, ...]


def picture(label: str, number: int = 0, side: int = SIDE) -> bytes:
    """A PNG of a class: its own fixed pattern, with noise that ``number`` seeds."""
    pattern = np.random.default_rng(zlib.crc32(label.encode())).integers(40, 216, (side, side, 3))
    noise = np.random.default_rng(number).integers(-40, 40, (side, side, 3))
    return png((pattern + noise).clip(0, 255).astype(np.uint8))


def png(pixels: np.ndarray) -> bytes:
    """(H, W, 3) uint8 as a PNG file."""
    out = io.BytesIO()
    Image.fromarray(pixels).save(out, "PNG")
    return out.getvalue()


def model(
    seed: int = 0,
    task: Task = "classification",
    offset: float = 0.0,
    scale: float = 1.0,
    further: Sequence[Scene] = (),
) -> bytes:
    """The composed graph over a random projection, its head still empty; ``further`` are tasks beside the first."""
    weight = np.random.default_rng(seed).standard_normal((SIDE * SIDE * 3, WIDTH)).astype(np.float32) / 2000
    nodes = [
        helper.make_node("Flatten", ["image"], ["flat"]),
        helper.make_node("Cast", ["flat"], ["cast"], to=TensorProto.FLOAT),
        helper.make_node("Sub", ["cast", "half"], ["centred"]),
        helper.make_node("MatMul", ["centred", "weight"], ["raw"]),
    ]
    graph = helper.make_graph(
        nodes,
        "pico",
        [helper.make_tensor_value_info("image", TensorProto.UINT8, ["batch", SIDE, SIDE, 3])],
        [helper.make_tensor_value_info("raw", TensorProto.FLOAT, ["batch", WIDTH])],
        [numpy_helper.from_array(np.array(128, np.float32), "half"), numpy_helper.from_array(weight, "weight")],
    )
    proto = helper.make_model(graph, opset_imports=[helper.make_opsetid("", compose.OPSET)], ir_version=8)
    member = compose.Member(graph=proto.SerializeToString())
    return compose.compose([member], task=task, offset=offset, scale=scale, further=further)


def register(
    home: Home,
    scene: str = "shapes",
    labels: Sequence[str] = LABELS,
    *,
    new_labels: Policy = "reject",
    each: int = 6,
    seed: int = 0,
    task: Task = "classification",
) -> Pico:
    """Declare the scene, teach the ledger ``each`` pictures a label, and register a version solved from them.

    A regression learns, for the label numbered k, the value k - 1.
    """
    declared = () if task == "regression" else tuple(labels)
    scale = 1.0 if task == "classification" else 4.0
    held = home.registry.declare(
        Scene(name=scene, task=task, modality="image", labels=declared, new_labels=new_labels, scale=scale)
    )
    graph = model(seed, task, held.offset, held.scale)
    extractor = compose.extractor_digest(graph)
    taught = _teach(home, held, labels, each, Session(graph), extractor)
    version = add_version(home, held, graph, extractor)
    return Pico(held, version, taught)


def add_version(
    home: Home, scene: Scene, graph: bytes, extractor: str, metrics: Mapping[str, Metric] | None = None
) -> Version:
    """A version whose head is solved from what stands; it has a card where it was measured."""
    probe = Version(scene=scene.name, version="", number=0, manifest={"extractor": extractor, "features": WIDTH})
    follower = home.follower(scene, probe)
    follower.catch_up()
    head = follower.head()
    assert head is not None, "teach the scene first"
    whole = compose.with_head(graph, head)
    pixels = np.random.default_rng(1).integers(0, 256, (3, SIDE, SIDE, 3), np.uint8)
    answer = Session(whole).predict({"image": pixels})
    golden = bundle.golden_bytes(Golden({"image": pixels}, answer.features, answer.outputs, answer.further))
    manifest = _manifest(scene, head, extractor).model_copy(update={"metrics": dict(metrics or {})})
    files = {bundle.MODEL: whole, bundle.GOLDEN: golden}
    files |= {bundle.CARD: card.render(manifest).encode()} if metrics else {}
    with tempfile.TemporaryDirectory() as folder:
        digest = bundle.write(Path(folder), manifest, files)
        home.artifacts.adopt(Path(folder), digest)
    told = home.bundle(digest).manifest.model_dump(mode="json")
    return home.registry.register(scene.name, digest, told, head)


def another(home: Home, scene: Scene, seed: int, metrics: Mapping[str, Metric] | None = None) -> Version:
    """A further version of the scene, over another backbone, with features for all that stands; not promoted."""
    return over(home, scene, model(seed, scene.task, scene.offset, scene.scale), metrics)


def over(home: Home, scene: Scene, graph: bytes, metrics: Mapping[str, Metric] | None = None) -> Version:
    """The same over a graph."""
    extractor = compose.extractor_digest(graph)
    probe = Version(scene=scene.name, version="", number=0, manifest={"extractor": extractor, "features": WIDTH})
    follower = home.follower(scene, probe)
    follower.catch_up()
    session = Session(graph)
    reader = image.preprocessor(session.inputs, {}, home.limits)
    embed(home.evidence, session, reader, extractor, follower.missing)
    return add_version(home, scene, graph, extractor, metrics)


def learn(home: Home, scene: str = "shapes", owner: str = "pico") -> Revision:
    """What a learner does: solve from what stands and publish it for the champion."""
    alias = home.registry.champion(scene)
    assert alias is not None, "register a version first"
    version = home.registry.version(scene, alias.version)
    follower = home.follower(home.registry.scene(scene), version)
    follower.catch_up()
    head = follower.head(home.registry.first_head(scene, version.version))
    lease = acquire(home.ledger.database, "learner", owner, 60.0)
    assert lease is not None, "another learner leads"
    assert head is not None, "an erasure has removed the head that the version was registered with"
    return home.registry.publish(scene, version.version, head, lease=lease, keep=1000)


def _teach(
    home: Home, scene: Scene, labels: Sequence[str], each: int, session: Session, extractor: str
) -> tuple[str, ...]:
    said: list[Feedback] = []
    evidence: list[Evidence] = []
    for k, label in enumerate(labels):
        for number in range(each):
            data = picture(label, number)
            pixels = image.decode(data, (SIDE, SIDE), home.limits)
            (features,) = session.features({"image": pixels[None]})
            example = home.artifacts.put(data)
            assert example == hashlib.sha256(data).hexdigest()
            evidence.append(Evidence(example=example, features={extractor: features}, media="image/png"))
            value = float(k - 1) if scene.task == "regression" else None
            word = label if scene.task == "classification" else None
            said.append(Feedback(scene=scene.name, example=example, label=word, value=value, source=TRAINING))
    home.evidence.keep(evidence)
    home.ledger.teach(scene.name, said)
    return tuple(e.example for e in evidence)


def _manifest(scene: Scene, head: Head, extractor: str) -> Manifest:
    return Manifest(
        scene=scene.name,
        task=scene.task,
        modality=scene.modality,
        preprocessing=image.PREPROCESSING,
        new_labels=scene.new_labels,
        labels=head.labels,
        inputs={"image": bundle.Input(dtype="uint8", shape=(SIDE, SIDE, 3))},
        extractor=extractor,
        features=WIDTH,
        members=(
            Member(
                name="pico", source="tests", digest="0" * 64, licence="Apache-2.0", dimension=WIDTH, parameters=24576
            ),
        ),
        transform="sqrt_l2",
        alphas=(1.0,),
        lam=head.lam,
        temperature=head.temperature,
        target_offset=scene.offset,
        target_scale=scene.scale,
        opset=compose.OPSET,
        recipe="closed_form",
        metrics={},
        lineage=Lineage(data_digest="0" * 64, sequence=head.sequence, code="test"),
        files={},
        task_name=scene.task_name,
        further=tuple(_further(task, head.of(task.task_name)) for task in scene.further),
    )


def _further(task: Scene, head: Head) -> FurtherTask:
    return FurtherTask(
        name=task.task_name,
        task=task.task,
        labels=head.labels,
        lam=head.lam,
        temperature=head.temperature,
        target_offset=task.offset,
        target_scale=task.scale,
        metrics={},
    )

"""Homes for load: scenes whose models are registered as they are, with a head drawn at random, nothing learned.

Promises that what is served is a bundle like any other, composed by the exporters, and that the same arguments make
the same model; what a load costs does not depend on what the head knows. Knows nothing of processes.

Legend: D features, K classes, N numbers, H height, W width.
"""

from __future__ import annotations

import hashlib
import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from onnx import TensorProto, helper, numpy_helper

from benchmarks.debian import BENCH
from core import bundle
from core.bundle import Golden, Lineage, Manifest, Member
from core.config import Settings
from core.home import Home, open_home
from core.modality.tabular import inputs_of
from core.preprocess import Limits, modality
from core.schema import FILE, Numeric, Schema, Spread
from core.session import Session
from core.types import Head, Input, Scene, Version
from exporters import compose
from exporters.backbone import Backbone, MemberGraph, member
from exporters.transform import Transform
from training.backbone import packaged
from training.zoo import Setting

PLACE = BENCH / "serving"
NUMBERS, HIDDEN = 30, 64
COLUMNS = tuple(f"c{n:02}" for n in range(NUMBERS))
LABELS = ("no", "yes")
SIZE = 224  # H and W of EfficientNet-Lite0, as it was trained


@dataclass(frozen=True, kw_only=True)
class Plant:
    """A backbone to be served: ``graph`` is its member, exported."""

    backbone: Backbone
    graph: bytes = field(repr=False)


def tiny(seed: int = 0) -> Plant:
    """30 numbers to 64 features: with the head a network of 30, 64 and 2."""
    random = np.random.default_rng(seed)
    weight = random.standard_normal((NUMBERS, HIDDEN)).astype(np.float32)
    nodes = [
        helper.make_node("IsNaN", ["numeric"], ["missing"]),
        helper.make_node("Where", ["missing", "zero", "numeric"], ["present"]),
        helper.make_node("MatMul", ["present", "weight"], ["product"]),
        helper.make_node("Add", ["product", "bias"], ["sum"]),
        helper.make_node("Relu", ["sum"], ["raw"]),
    ]
    graph = helper.make_graph(
        nodes,
        "tiny",
        [helper.make_tensor_value_info("numeric", TensorProto.FLOAT, ["batch", NUMBERS])],
        [helper.make_tensor_value_info("raw", TensorProto.FLOAT, ["batch", HIDDEN])],
        [
            numpy_helper.from_array(np.array(0, np.float32), "zero"),
            numpy_helper.from_array(weight, "weight"),
            numpy_helper.from_array(random.standard_normal(HIDDEN).astype(np.float32), "bias"),
        ],
    )
    proto = helper.make_model(graph, opset_imports=[helper.make_opsetid("", compose.OPSET)], ir_version=10)
    model = proto.SerializeToString()
    spread = Spread(low=-10.0, high=10.0, fill=0.0, mean=0.0, deviation=1.0, knots=())
    schema = Schema(rows=1, columns=tuple(Numeric(name=name, missing=0, spread=spread) for name in COLUMNS))
    held = Backbone(
        name="tiny",
        source="drawn at random",
        modality="tabular",
        digest=hashlib.sha256(model).hexdigest(),
        licence="Apache-2.0",
        parameters=weight.size + HIDDEN,
        dimension=HIDDEN,
        inputs=inputs_of(schema),
        files={FILE: schema.to_bytes()},
        body=MemberGraph(model=model),
        transform="l2",
    )
    return Plant(backbone=held, graph=member(held))


def lite0(size: int = SIZE) -> Plant:
    """EfficientNet-Lite0 at ``size`` px; exported once."""
    held, kept = packaged.load("efficientnet_lite0", Setting(size=size)), PLACE / f"lite0-{size}.onnx"
    if not kept.is_file():
        kept.parent.mkdir(parents=True, exist_ok=True)
        fresh = kept.with_suffix(".new")
        fresh.write_bytes(member(held))
        fresh.rename(kept)
    return Plant(backbone=held, graph=kept.read_bytes())


def home(name: str, scenes: Sequence[tuple[str, Plant]], below: Path = PLACE) -> Path:
    """A fresh home with these scenes, each with one version, its champion."""
    place = (below / name).absolute()
    shutil.rmtree(place, ignore_errors=True)
    opened = open_home(Settings(home=place))
    for scene, plant in scenes:
        register(opened, scene, plant)
    opened.close()
    return place


def register(opened: Home, scene: str, plant: Plant, seed: int = 0) -> Version:
    """A version of the scene with a head drawn from ``seed``; the first becomes champion."""
    held = plant.backbone
    opened.registry.declare(Scene(name=scene, task="classification", modality=held.modality, labels=LABELS))
    empty = compose.compose([compose.Member(graph=plant.graph, transform=Transform(kind=held.transform))])
    random = np.random.default_rng(seed)
    weight_DK = random.standard_normal((held.dimension, len(LABELS))).astype(np.float32)
    head = Head(weight=weight_DK, bias=np.zeros(len(LABELS), np.float32), labels=LABELS)
    model = compose.with_head(empty, head)
    session = Session(model)
    reader = modality(held.modality).preprocessor(session.inputs, held.files, Limits())
    inputs = reader.batch([reader.blank()])
    answer = session.predict(inputs)
    golden = bundle.golden_bytes(Golden(inputs, answer.features, answer.outputs))
    manifest = _manifest(scene, held, session.inputs, head, compose.extractor_name(model, reader.key), reader.key)
    with tempfile.TemporaryDirectory() as folder:
        files = {bundle.MODEL: model, bundle.GOLDEN: golden, **held.files}
        digest = bundle.write(Path(folder), manifest, files)
        opened.artifacts.adopt(Path(folder), digest)
    told = opened.bundle(digest).manifest.model_dump(mode="json")
    return opened.registry.register(scene, digest, told, head)


def model_file(place: Path, scene: str) -> Path:
    """The champion's ``model.onnx``, for the peers."""
    opened = open_home(Settings(home=place))
    alias = opened.registry.champion(scene)
    assert alias is not None, "registering makes a champion"
    file = place / f"{scene}.onnx"
    file.write_bytes(opened.bundle(alias.version).model)
    opened.close()
    return file


def row(seed: int) -> list[float]:
    """Thirty numbers with a few digits, as people send them."""
    return [round(float(x), 4) for x in np.random.default_rng(seed).uniform(-3, 3, NUMBERS)]


def features(numbers: Sequence[float]) -> dict[str, Any]:
    """The numbers by their columns."""
    return dict(zip(COLUMNS, numbers, strict=True))


def _manifest(
    scene: str, held: Backbone, inputs: dict[str, Input], head: Head, extractor: str, preprocessing: str
) -> Manifest:
    return Manifest(
        scene=scene,
        task="classification",
        modality=held.modality,
        preprocessing=preprocessing,
        new_labels="reject",
        labels=head.labels,
        inputs={name: bundle.Input(dtype=each.dtype.name, shape=each.shape) for name, each in inputs.items()},
        extractor=extractor,
        features=held.dimension,
        members=(
            Member(
                name=held.name,
                source=held.source,
                digest=held.digest,
                licence=held.licence,
                dimension=held.dimension,
                parameters=held.parameters,
            ),
        ),
        transform=held.transform,
        alphas=(1.0,),
        lam=head.lam,
        temperature=head.temperature,
        opset=compose.OPSET,
        recipe="closed_form",
        metrics={},
        lineage=Lineage(data_digest="0" * 64, sequence=0, code="benchmark"),
        files={},
    )

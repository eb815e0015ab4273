"""Scenes of texts and of sounds over tiny graphs, registered as ``tests.pico`` does it for pictures."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from onnx import NodeProto, TensorProto, helper, numpy_helper

from core import bundle
from core.bundle import Golden, Lineage, Manifest, Member
from core.head import fit_head
from core.home import Home
from core.modality import audio, text
from core.preprocess import modality
from core.session import Session
from core.types import Scene, Version
from exporters import compose
from tests import sounds

WIDTH = 8
WORDS = ("[PAD]", "[UNK]", "light", "lamp", "bright", "door", "lock", "key", "please")
TEXTS = {"light": ("light lamp please", "bright lamp", "light bright"), "door": ("door key please", "lock door", "key")}
RATE, SAMPLES = sounds.RATE, 4_000


def register_texts(home: Home, scene: str = "wishes") -> Version:
    """Wishes about a light or a door."""
    table = np.random.default_rng(0).standard_normal((len(WORDS), WIDTH)).astype(np.float32)
    nodes = [
        helper.make_node("Gather", ["table", "input_ids"], ["found"]),
        helper.make_node("Cast", ["attention_mask"], ["mask"], to=TensorProto.FLOAT),
        helper.make_node("Unsqueeze", ["mask", "last"], ["wide"]),
        helper.make_node("Mul", ["found", "wide"], ["kept"]),
        helper.make_node("ReduceSum", ["kept", "axes"], ["raw"], keepdims=0),
    ]
    constants = {"table": table, "last": np.array([-1]), "axes": np.array([1, 2])}
    ids = {name: (TensorProto.INT64, ("batch", "windows", "length")) for name in ("input_ids", "attention_mask")}
    tokenizer = {
        "version": "1.0",
        "normalizer": {"type": "Lowercase"},
        "pre_tokenizer": {"type": "Whitespace"},
        "model": {"type": "WordLevel", "vocab": {word: k for k, word in enumerate(WORDS)}, "unk_token": "[UNK]"},
        "added_tokens": [],
    }
    reading = text.Reading(tokens=16, overlap=4, windows=2, special=False)
    files = {text.TOKENIZER: json.dumps(tokenizer).encode(), text.FILE: reading.to_bytes()}
    examples = [(each.encode(), label) for label, told in TEXTS.items() for each in told]
    return _register(home, scene, "text", _graph(nodes, ids, constants), files, examples)


def register_sounds(home: Home, scene: str = "tones") -> Version:
    """Low and high tones."""
    weight = np.random.default_rng(0).standard_normal((SAMPLES, WIDTH)).astype(np.float32)
    nodes = [
        helper.make_node("MatMul", ["audio", "weight"], ["each"]),
        helper.make_node("Abs", ["each"], ["loud"]),
        helper.make_node("ReduceSum", ["loud", "axes"], ["raw"], keepdims=0),
    ]
    inputs = {"audio": (TensorProto.FLOAT, ("batch", "windows", SAMPLES))}
    windows = audio.Windows(rate=RATE, samples=SAMPLES, hop=SAMPLES, most=4)
    examples = [(sounds.encoded(sounds.tone(n, k)), label) for k, label in enumerate(("low", "high")) for n in range(3)]
    constants = {"weight": weight, "axes": np.array([1])}
    return _register(home, scene, "audio", _graph(nodes, inputs, constants), {audio.FILE: windows.to_bytes()}, examples)


def _graph(
    nodes: Sequence[NodeProto],
    inputs: Mapping[str, tuple[int, Sequence[str | int]]],
    constants: Mapping[str, np.ndarray],
) -> bytes:
    graph = helper.make_graph(
        nodes,
        "reading",
        [helper.make_tensor_value_info(name, kind, shape) for name, (kind, shape) in inputs.items()],
        [helper.make_tensor_value_info("raw", TensorProto.FLOAT, ["batch", WIDTH])],
        [numpy_helper.from_array(array, name) for name, array in constants.items()],
    )
    proto = helper.make_model(graph, opset_imports=[helper.make_opsetid("", compose.OPSET)], ir_version=8)
    return compose.compose([compose.Member(graph=proto.SerializeToString())])


def _register(
    home: Home, scene: str, kind: str, graph: bytes, files: Mapping[str, bytes], examples: Sequence[tuple[bytes, str]]
) -> Version:
    labels = tuple(dict.fromkeys(label for _, label in examples))
    home.registry.declare(Scene(name=scene, task="classification", modality=kind, labels=labels))
    session = Session(graph)
    reader = modality(kind).preprocessor(session.inputs, files, home.limits)
    inputs = reader.batch([reader.read(data) for data, _ in examples])
    head = fit_head(session.features(inputs), [label for _, label in examples], declared=labels)
    whole = compose.with_head(graph, head)
    answer = Session(whole).predict(inputs)
    golden = bundle.golden_bytes(Golden(inputs, answer.features, answer.outputs))
    manifest = Manifest(
        scene=scene,
        task="classification",
        modality=kind,
        preprocessing=reader.key,
        new_labels="reject",
        labels=labels,
        inputs={
            name: bundle.Input(
                dtype=given.dtype.name, shape=tuple(-1 if axis is None else axis for axis in given.shape)
            )
            for name, given in session.inputs.items()
        },
        extractor=compose.extractor_digest(graph),
        features=WIDTH,
        members=(Member(name="r", source="tests", digest="0" * 64, licence="MIT", dimension=WIDTH, parameters=1),),
        transform="sqrt_l2",
        alphas=(1.0,),
        lam=head.lam,
        temperature=head.temperature,
        target_offset=0.0,
        target_scale=1.0,
        opset=compose.OPSET,
        recipe="closed_form",
        metrics={},
        lineage=Lineage(data_digest="0" * 64, sequence=0, code="test"),
        files={},
    )
    with tempfile.TemporaryDirectory() as folder:
        digest = bundle.write(Path(folder), manifest, {bundle.MODEL: whole, bundle.GOLDEN: golden, **files})
        home.artifacts.adopt(Path(folder), digest)
    return home.registry.register(scene, digest, home.bundle(digest).manifest.model_dump(mode="json"), head)

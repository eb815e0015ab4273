"""A small table that tests make themselves, and a scene over it: loans that are good or bad by a rule with noise.

``register`` puts the scene into a home with a champion, as ``tests.pico`` does for pictures.
"""

from __future__ import annotations

import hashlib
import tempfile
from pathlib import Path

import numpy as np

from core import bundle
from core.bundle import Golden, Lineage, Manifest, Member
from core.events import TRAINING, Feedback
from core.evidence import Evidence
from core.home import Home
from core.modality.tabular import RowPreprocessor
from core.schema import FILE, Schema, canonical
from core.session import Session
from core.types import Head, Scene, Task, Version
from exporters import compose, table
from exporters.transform import Transform
from tests.pico import Pico
from training.schema import Cell, infer

LABELS = ("bad", "good")
COLUMNS = ("income", "age", "job", "town", "since")


def row(number: int) -> dict[str, Cell]:
    """Loan ``number``: some values missing, some towns seen once."""
    rng = np.random.default_rng(number)
    income = round(float(rng.lognormal(8, 0.5)), 2)
    return {
        "income": None if number % 9 == 4 else income,
        "age": float(rng.integers(18, 80)),
        "job": ("clerk", "farmer", "nurse")[number % 3],
        "town": None if number % 11 == 3 else f"town {int(rng.exponential(3))}",
        "since": f"20{10 + number % 15}-0{1 + number % 9}-15",
    }


def score(cells: dict[str, Cell]) -> float:
    """What the rule says: more for higher incomes, less for farmers."""
    income = cells["income"]
    worth = 0.0 if not isinstance(income, float) else float(np.log(income)) - 8
    return worth - (0.8 if cells["job"] == "farmer" else 0.0) + (0.3 if cells["job"] == "nurse" else 0.0)


def label(cells: dict[str, Cell]) -> str:
    """``good`` or ``bad``."""
    return LABELS[score(cells) > 0]


def table_of(count: int) -> tuple[list[dict[str, Cell]], list[str]]:
    """So many rows and their labels."""
    rows = [row(number) for number in range(count)]
    return rows, [label(cells) for cells in rows]


def csv(rows: list[dict[str, Cell]], labels: list[str], path: Path) -> Path:
    """The table as a CSV file with a column ``label``."""
    lines = [",".join((*COLUMNS, "label"))]
    lines += [
        ",".join(["" if r[name] is None else str(r[name]) for name in COLUMNS] + [said])
        for r, said in zip(rows, labels, strict=True)
    ]
    path.write_text("\n".join(lines) + "\n")
    return path


def model(schema: Schema, task: Task = "classification", scale: float = 1.0) -> bytes:
    """The composed graph of ``table_linear``, its head still empty."""
    graph, _, _ = table.linear(schema)
    return compose.compose([compose.Member(graph=graph, transform=Transform(kind="l2"))], task=task, scale=scale)


def register(home: Home, scene: str = "loans", *, count: int = 60, task: Task = "classification") -> Pico:
    """Declare the scene, teach the ledger ``count`` rows, and register a version solved from them."""
    rows, labels = table_of(count)
    scale = 1.0 if task == "classification" else 8.0
    declared = LABELS if task == "classification" else ()
    held = home.registry.declare(Scene(name=scene, task=task, modality="tabular", labels=declared, scale=scale))
    schema = infer(rows)
    graph = model(schema, task, held.scale)
    extractor = compose.extractor_digest(graph)
    session, reader = Session(graph), RowPreprocessor(schema, home.limits)
    said: list[Feedback] = []
    evidence: list[Evidence] = []
    for cells, word in zip(rows, labels, strict=True):
        data = canonical(cells)
        (features,) = session.features(reader.batch([reader.read(data)]))
        example = home.artifacts.put(data)
        assert example == hashlib.sha256(data).hexdigest()
        evidence.append(Evidence(example=example, features={extractor: features}, media="application/json"))
        target = {"value": score(cells)} if task == "regression" else {"label": word}
        said.append(Feedback(scene=scene, example=example, source=TRAINING, **target))
    home.evidence.keep(evidence)
    home.ledger.teach(scene, said)
    version = _version(home, held, graph, extractor, reader)
    return Pico(held, version, tuple(e.example for e in evidence))


def _version(home: Home, scene: Scene, graph: bytes, extractor: str, reader: RowPreprocessor) -> Version:
    width = Session(graph).width
    probe = Version(scene=scene.name, version="", number=0, manifest={"extractor": extractor, "features": width})
    follower = home.follower(scene, probe)
    follower.catch_up()
    head = follower.head()
    assert head is not None, "teach the scene first"
    whole = compose.with_head(graph, head)
    inputs = reader.batch([reader.read(canonical(row(number))) for number in (101, 102, 103)])
    answer = Session(whole).predict(inputs)
    golden = bundle.golden_bytes(Golden(inputs, answer.features, answer.outputs))
    manifest = _manifest(scene, head, extractor, width, reader)
    files = {bundle.MODEL: whole, bundle.GOLDEN: golden, FILE: reader.files[FILE]}
    with tempfile.TemporaryDirectory() as folder:
        digest = bundle.write(Path(folder), manifest, files)
        home.artifacts.adopt(Path(folder), digest)
    told = home.bundle(digest).manifest.model_dump(mode="json")
    return home.registry.register(scene.name, digest, told, head)


def _manifest(scene: Scene, head: Head, extractor: str, width: int, reader: RowPreprocessor) -> Manifest:
    member = Member(name="rows", source="tests", digest="0" * 64, licence="Apache-2.0", dimension=width, parameters=1)
    shapes = {name: (array.dtype.name, array.shape) for name, array in reader.blank().arrays.items()}
    return Manifest(
        scene=scene.name,
        task=scene.task,
        modality=scene.modality,
        preprocessing=reader.key,
        new_labels=scene.new_labels,
        labels=head.labels,
        inputs={name: bundle.Input(dtype=dtype, shape=shape) for name, (dtype, shape) in shapes.items()},
        extractor=extractor,
        features=width,
        members=(member,),
        transform="l2",
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
    )

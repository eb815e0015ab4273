"""What float16, int8 and fewer channels cost and bring: size, time, answers and accuracy beside float32, in one run.

``python -m benchmarks.compression [--quick] [--json FILE]``: EfficientNet-Lite0 on photographs and clip art (96 and 224
px; quick: 96) and MiniLM on smart-home intents. Ranges are measured on 128 inputs without labels; 10 labels a class, 20
draws (quick: 5), the closed-form head of each precision on its own features. Times are of one thread's processor,
interleaved, at batch 1 and 16; which operators take them goes to standard error. ``unsteady`` is the most that a
feature of a row moves with what shares its batch (the grid has steps of 0.00003): ONNX Runtime's own dynamic
quantisation is there for that.

Promises paired draws: every precision sees the same labels and the same test. Legend: N rows, D features.
"""

from __future__ import annotations

import json
import sys
import tempfile
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from benchmarks import scenes
from benchmarks.debian import BENCH
from benchmarks.draws import Flags, Names, closed_form, mean_and_half, shots
from benchmarks.report import Claim, Row, finish, options
from core.preprocess import Limits, modality
from core.session import Session
from core.statistics import from_grid
from core.types import Doubles, GridRows
from exporters import channels, members, precision
from exporters.compose import Member, compose
from exporters.transform import Transform
from lepton.demonstration import intents
from training import comparison, data, zoo
from training.evaluate import balanced_accuracy
from training.features import content, graph

CALIBRATED, SHOTS, BATCH, MEASURED = 128, 10, 16, 3
PRUNED = (0.25, 0.5)  # of the channels inside blocks
SLOWEST, LARGEST, LOST = 1 / 1.5, 0.3, 1.0  # of int8: share of time and of size, points
FULL, DYNAMIC = "fp32", "int8, one scale a batch"


@dataclass(frozen=True, eq=False)
class Case:
    """A model with rows of a scene as it takes them, their labels, and groups that stand on one side."""

    name: str
    model: bytes
    rows: Mapping[str, NDArray[Any]]
    labels_N: Names
    groups_N: Names | None = None

    def some(self, places: NDArray[np.intp] | slice) -> dict[str, NDArray[Any]]:
        """Some of the rows."""
        return {name: array[places] for name, array in self.rows.items()}


def main(argv: Sequence[str] | None = None) -> int:
    """Run, print, and give the exit code."""
    given = options(__doc__ or "", argv)
    rows: list[Row] = []
    claims: list[Claim] = []
    for size in (96,) if given.quick else (96, 224):
        for name, folder in (("photo", scenes.photo()), ("clip art", scenes.clip_art())):
            told = _measured(_pictures(f"{name}, {size} px", folder, size), 5 if given.quick else 20)
            rows += told
            claims += _claims(told, LARGEST, SLOWEST)
    told = _measured(_texts(), 5 if given.quick else 20)
    rows += told
    claims += _claims(told, LARGEST, 1.0)
    return finish("Precisions: one thread, 10 labels a class, 95 % intervals", rows, claims, given.json)


def _pictures(name: str, folder: Path, size: int) -> Case:
    backbone = zoo.load("efficientnet_lite0", zoo.Setting(size=size))
    model = compose([Member(graph=graph(backbone, BENCH / "features"), transform=Transform(kind=backbone.transform))])
    examples = data.load(folder).examples
    reader = modality("image").preprocessor(Session(model).inputs, {}, Limits())
    rows = reader.batch([reader.read(content(example)) for example in examples])
    return Case(name, model, rows, np.array([example.label for example in examples]))


def _texts() -> Case:
    backbone = zoo.load("minilm", zoo.Setting())
    model = compose([Member(graph=graph(backbone, BENCH / "features"), transform=Transform(kind=backbone.transform))])
    sentences = sorted(intents.draw(), key=lambda sentence: sentence.text)
    chosen = [sentences[place] for place in np.random.default_rng(0).permutation(len(sentences))[:1200]]
    reader = modality("text").preprocessor(Session(model).inputs, backbone.files, Limits())
    rows = reader.batch([reader.read(sentence.text.encode()) for sentence in chosen])
    groups = np.array([sentence.template for sentence in chosen])
    return Case("intents", model, rows, np.array([sentence.intent for sentence in chosen]), groups)


def _measured(case: Case, draws: int) -> list[Row]:
    """A row for each precision."""
    order = np.random.default_rng(0).permutation(len(case.labels_N))
    few = case.some(order[:CALIBRATED])
    models = {FULL: (case.model, "")}
    for name in precision.LOWER:
        made = precision.lower(case.model, name, few)
        models[name] = (made.model, ", ".join(made.kept))
    for share in PRUNED:
        models[f"{FULL}, {share:.0%} pruned"] = (channels.prune(case.model, share, few).model, "")
    fewer = channels.prune(case.model, PRUNED[0], few).model
    models[f"int8, {PRUNED[0]:.0%} pruned"] = (precision.lower(fewer, "int8", few).model, "")
    if "input_ids" in case.rows:
        models[DYNAMIC] = (_dynamic(case.model), "")
    original_ND = _features(case, case.model)
    reference = _answers(case, original_ND, draws)
    told: list[Row] = []
    for name, (model, kept) in models.items():
        features_ND = _features(case, model)
        answers = _answers(case, features_ND, draws)
        costs, milliseconds = comparison.of_costs(case.model, model, few, 0)
        row: dict[str, Any] = (
            {"scene": case.name, "precision": name, "MB": round(len(model) / 1e6, 2)}
            | _cost(costs, milliseconds)
            | _accuracy(answers, reference)
            | {
                "likeness": round(_likeness(features_ND, original_ND), 4),
                "unsteady": round(_unsteady(case, model), 5),
            }
        )
        told.append(row)
        print(f"… {case.name}, {name}: {_operators(model, case.some(order[:BATCH]))}", file=sys.stderr, flush=True)
        if kept:
            print(f"  kept in float: {kept}", file=sys.stderr, flush=True)
    return told


def _cost(costs: Mapping[str, Any], milliseconds: Mapping[int, float]) -> dict[str, Any]:
    told: dict[str, Any] = {"of size": round(costs["share_of_size"].value, 3)}
    for batch, spent in milliseconds.items():
        metric = costs[f"share_of_time_at_batch_{batch}"]
        told[f"ms, batch {batch}"] = round(spent * metric.value, 2)
        told[f"share, batch {batch}"] = f"{metric.value:.2f} ({metric.low:.2f} to {metric.high:.2f})"
    return told


def _accuracy(answers: list[Drawn], reference: list[Drawn]) -> dict[str, Any]:
    balanced = 100 * np.array([drawn.balanced for drawn in answers])
    mean, half = mean_and_half(balanced)
    change, wide = mean_and_half(balanced - 100 * np.array([drawn.balanced for drawn in reference]))
    same = 100 * np.array([(a.said == b.said).mean() for a, b in zip(answers, reference, strict=True)])
    equal, narrow = mean_and_half(same)
    return {
        "accuracy": f"{mean:.1f} ± {half:.1f}",
        "change": f"{change:+.2f} ± {wide:.2f}",
        "agreement": f"{equal:.1f} ± {narrow:.1f}",
    }


@dataclass(frozen=True, eq=False)
class Drawn:
    """The answers of a head on one draw of labels."""

    said: Names
    balanced: float


def _answers(case: Case, features_ND: GridRows, draws: int) -> list[Drawn]:
    with threadpool_limits(1):
        return [_drawn(case, features_ND, *shots(case.labels_N, SHOTS, seed, case.groups_N)) for seed in range(draws)]


def _drawn(case: Case, features_ND: GridRows, taken_N: Flags, left_N: Flags) -> Drawn:
    left_N = left_N & np.isin(case.labels_N, case.labels_N[taken_N])
    shares_NK, classes = closed_form(features_ND[taken_N], case.labels_N[taken_N], features_ND[left_N])
    said = classes[shares_NK.argmax(axis=1)]
    names = np.unique(case.labels_N[left_N])
    truth_N = np.searchsorted(names, case.labels_N[left_N])
    return Drawn(said, balanced_accuracy(np.searchsorted(names, said).astype(np.intp), truth_N))


def _features(case: Case, model: bytes, batch: int = BATCH) -> GridRows:
    session, count = Session(model, threads=2), len(case.labels_N)
    return np.concatenate([session.features(case.some(slice(i, i + batch))) for i in range(0, count, batch)])


def _likeness(features_ND: GridRows, original_ND: GridRows) -> float:
    one_ND, other_ND = from_grid(features_ND), from_grid(original_ND)
    lengths_N: Doubles = np.linalg.norm(one_ND, axis=1) * np.linalg.norm(other_ND, axis=1)
    return float(((one_ND * other_ND).sum(axis=1) / lengths_N).mean())


def _unsteady(case: Case, model: bytes) -> float:
    session = Session(model)
    together = session.features(case.some(slice(0, BATCH)))
    alone = np.concatenate([session.features(case.some(slice(i, i + 1))) for i in range(BATCH)])
    return float(np.abs(from_grid(together) - from_grid(alone)).max())


def _dynamic(model: bytes) -> bytes:
    """ONNX Runtime's dynamic quantisation of the members' products, for comparison."""
    from onnxruntime.quantization import quantize_dynamic

    made = []
    for member in members.taken(model):
        with tempfile.TemporaryDirectory() as folder:
            before, after = Path(folder) / "before.onnx", Path(folder) / "after.onnx"
            before.write_bytes(member.SerializeToString())
            quantize_dynamic(before, after, op_types_to_quantize=["MatMul", "Gemm", "Gather"], per_channel=True)
            made.append(type(member).FromString(after.read_bytes()))
    return members.replaced(model, made)


def _operators(model: bytes, rows: Mapping[str, NDArray[Any]]) -> str:
    """Where the time goes, as ONNX Runtime profiles a run at batch 16."""
    with tempfile.TemporaryDirectory() as folder:
        wanted = ort.SessionOptions()
        wanted.log_severity_level, wanted.intra_op_num_threads = 4, 1
        wanted.enable_profiling, wanted.profile_file_prefix = True, str(Path(folder) / "run")
        session = ort.InferenceSession(model, wanted, providers=["CPUExecutionProvider"])
        for _ in range(2 * MEASURED):
            session.run(["features"], dict(rows))
        events = json.loads(Path(session.end_profiling()).read_text(encoding="utf-8"))
    spent: Counter[str] = Counter()
    for event in events:
        if event["name"].endswith("_kernel_time"):
            spent[event["args"]["op_name"]] += event["dur"]
    whole = sum(spent.values())
    return ", ".join(f"{name} {100 * each / whole:.0f} %" for name, each in spent.most_common(MEASURED))


def _claims(rows: Sequence[Row], largest: float, slowest: float) -> list[Claim]:
    """What int8 is held to, on one scene."""
    (told,) = (row for row in rows if row["precision"] == "int8")
    change = float(str(told["change"]).split(" ")[0])
    size = float(str(told["of size"]))
    claims = [
        Claim(claim=f"{told['scene']}: points lost by int8", value=-change, bound=LOST, holds=-change <= LOST),
        Claim(claim=f"{told['scene']}: share of size of int8", value=size, bound=largest, holds=size <= largest),
    ]
    for batch in comparison.BATCHES:
        share = float(str(told[f"share, batch {batch}"]).split(" ")[0])
        words = f"{told['scene']}: share of time of int8 at batch {batch}"
        claims.append(Claim(claim=words, value=share, bound=slowest, holds=share <= slowest))
    return claims


if __name__ == "__main__":
    sys.exit(main())

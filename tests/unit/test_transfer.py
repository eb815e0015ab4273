"""Inputs without labels: every method on a small real network, the choice between them, and the road to a version.

The methods are found by listing their folder.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import cast

import numpy as np
import pytest
import sqlalchemy as sa
import torch

from core import plugins
from core.bundle import CARD
from core.config import Settings
from core.database import inputs as kept
from core.errors import InvalidInput
from core.head import fit_head
from core.home import open_home
from core.modality.image import decode
from core.preprocess import Limits
from core.session import Session
from core.statistics import from_grid
from core.types import Example, Scene
from exporters.backbone import Backbone, MemberGraph, Normalised, pictures
from exporters.compose import read
from exporters.recolour import recoloured
from lepton.main import run
from tests import graphs, pico
from training import features, inputs, unlabelled
from training.assemble import Assembly, assemble
from training.situation import Situation
from training.unlabelled import FLOOR, METHODS, Decision, Judges, Method

LABELS, SIDE = ("circle", "square", "triangle"), 16
CONTRAST, CAST = 0.1, (120, 60, 10)  # of another sensor
ADAPTED = plugins.names(METHODS)


class Small(torch.nn.Module):
    """Two convolutions with batch normalisation, then the mean."""

    def __init__(self) -> None:
        super().__init__()
        self.body = torch.nn.Sequential(
            torch.nn.Conv2d(3, 16, 3, stride=2, padding=1, bias=False),
            torch.nn.BatchNorm2d(16),
            torch.nn.ReLU(),
            torch.nn.Conv2d(16, 32, 3, stride=2, padding=1, bias=False),
            torch.nn.BatchNorm2d(32),
            torch.nn.ReLU(),
        )

    def forward(self, planes: torch.Tensor) -> torch.Tensor:
        features_BD: torch.Tensor = self.body(planes).flatten(1)
        return features_BD


def backbone() -> Backbone:
    torch.manual_seed(0)
    body = Normalised(Small(), (127.0,) * 3, (64.0,) * 3)
    return Backbone(
        name="small",
        source="tests",
        modality="image",
        digest="0" * 64,
        licence="Apache-2.0",
        parameters=5000,
        dimension=512,
        inputs=pictures((SIDE, SIDE)),
        body=body.eval(),
    )


def examples(count: int, first: int, *, dim: bool = False) -> list[Example]:
    """Pictures of three classes; ``dim`` ones have the contrast of another sensor."""
    made = []
    for number in range(count):
        label = LABELS[number % 3]
        data = pico.picture(label, first + number)
        if dim:
            pixels = decode(data, (SIDE, SIDE), Limits())
            data = pico.png((pixels * CONTRAST + np.array(CAST)).astype(np.uint8))
        split = "validation" if number % 3 == number // 3 % 3 else "train"
        made.append(
            Example(digest=f"{first + number}{dim}", path="", split=split, label=label, content=data)  # type: ignore[arg-type]
        )
    return made


@pytest.fixture(scope="module")
def situation(tmp_path_factory: pytest.TempPathFactory) -> Situation:
    scene = Scene(name="shapes", task="classification", modality="image", labels=LABELS, hash_key=b"key")
    assembly = assemble([backbone()], None, scene, tmp_path_factory.mktemp("cache"), [], 1, Limits())
    source, target = examples(60, 0), examples(60, 500, dim=True)
    source_ND = _features(assembly, source)
    return Situation(
        scene=scene,
        assembly=assembly,
        head=fit_head(source_ND, [e.label or "" for e in source]),
        source_ND=source_ND,
        target_MD=_features(assembly, target),
        target=[features.read(e, assembly.preprocessor) for e in target],
    )


def _features(assembly: Assembly, some: Sequence[Example]) -> np.ndarray:
    return unlabelled.extracted(assembly, [features.read(e, assembly.preprocessor) for e in some])


@pytest.fixture(scope="module", params=ADAPTED)
def adapted(request: pytest.FixtureRequest, situation: Situation) -> tuple[str, Assembly]:
    method: Method = plugins.load(METHODS, request.param)
    before = {name: t.clone() for name, t in situation.assembly.backbones[0].body.state_dict().items()}  # type: ignore[union-attr]
    made = method.adapt(situation)
    after = situation.assembly.backbones[0].body.state_dict()  # type: ignore[union-attr]
    assert all(torch.equal(before[name], after[name]) for name in before), "the source's backbone stays as it is"
    return request.param, made


def test_a_method_gives_another_extractor_of_the_same_width_on_the_grid(
    adapted: tuple[str, Assembly], situation: Situation
) -> None:
    _, made = adapted
    assert made.extractor != situation.assembly.extractor
    assert made.session.width == situation.assembly.session.width
    assert not np.array_equal(unlabelled.extracted(made, situation.target), situation.target_MD)


def test_a_method_gives_the_same_bits_again(adapted: tuple[str, Assembly], situation: Situation) -> None:
    name, made = adapted
    again: Method = plugins.load(METHODS, name)
    assert again.adapt(situation).model == made.model


def test_the_means_of_the_target_come_to_those_of_the_source(situation: Situation) -> None:
    method: Method = plugins.load(METHODS, "coral")
    made = method.adapt(situation)
    moved = from_grid(unlabelled.extracted(made, situation.target)).mean(axis=0)
    source, target = from_grid(situation.source_ND).mean(axis=0), from_grid(situation.target_MD).mean(axis=0)
    assert np.linalg.norm(moved - source) < 0.05 * np.linalg.norm(target - source)


def test_an_affine_step_is_what_it_says_and_there_is_but_one(situation: Situation) -> None:
    random = np.random.default_rng(0)
    width = situation.assembly.session.width
    matrix, shift = np.eye(width) + 0.01 * random.standard_normal((width, width)), 0.01 * random.standard_normal(width)
    model = recoloured(situation.assembly.model, matrix, shift)
    rows = situation.assembly.preprocessor.batch(situation.target[:8])
    told = from_grid(Session(model).features(rows))
    plain = from_grid(situation.assembly.session.features(rows))
    assert np.allclose(told, (plain @ matrix + shift).clip(-1, 1), atol=1e-3)
    with pytest.raises(Exception, match="has an affine step already"):
        recoloured(model, matrix, shift)


def test_an_onnx_graph_and_a_network_without_normalisation_are_left_out(situation: Situation) -> None:
    flat = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(SIDE * SIDE * 3, 512))
    plain = replace(situation.assembly.backbones[0], body=Normalised(flat, (127.0,) * 3, (64.0,) * 3))
    stiff = replace(situation, assembly=replace(situation.assembly, backbones=(plain,)))
    method: Method = plugins.load(METHODS, "batch_norm")
    with pytest.raises(InvalidInput, match="no batch normalisation"):
        method.adapt(stiff)


@pytest.fixture(scope="module")
def frozen(tmp_path_factory: pytest.TempPathFactory) -> Assembly:
    scene = Scene(name="shapes", task="classification", modality="image", labels=LABELS, hash_key=b"key")
    made = replace(backbone(), body=MemberGraph(model=graphs.projection()), dimension=32)
    return assemble([made], None, scene, tmp_path_factory.mktemp("cache"), [], 1, Limits())


def choose(assembly: Assembly, others: list[Example], source: list[Example], target: list[Example]) -> Decision:
    scene = Scene(name="shapes", task="classification", modality="image", labels=LABELS, hash_key=b"key")
    rows = dict(zip((e.digest for e in source), _features(assembly, source), strict=True))
    judges = Judges(source=source, rows=rows, target=target)
    return unlabelled.choose(scene, assembly, [replace(e, label=None) for e in others], judges, seed=0)


@pytest.mark.parametrize("labelled", [0, 60])
def test_where_the_sensor_has_changed_what_helps_is_taken(frozen: Assembly, labelled: int) -> None:
    told = choose(frozen, examples(60, 500, dim=True), examples(90, 0), examples(labelled, 900, dim=True))
    assert told.method == "coral" and told.assembly.extractor != frozen.extractor
    assert told.criterion == ("labels of the target" if labelled else "reverse validation")
    taken = next(trial for trial in told.trials if trial.name == "coral")
    assert taken.low > 0 and not taken.reason
    left_out = [trial for trial in told.trials if trial.score is None]
    assert {trial.name for trial in left_out} == {"batch_norm", "shot", "tent"}
    assert all("ONNX graph" in trial.reason for trial in left_out)


def test_a_method_whose_graph_is_not_faithful_takes_no_other_with_it(situation: Situation) -> None:
    (whole,) = situation.assembly.backbones
    strict = replace(situation.assembly, backbones=(replace(whole, tolerance=-1.0),))
    told = choose(strict, examples(60, 500, dim=True), examples(90, 0), [])
    left_out = {trial.name: trial.reason for trial in told.trials if trial.score is None}
    assert {"batch_norm", "shot", "tent"} <= left_out.keys() < {trial.name for trial in told.trials}
    assert all("features differ by" in reason for reason in left_out.values())


def test_where_nothing_has_changed_the_floor_stays(frozen: Assembly) -> None:
    told = choose(frozen, examples(60, 700), examples(90, 0), [])
    assert told.method == FLOOR and told.assembly is frozen
    assert all(trial.reason for trial in told.trials if trial.name != FLOOR)


def test_too_few_judges_and_regressions_are_refused(frozen: Assembly, situation: Situation) -> None:
    with pytest.raises(InvalidInput, match="left to judge by"):
        choose(frozen, examples(60, 500), examples(30, 0), [])
    values = replace(situation.scene, task="regression")
    with pytest.raises(InvalidInput, match="regression"):
        unlabelled.choose(values, frozen, examples(60, 500), Judges(source=[], rows={}), seed=0)


CORNERS = "corners"
SEVERAL = Scene(
    name="shapes",
    task="classification",
    modality="image",
    labels=LABELS,
    hash_key=b"key",
    task_name="shape",
    further=(
        Scene(name="shapes", task="classification", modality="image", task_name=CORNERS, labels=("none", "some")),
    ),
)


def cornered(some: list[Example]) -> list[Example]:
    """The same with a second task, of which every fifth lacks the label."""
    said = [
        {CORNERS: "none" if example.label == "circle" else "some"} if n % 5 else {} for n, example in enumerate(some)
    ]
    return [replace(example, further=further) for example, further in zip(some, said, strict=True)]


@pytest.mark.parametrize("labelled", [0, 90])
def test_of_several_tasks_the_mean_judges_and_every_one_is_told(frozen: Assembly, labelled: int) -> None:
    others, source, target = examples(60, 500, dim=True), examples(90, 0), examples(labelled, 900, dim=True)
    rows = dict(zip((e.digest for e in source), _features(frozen, source), strict=True))
    judges = Judges(source=cornered(source), rows=rows, target=cornered(target))
    found = unlabelled.choose(SEVERAL, frozen, others, judges, seed=0)
    assert found.method == "coral"
    _, judge = unlabelled.prepare(SEVERAL, frozen, others, judges, 0)
    each = [replace(judge, panels=(panel,)) for panel in judge.panels]
    scores = [one.trial("", one.outcomes(found.assembly), one.outcomes(frozen), 0.0).score for one in each]
    whole = next(trial for trial in found.trials if trial.name == "coral").score
    assert whole == pytest.approx(np.mean([score for score in scores if score is not None]))
    first, second = (panel.head for panel in judge.panels)
    told = unlabelled.metrics(SEVERAL, replace(first, further={CORNERS: second}), found, judges, {}, 0)
    gained = "gain_by_labels_of_the_target" if labelled else "gain_by_reverse_validation"
    assert gained in told["shape"] and gained not in told[CORNERS]
    for mine in told.values():
        assert ("target_balanced_accuracy" in mine) == bool(labelled)


def test_a_moved_backbone_answers_every_task(situation: Situation) -> None:
    whole = replace(situation, scene=SEVERAL)
    made = cast("Method", plugins.load(METHODS, "batch_norm")).adapt(whole)
    names = {output.name for output in read(made.model).graph.output}
    assert {"probabilities", f"probabilities.{CORNERS}", "features"} == names


def test_a_task_of_values_is_named_with_the_remedy() -> None:
    (further,) = SEVERAL.further
    with pytest.raises(InvalidInput, match="'corners' is a regression") as caught:
        unlabelled.check(replace(SEVERAL, further=(replace(further, task="regression", labels=()),)))
    assert "name only columns of classes" in caught.value.remedy


def test_a_version_for_another_scene_keeps_the_head_of_the_labelled_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The whole road, by the command line: the labelled examples keep their features, and so their head, to the bit."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("LEPTON_HOME", str(tmp_path / "home"))
    for folder, some in (("labelled", examples(90, 0)), ("few", examples(30, 900, dim=True))):
        for number, example in enumerate(some):
            place = tmp_path / folder / (example.label or "")
            place.mkdir(parents=True, exist_ok=True)
            (place / f"{number}.png").write_bytes(example.content or b"")
    (tmp_path / "plain").mkdir()
    for number, example in enumerate(examples(60, 500, dim=True)):
        (tmp_path / "plain" / f"{number}.png").write_bytes(example.content or b"")
    (tmp_path / "flat.onnx").write_bytes(graphs.projection())
    arguments = ["adapt", "shapes", "labelled", "--backbone", f"onnx_file:{tmp_path / 'flat.onnx'}", "--json"]
    told = []
    for more in ([], ["--unlabelled", "plain", "--validate", "few"]):
        assert run([*arguments, *more]) == 0
        told.append(json.loads(capsys.readouterr().out))
    home = open_home(Settings(home=tmp_path / "home"))
    first, second = (home.registry.latest_revision("shapes", each["version"]) for each in told)
    assert first is not None and second is not None
    assert np.array_equal(first.head.weight, second.head.weight)
    assert np.array_equal(first.head.bias, second.head.bias)
    versions = home.registry.versions("shapes")
    assert versions[0].manifest["extractor"] != versions[1].manifest["extractor"]
    taught = first.head.examples
    assert taught < 90  # the test side is kept nowhere, as are inputs without labels
    with home.ledger.database.read() as connection:
        assert connection.execute(sa.select(sa.func.count()).select_from(kept)).scalar() == taught
    card = (home.artifacts.bundle(versions[1].version) / CARD).read_text()
    assert "Labels come from one scene" in card and "`coral`" in card
    home.close()
    assert told[0]["transfer"] is None and told[1]["transfer"]["method"] == "coral"
    assert {"gain_by_labels_of_the_target", "source_balanced_accuracy", "target_balanced_accuracy"} <= set(
        told[1]["metrics"]
    )
    assert run(["compress", "shapes", "2", "--precision", "fp16"]) == 1
    assert "made by coral" in capsys.readouterr().err


def test_inputs_are_read_once_each_and_broken_ones_are_passed_over(tmp_path: Path) -> None:
    for number in range(40):
        file = tmp_path / "deep" / f"{number}.png"
        file.parent.mkdir(exist_ok=True)
        file.write_bytes(pico.picture("circle", number))
    (tmp_path / "copy.png").write_bytes(pico.picture("circle", 3))
    (tmp_path / "broken.png").write_bytes(b"no picture")
    (tmp_path / "notes.txt").write_text("no picture either")
    assert len(inputs.read(tmp_path, "image", Limits())) == 40
    outside = tmp_path / "deep" / "table.csv"
    outside.write_text("image\n../copy.png\n" + "".join(f"{number}.png\n" for number in range(32)))
    assert {Path(e.path).parent.name for e in inputs.read(outside, "image", Limits())} == {"deep"}


def test_a_table_of_texts_needs_no_label(tmp_path: Path) -> None:
    file = tmp_path / "inputs.csv"
    file.write_text("text\n" + "\n".join(f"text number {n}" for n in range(40)) + "\n")
    found = inputs.read(file, "text", Limits())
    assert len(found) == 40 and all(e.label is None for e in found)


@pytest.mark.parametrize(
    ("what", "modality", "named"),
    [
        ("nowhere", "image", "no such file or folder"),
        ("empty", "image", "holds 0 different pictures"),
        ("texts.csv", "image", "no column image"),
        ("texts.csv", "tabular", "no use to a scene of tabular"),
        ("notes.txt", "text", "neither a folder nor a table"),
        ("pictures", "audio", "holds 0 different"),
    ],
)
def test_bad_inputs_are_refused_by_name(tmp_path: Path, what: str, modality: str, named: str) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "pictures").mkdir()
    (tmp_path / "pictures" / "a.png").write_bytes(pico.picture("circle"))
    (tmp_path / "texts.csv").write_text("text\nhello\n")
    (tmp_path / "notes.txt").write_text("hello")
    with pytest.raises(Exception, match=named):
        inputs.read(tmp_path / what, modality, Limits())

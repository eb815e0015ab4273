"""``lepton compress`` and ``lepton export --precision``: measured, registered, served, refused."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import typer

from core import bundle
from core.bundle import Metric
from core.config import Settings
from core.home import Home, open_home
from core.promotion import prepare, promote
from core.session import Session
from core.types import Example, Scene
from lepton.compress import measured
from lepton.main import run
from service.engine import prepare as serving
from tests import graphs, pico
from training import comparison, compress
from training.comparison import Answers

EACH = 14  # pictures of each of three classes


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Home]:
    monkeypatch.setenv("LEPTON_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("LEPTON_CONFIG", raising=False)
    monkeypatch.chdir(tmp_path)
    opened = open_home(Settings(home=tmp_path / "home"))
    pico.register(opened, each=EACH)
    yield opened
    opened.close()


def told(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> Any:
    assert run([*arguments, "--json"]) == 0
    return json.loads(capsys.readouterr().out)


def test_a_compressed_version_is_another_version_with_its_own_features_and_head(
    home: Home, capsys: pytest.CaptureFixture[str]
) -> None:
    made = told(["compress", "shapes", "--precision", "int8"], capsys)
    version = home.registry.version("shapes", made["version"])
    first = home.registry.version("shapes", "1")
    manifest = home.bundle(version.version).manifest
    assert manifest.precision == "int8"
    assert manifest.lineage.parent == first.version
    assert manifest.extractor != first.manifest["extractor"]
    assert made["metrics"]["agreement"]["value"] > 0.9
    assert made["metrics"]["share_of_size"]["value"] < 0.6
    assert {"share_of_time_at_batch_1", "share_of_time_at_batch_16", "change_balanced_accuracy"} <= set(made["metrics"])
    assert made["metrics"]["leave_one_out_balanced_accuracy"]["rows"] == 3 * EACH
    alias = home.registry.champion("shapes")
    assert alias is not None and alias.version == first.version


def test_it_is_promoted_and_served_with_the_head_of_what_stands(home: Home, capsys: pytest.CaptureFixture[str]) -> None:
    made = told(["compress", "shapes", "--precision", "int8"], capsys)
    assert prepare(home, "shapes", made["version"], lambda done, total: None) == 0
    promote(home, "shapes", made["version"], expected_generation=1)
    scene = home.registry.scene("shapes")
    snapshot = serving.prepare(home, scene, made["version"], threads=1, device="cpu", max_batch=8)
    rows = [snapshot.preprocessor.read(pico.picture(label, 99)) for label in pico.LABELS]
    outputs = snapshot.run(rows).outputs
    assert [snapshot.labels[k] for k in outputs.argmax(axis=1)] == list(pico.LABELS)


def test_the_card_and_the_table_tell_what_was_measured(home: Home, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["compress", "shapes", "--precision", "fp16"]) == 0
    shown = capsys.readouterr().out
    assert "agreement" in shown and "promote it with" in shown
    version = home.registry.version("shapes", "2").version
    card = (home.artifacts.bundle(version) / bundle.CARD).read_text()
    assert "computes in fp16" in card and "agreement" in card


def test_it_can_be_judged_on_data_that_nobody_has_learned(
    home: Home, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for label in pico.LABELS:
        for number in (3, 50, 51):  # the first of them was taught
            file = tmp_path / "held" / label / f"{number}.png"
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(pico.picture(label, number))
    made = told(["compress", "shapes", "--precision", "int8", "--data", "held"], capsys)
    assert made["metrics"]["balanced_accuracy"]["rows"] == 6


def test_an_export_in_int8_is_a_whole_bundle_and_registers_nothing(
    home: Home, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = told(["export", "shapes", "--out", "out", "--precision", "int8"], capsys)
    read = bundle.read(tmp_path / "out")
    assert read.manifest.precision == "int8"
    assert read.version == out["version"]
    answer = Session(read.model).predict(read.golden.inputs)
    assert np.array_equal(answer.features, read.golden.features)
    assert len(home.registry.versions("shapes")) == 1


def test_a_version_that_is_int8_is_exported_as_it_is_and_not_compressed_again(
    home: Home, capsys: pytest.CaptureFixture[str]
) -> None:
    made = told(["compress", "shapes", "--precision", "int8"], capsys)
    assert told(["export", "shapes", "2", "--out", "out"], capsys)["version"] == made["version"]
    assert run(["compress", "shapes", "2", "--precision", "fp16"]) == 1
    assert "is in int8 already" in capsys.readouterr().err
    assert run(["export", "shapes", "2", "--out", "o2", "--precision", "fp32"]) == 1
    assert "name the version that it was made of" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "code", "named"),
    [
        (["compress", "shapes", "--precision", "int4"], 1, "fp16, int8"),
        (["export", "shapes", "--out", "o", "--precision", "int4"], 1, "fp16, int8"),
        (["export", "shapes", "--out", "o", "--precision", "int8", "--statistics"], 1, "lepton compress shapes"),
        (["compress", "shapes"], 2, "--precision"),
        (["compress", "nothing", "--precision", "int8"], 1, "'nothing'"),
        (["compress", "shapes", "9", "--precision", "int8"], 1, "no version '9'"),
    ],
)
def test_what_cannot_be_done_is_refused_by_name(
    home: Home, arguments: list[str], code: int, named: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(arguments) == code
    assert named in capsys.readouterr().err


def test_too_few_inputs_are_refused(home: Home, capsys: pytest.CaptureFixture[str]) -> None:
    pico.register(home, "few", each=5)
    assert run(["compress", "few", "--precision", "int8"]) == 1
    assert "15 inputs of what stands" in capsys.readouterr().err


def test_a_regression_is_judged_by_what_it_explains(home: Home, capsys: pytest.CaptureFixture[str]) -> None:
    pico.register(home, "sizes", each=EACH, task="regression")
    made = told(["compress", "sizes", "--precision", "int8"], capsys)
    assert made["metrics"]["likeness_r2"]["value"] > 0.9
    assert "change_r2" in made["metrics"]


def test_of_several_tasks_each_is_judged_and_hurt_by_itself(
    home: Home, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    lines = ["image,shape,shade"]
    for number in range(72):
        label = pico.LABELS[number % 3]
        (tmp_path / f"{number}.png").write_bytes(pico.picture(label, number))
        lines.append(f"{number}.png,{label},{'dark' if label == 'circle' else 'light'}")
    (tmp_path / "two.csv").write_text("\n".join(lines) + "\n")
    (tmp_path / "flat.onnx").write_bytes(graphs.projection())
    asked = ["--label", "shape", "--label", "shade", "--backbone", f"onnx_file:{tmp_path / 'flat.onnx'}"]
    assert run(["adapt", "two", "two.csv", *asked, "--json"]) == 0
    capsys.readouterr()
    made = told(["compress", "two", "--precision", "int8"], capsys)
    assert set(made["tasks"]) == {"shape", "shade"}
    assert all("agreement" in each["metrics"] for each in made["tasks"].values())
    manifest = home.bundle(made["version"]).manifest
    assert "share_of_size" in manifest.metrics and "agreement" in manifest.further[0].metrics
    snapshot = serving.prepare(home, home.registry.scene("two"), made["version"], threads=1, device="cpu", max_batch=8)
    assert set(snapshot.run([snapshot.preprocessor.blank()]).further) == {"shade"}
    hurt = told(["evaluate", "two", "two.csv", "--robustness"], capsys)
    assert {len(each["robustness"]) for each in hurt["tasks"].values()} == {18}


def test_more_than_a_point_lost_is_refused_with_the_figures() -> None:
    scene = Scene(name="ward", task="classification", modality="image", labels=("cat", "dog"))
    examples = [Example(digest=str(n), path="", split="test", label="cat" if n % 2 else "dog") for n in range(100)]
    right = np.eye(2)[[0 if n % 2 else 1 for n in range(100)]]
    worse = right.copy()
    worse[:4] = worse[:4, ::-1]
    labels = ("cat", "dog")
    told = comparison.of_answers(
        scene, Answers(outputs=right, labels=labels), Answers(outputs=worse, labels=labels), examples, seed=0
    )
    assert told["agreement"].value == 0.96
    assert told["change_balanced_accuracy"].value == pytest.approx(-0.04)
    (reason,) = compress.refusals(scene, told, compress.WORST)
    assert "4.0 points lower" in reason and "100 rows" in reason
    fine = {"change_balanced_accuracy": Metric(value=-0.01, low=-0.05, high=0.0, rows=100)}
    assert compress.refusals(scene, fine, compress.WORST) == ()


def test_a_refusal_exits_with_three_and_can_be_overruled(home: Home, capsys: pytest.CaptureFixture[str]) -> None:
    scene, version = home.registry.scene("shapes"), home.registry.version("shapes", "1")
    asked = compress.Request(scene=scene, version=version, precision="fp16", worst=-2.0)  # more than can be gained
    with pytest.raises(typer.Exit) as stopped:
        measured(home, asked, force=False, json=False)
    assert stopped.value.exit_code == 3
    assert "refused: " in capsys.readouterr().err
    assert measured(home, asked, force=True, json=True).refusals


def test_channels_are_taken_out_alone_or_before_a_lower_precision(
    home: Home, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "block.onnx").write_bytes(graphs.bottleneck())
    for label in pico.LABELS:
        (tmp_path / "data" / label).mkdir(parents=True)
        for number in range(EACH):
            (tmp_path / "data" / label / f"{number}.png").write_bytes(pico.picture(label, number))
    named = ["--backbone", f"onnx_file:{tmp_path / 'block.onnx'}", "--recipe", "closed_form"]
    first = told(["adapt", "blocks", "data", *named], capsys)["version"]
    made = told(["compress", "blocks", "--prune", "0.5", "--force"], capsys)
    assert (made["channels"], made["channels_kept"], made["precision"]) == (96, 48, "fp32")
    assert made["metrics"]["share_of_size"]["value"] < 0.8 and "lowered" not in made
    version = home.registry.version("blocks", made["version"])
    manifest = home.bundle(version.version).manifest
    (member,) = manifest.members
    assert member.tuned and not member.weights and "48 of 96 channels pruned" in member.source
    assert manifest.lineage.parent == first and manifest.extractor != home.bundle(first).manifest.extractor
    both = told(["compress", "blocks", first[:12], "--prune", "0.25", "--precision", "int8", "--force"], capsys)
    assert (both["precision"], both["channels_kept"]) == ("int8", 80) and both["lowered"] > 0
    assert run(["compress", "blocks", "--prune", "0.5", "--force"]) == 0
    assert "48 of 96 channels inside blocks taken out" in " ".join(capsys.readouterr().out.split())
    assert run(["promote", "blocks", made["version"]]) == 0
    assert run(["predict", "blocks", str(tmp_path / "data" / "circle" / "0.png")]) == 0
    assert run(["compress", "blocks", "--prune", "1.5"]) == 1
    assert "share of channels" in capsys.readouterr().err

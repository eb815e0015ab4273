"""The whole road by the command line: data, selection, graph, parity, head, bundle, registry; then what is served."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from core import bundle, config
from core.events import Feedback
from core.evidence import Evidence
from core.home import open_home
from core.modality import image
from core.preprocess import Limits
from core.session import Session
from lepton.main import run
from tests.pico import LABELS, SIDE, picture, png
from training.backbone import onnx_file


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("LEPTON_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


@pytest.fixture
def backbones(tmp_path: Path) -> list[str]:
    """Two tiny frozen backbones, as ONNX files."""
    found = onnx_file.examples(tmp_path)
    return [f"onnx_file:{name}" for name, _ in found[:2]]


def folders(root: Path, each: int = 12) -> Path:
    for label in LABELS:
        for number in range(each):
            file = root / label / f"{number}.png"
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(picture(label, number, side=SIDE * 2))
    return root


def told(capsys: pytest.CaptureFixture[str], *arguments: str) -> Any:
    capsys.readouterr()
    assert run([*arguments, "--json"]) == 0, capsys.readouterr().err
    return json.loads(capsys.readouterr().out, parse_constant=lambda word: pytest.fail(f"{word} is no JSON"))


def test_a_folder_becomes_a_served_version(
    tmp_path: Path, backbones: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    data = folders(tmp_path / "data")
    done = told(capsys, "adapt", "shapes", str(data), "--backbone", backbones[0], "--backbone", backbones[1])
    assert done["champion"] and done["labels"] == sorted(LABELS)
    assert sum(candidate["chosen"] for candidate in done["candidates"]) == 1
    assert done["parity"]["rows"] >= 64 and done["parity"]["batches"] == [1, 3, 16]
    assert done["metrics"]["balanced_accuracy"]["value"] > 0.9
    assert Path(done["data"]["page"]).is_file()
    page = Path(done["report"])
    assert page.name == f"shapes-{done['version'][:12]}.html" and "Where the time went" in page.read_text("utf-8")
    assert json.loads(page.with_suffix(".json").read_text("utf-8"))["version"] == done["version"]
    (note,) = done["explored"]["notes"]
    assert note.startswith("The closed form stays:") and "ONNX graph" in note
    answers = told(capsys, "predict", "shapes", *(str(data / label / "3.png") for label in LABELS))
    assert [answer["label"] for answer in answers] == list(LABELS)
    measured = told(capsys, "evaluate", "shapes", str(data))
    assert measured["metrics"]["accuracy"]["value"] > 0.9
    assert (measured["examples"], measured["learned"]) == (36, 36 - done["metrics"]["accuracy"]["rows"])
    assert [version["champion"] for version in told(capsys, "versions", "shapes")] == [True]


def test_what_was_tried_is_told_with_interval_latency_and_size(
    tmp_path: Path, backbones: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    named = [option for name in backbones for option in ("--backbone", name)]
    assert run(["adapt", "shapes", str(folders(tmp_path / "data")), *named]) == 0
    text = " ".join(capsys.readouterr().out.split())
    for word in ("36 inputs seen, 36 kept", "score", "interval", "ms each", "MB", "best score", "parity:"):
        assert word in text
    (version,) = told(capsys, "versions", "shapes")
    assert version["version"] in text and "champion: yes" in text


def test_the_bundle_on_disk_is_complete_by_itself(
    tmp_path: Path, backbones: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    data = folders(tmp_path / "data")
    done = told(capsys, "adapt", "shapes", str(data), "--backbone", backbones[0])
    told(capsys, "export", "shapes", "--out", str(tmp_path / "out"), "--statistics")
    held = bundle.read(tmp_path / "out", done["version"])
    answer = Session(held.model).predict(held.golden.inputs)
    assert np.array_equal(answer.features, held.golden.features)
    assert np.allclose(answer.outputs, held.golden.outputs, atol=1e-6)
    assert (tmp_path / "out" / "card.md").read_text().startswith("# shapes")
    assert (tmp_path / "out" / "statistics.safetensors").stat().st_size > 0
    assert run(["export", "shapes", "--out", str(tmp_path / "out")]) == 1


def test_the_stored_head_is_the_one_that_the_ledger_gives(
    tmp_path: Path, backbones: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    told(capsys, "adapt", "shapes", str(folders(tmp_path / "data")), "--backbone", backbones[0])
    home = open_home(config.load())
    (version,) = home.registry.versions("shapes")
    follower = home.follower(home.registry.scene("shapes"), version)
    follower.catch_up()
    head, stored = follower.head(), home.registry.first_head("shapes", version.version)
    assert head is not None and stored is not None
    assert head.weight.tobytes() == stored.weight.tobytes() and head.bias.tobytes() == stored.bias.tobytes()


def test_a_second_version_learns_what_was_labelled_meanwhile_and_a_rollback_keeps_it(
    tmp_path: Path, backbones: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    data = folders(tmp_path / "data")
    told(capsys, "adapt", "shapes", str(data), "--backbone", backbones[0], "--new-labels", "accept")
    first = told(capsys, "versions", "shapes")[0]
    label_by_hand("shapes", ("star", "star", "star"))
    second = told(capsys, "adapt", "shapes", str(data), "--backbone", backbones[1], "--transform", "l2")
    assert not second["champion"] and "star" in second["labels"]
    assert told(capsys, "scenes")[0]["new_labels"] == "accept", "a policy stays until it is changed by name"
    label_by_hand("shapes", ("moon", "moon"))
    told(capsys, "promote", "shapes", second["version"][:12])
    assert {"star", "moon"} <= set(told(capsys, "scenes")[0]["labels"])
    moved = told(capsys, "rollback", "shapes")
    assert moved["version"] == first["version"]
    assert {"star", "moon"} <= set(told(capsys, "scenes")[0]["labels"])


def test_no_picture_that_was_learned_before_tests_a_later_version(
    tmp_path: Path, backbones: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    data = folders(tmp_path / "data")
    arguments = ["adapt", "shapes", str(data), "--backbone", backbones[0]]
    first = told(capsys, *arguments)["metrics"]["accuracy"]["rows"]
    again = told(capsys, *arguments)["metrics"]["accuracy"]["rows"]
    assert again == first, "the same split leaves the same pictures aside"
    other = told(capsys, *arguments, "--seed", "5")["metrics"]
    assert "accuracy" not in other or other["accuracy"]["rows"] < first
    home = open_home(config.load())
    events = home.ledger.events("shapes", 0)
    never = len(list(data.glob("*/*.png"))) - len({event.example for event in events})
    assert other.get("accuracy", {"rows": 0})["rows"] == never


def label_by_hand(scene: str, labels: tuple[str, ...]) -> None:
    """What feedback with an instance brings: the label, and the input as a blob; features come by embedding."""
    home = open_home(config.load())
    for number, label in enumerate(labels):
        example = home.artifacts.put(picture(label, number))
        evidence = Evidence(example=example, features={}, media="image/png")
        home.ledger.add(Feedback(scene=scene, label=label, example=example), evidence)


@pytest.mark.parametrize("transform", ["sqrt_l2", "l2", "standardised"])
def test_a_table_of_values_becomes_a_regression(
    tmp_path: Path, backbones: list[str], transform: str, capsys: pytest.CaptureFixture[str]
) -> None:
    values = np.random.default_rng(0).uniform(-3, 9, 80)
    with (tmp_path / "table.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["image", "weight"])
        for number, value in enumerate(values):
            shade = np.full((SIDE, SIDE, 3), 128, np.int64)
            shade[: SIDE // 2] += int(value * 12)
            noise = np.random.default_rng(number).integers(-2, 3, shade.shape)
            (tmp_path / f"{number}.png").write_bytes(png((shade + noise).clip(0, 255).astype(np.uint8)))
            writer.writerow([f"{number}.png", f"{value:.3f}"])
    arguments = ["--label", "weight", "--backbone", backbones[0], "--transform", transform]
    done = told(capsys, "adapt", "scale", str(tmp_path / "table.csv"), *arguments)
    assert done["labels"] == ["value"]
    assert done["metrics"]["leave_one_out_r2"]["value"] > 0.5
    (answer,) = told(capsys, "predict", "scale", str(tmp_path / "0.png"))
    assert abs(answer["value"] - values[0]) < 4
    assert run(["predict", "scale", "nothing.png"]) == 1


def test_pictures_of_people_are_not_among_the_golden_rows(
    tmp_path: Path, backbones: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    data = folders(tmp_path / "data")
    rows = [["image", "label", "subject"]]
    rows += [[f"{label}/{n}.png", label, f"person {n}"] for label in LABELS for n in range(12)]
    with (data / "all.csv").open("w", newline="") as file:
        csv.writer(file).writerows(rows)
    done = told(capsys, "adapt", "shapes", str(data / "all.csv"), "--backbone", backbones[0])
    golden = open_home(config.load()).bundle(done["version"]).golden.inputs["image"]
    pictures = {picture(label, n, side=SIDE * 2) for label in LABELS for n in range(12)}
    size = (golden.shape[1], golden.shape[2])
    shown = {image.decode(data, size, Limits()).tobytes() for data in pictures}
    assert not any(row.tobytes() in shown for row in golden)

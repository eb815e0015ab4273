"""The road with a recipe: tuned where it is no worse, told in manifest and card, restored to the bit."""

from __future__ import annotations

import itertools
import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.datasets import load_digits

from core import config
from core.artifacts import UNFINISHED
from core.home import Home, open_home
from core.registry import short
from lepton.main import run
from lepton.output import Stages
from tests.pico import png
from tests.tuning import LABELS, picture
from training import pipeline, tuned
from training.backbone import timm

LITE = ["--backbone", "efficientnet_lite0", "--size", "32", "--recipe", "finetune", "--set", "augment=false"]
QUICK = ["--set", "rate=1e-3", "--set", "epochs=6", "--set", "batch=8"]


def folders(root: Path, each: int = 18, labels: tuple[str, ...] = LABELS) -> Path:
    for label in labels:
        for number in range(each):
            file = root / label / f"{number}.png"
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(picture(label, number))
    return root


def digits(root: Path, each: int = 20) -> Path:
    """Real digits, of 8 by 8 pixels, that are easily taken for each other."""
    held = load_digits()
    for label in (1, 3, 8, 9):
        for number, place in enumerate(np.flatnonzero(held.target == label)[:each]):
            file = root / str(label) / f"{number}.png"
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(png(np.repeat(15 * held.images[place].astype(np.uint8)[:, :, None], 3, axis=2)))
    return root


def pico(folder: Path) -> list[str]:
    """Arguments that name the smallest convolutional network of timm, with random weights."""
    (name, setting), *_ = timm.examples(folder)
    return ["--backbone", f"timm:{name}", "--size", str(setting.size), "--recipe", "finetune", "--set", "augment=false"]


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("LEPTON_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


def told(capsys: pytest.CaptureFixture[str], *arguments: str) -> Any:
    capsys.readouterr()
    assert run([*arguments, "--json"]) == 0, capsys.readouterr().err
    return json.loads(capsys.readouterr().out, parse_constant=lambda word: pytest.fail(f"{word} is no JSON"))


def nothing_is_left(home: Home, scene: str) -> bool:
    """No version, no bundle, no tuned weights, nothing unfinished; and the ledger was taught nothing."""
    files = [file for file in home.artifacts.root.rglob("*") if file.is_file() or UNFINISHED in file.name]
    return not files and not home.registry.versions(scene) and not list(home.ledger.events(scene, 0))


@pytest.mark.slow
def test_a_tuned_version_tells_how_it_was_made_and_can_be_made_again(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = digits(tmp_path / "data")
    done = told(capsys, "adapt", "digits", str(data), *LITE, *QUICK)
    attempt = done["attempt"]
    assert done["recipe"] == "finetune" and attempt["decision"]["accepted"], attempt["words"]
    assert attempt["decision"]["candidate"] >= attempt["decision"]["floor"]
    home = open_home(config.load())
    manifest = home.bundle(done["version"]).manifest
    (member,) = manifest.members
    how = member.tuning
    assert how is not None and member.tuned and manifest.recipe == how.recipe == "finetune"
    assert (how.seed, how.epochs, how.best, how.rows) == (0, 6, attempt["best"], attempt["decision"]["rows"])
    assert how.settings["rate"] == 1e-3 and how.base != member.digest
    curve = {point.step: point.value for point in home.progress.metrics(how.run) if point.name == "validation_loss"}
    assert curve == {epoch["number"]: epoch["validation_loss"] for epoch in attempt["epochs"]}
    assert tuned.restore(home.artifacts, member.weights).digest == member.digest
    apart = home.untouched.of(manifest.lineage.validation)
    assert len(apart) == how.rows == manifest.metrics["leave_one_out_accuracy"].rows
    card = (home.artifacts.bundle(done["version"]) / "card.md").read_text()
    assert how.base[:16] in card and f"epoch {how.best} of 6" in card
    measured = told(capsys, "evaluate", "digits", str(data), "--attack", "pgd", "--epsilon", "8", "--steps", "3")
    left = measured["metrics"]["accuracy_under_pgd_8"]
    assert left["value"] < measured["metrics"]["accuracy"]["value"] and left["rows"] == measured["examples"]
    home.close()


def test_a_backbone_is_tuned_by_the_labels_of_several_tasks(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Two label columns, of which some lines lack one; the attempt tells how much each counted."""
    folders(tmp_path / "data", 10)
    lines = ["image,side,axis"]
    for number, file in enumerate(sorted((tmp_path / "data").glob("*/*.png"))):
        side, axis = file.parent.name, "across" if file.parent.name in {"left", "right"} else "along"
        said = ["" if number % 7 == 0 else side, "" if number % 7 == 1 else axis]
        lines.append(",".join([str(file.relative_to(tmp_path)), *said]))
    (tmp_path / "two.csv").write_text("\n".join(lines) + "\n")
    asked = ["--label", "side", "--label", "axis", "--set", "balance=uncertainty"]
    done = told(capsys, "adapt", "halves", str(tmp_path / "two.csv"), *asked, *pico(tmp_path), *QUICK)
    assert set(done["tasks"]) == {"side", "axis"}
    attempt = done["attempt"]
    accepted = attempt["decision"] is not None and attempt["decision"]["accepted"]  # None: no epoch beat the start
    assert (done["recipe"] == "finetune") is accepted, attempt["words"]
    assert attempt["settings"]["balance"] == "uncertainty" and len(attempt["epochs"]) == 7


def test_what_is_no_better_leaves_the_floor_and_says_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """No time at all; and, by the same home, steps so long that nothing is learned."""
    data, named = folders(tmp_path / "data", 10), pico(tmp_path)
    hurried = told(capsys, "adapt", "halves", str(data), *named, "--budget", "0.001s")
    assert hurried["recipe"] == "closed_form" and "the untouched backbone stays" in hurried["attempt"]["words"]
    assert "time was over" in hurried["attempt"]["words"]
    wild = told(capsys, "adapt", "halves", str(data), *named, "--set", "rate=10", "--set", "epochs=1")
    assert wild["recipe"] == "closed_form"
    with open_home(config.load()).ledger.database.read() as connection:
        epochs = "SELECT count(*) FROM run_metrics WHERE name NOT LIKE 'candidate/%'"
        assert connection.exec_driver_sql(epochs).scalar() == 3 * 5  # epoch 0 of the one; 0 and 1
    before, after = (open_home(config.load()).bundle(done["version"]).manifest for done in (hurried, wild))
    assert after.members == before.members and after.extractor == before.extractor
    assert after.members[0].tuning is None and not after.members[0].weights and not after.members[0].tuned


def test_one_example_a_class_leaves_the_floor(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = folders(tmp_path / "data", 3, LABELS[:2])
    done = told(capsys, "adapt", "few", str(data), *pico(tmp_path))
    assert done["recipe"] == "closed_form"
    assert "the untouched backbone stays" in done["attempt"]["words"]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--recipe", "finetune", "--set", "speed=5"], "speed"),
        (["--recipe", "finetune", "--set", "epochs=many"], "many"),
        (["--recipe", "finetune", "--set", "epochs"], "epochs=5"),
        (["--recipe", "closed_form", "--set", "epochs=5"], "this recipe has none"),
        (["--recipe", "finetune", "--set", "adversarial=pgd", "--set", "align=dan"], "choose one of them"),
        (["--recipe", "finetune", "--rewriter", "nowhere:at_all"], "nowhere"),
    ],
)
def test_a_wrong_setting_is_one_line_before_anything_is_read(
    arguments: list[str], said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["adapt", "halves", str(tmp_path), *arguments]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("error: ") and said in line


def test_a_table_has_no_network_that_could_be_tuned(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    table = tmp_path / "rows.csv"
    table.write_text("age,label\n" + "".join(f"{n},{'old' if n > 30 else 'young'}\n" for n in range(60)))
    assert run(["adapt", "ages", str(table), "--backbone", "table_linear", "--recipe", "finetune"]) == 1
    assert "cannot be tuned" in capsys.readouterr().err


class Interrupting(Stages):
    """Ctrl-C as the first epoch ends."""

    def metric(self, name: str, step: int, value: float) -> None:
        if step == 1:
            raise KeyboardInterrupt


def test_an_interrupted_recipe_leaves_nothing(tmp_path: Path) -> None:
    data, named = folders(tmp_path / "data", 10), pico(tmp_path)
    home = open_home(config.load())
    request = pipeline.Request(
        scene="halves", data=data, backbones=(named[1],), size=int(named[3]), recipe="finetune", settings={"rate": 1e-3}
    )
    with pytest.raises(KeyboardInterrupt), Interrupting(quiet=True) as stages:
        pipeline.adapt(home, request, stages)
    assert nothing_is_left(home, "halves")
    home.close()


@pytest.mark.slow
def test_a_recipe_that_is_killed_leaves_nothing_and_the_next_one_goes_its_way(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data, named = folders(tmp_path / "data", 10), pico(tmp_path)
    long = [*named, "--set", "rate=1e-4", "--set", "epochs=5000", "--set", "patience=5000"]
    command = [sys.executable, "-m", "lepton.main", "adapt", "halves", str(data), *long]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    with subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True) as running:
        assert running.stderr is not None
        lines = list(itertools.takewhile(lambda line: "epoch 2:" not in line, running.stderr))
        running.kill()
    assert running.returncode == -signal.SIGKILL, lines
    opened = open_home(config.load())
    assert nothing_is_left(opened, "halves")
    opened.close()
    done = told(capsys, "adapt", "halves", str(data), *named, "--set", "rate=1e-4", "--set", "epochs=1")
    assert done["champion"] and short(done["version"])

"""What is installed without torch, in fresh virtual environments: the base install, and a built bento.

Both serve a home that was prepared elsewhere, with a tiny real bundle, and must answer over HTTP.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from core.config import Settings
from core.home import open_home
from tests import pico
from tests.processes import Running, environment, free_port
from tests.waiting import until

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

ROOT = Path(__file__).parents[2]
SCENE = "shapes"
PACKAGES = ("core", "exporters", "learner", "lepton", "service", "training")
SERVING = {"core", "learner", "service"}
READY_SECONDS = 90.0


def test_the_base_install_has_no_torch_and_boots_predicts_and_learns(tmp_path: Path) -> None:
    python = fresh(tmp_path / "env", "-c", str(ROOT / "constraints.txt"), str(source(tmp_path / "source")))
    assert_no_torch(python)
    assert_adapting_asks_for_the_extra(python, tmp_path)
    port = free_port()
    command = [str(python.with_name("lepton")), "up", "--port", str(port)]
    with served(command, prepared(tmp_path / "home"), port) as client:
        first = predict(client, 1)
        assert first["predictions"][0]["label"] in pico.LABELS
        sequence = label(client, first)["sequence"]
        assert sequence > first["sequence"]
        until(lambda: predict(client, 2)["sequence"] >= sequence, 30.0)
        assert predict(client, 2)["revision"] > first["revision"]


def test_a_built_bento_holds_the_serving_set_alone_and_serves_from_its_own_folder(tmp_path: Path) -> None:
    bento = built(tmp_path)
    folders = {path.name for path in (bento / "src").iterdir() if path.is_dir()}
    assert folders == SERVING, "nothing but what serves and what learns"
    files = [path.relative_to(bento).as_posix() for path in bento.rglob("*") if path.is_file()]
    assert not [name for name in files if name.endswith((".pt", ".pth", ".pkl", ".db", ".onnx", ".pyc"))]
    wanted = (bento / "env" / "python" / "requirements.txt").read_text()
    assert "torch" not in wanted
    python = fresh(tmp_path / "env", "-r", str(bento / "env" / "python" / "requirements.txt"))
    assert_no_torch(python)
    port = free_port()
    command = [str(python), "-m", "bentoml", "serve", str(bento), "--host", "127.0.0.1", "--port", str(port)]
    with served(command, prepared(tmp_path / "home"), port, BENTOML_HOME=str(tmp_path / "elsewhere")) as client:
        answer = predict(client, 1)
        assert answer["scene"] == SCENE
        assert answer["predictions"][0]["label"] in pico.LABELS
        assert label(client, answer)["status"] == "accepted"


def predict(client: httpx.Client, number: int) -> dict[str, Any]:
    """The answer to one picture."""
    told = client.post(
        f"/v1/scenes/{SCENE}/predict", content=pico.picture("circle", number), headers={"Content-Type": "image/png"}
    )
    assert told.status_code == 200, told.text
    answer: dict[str, Any] = told.json()
    return answer


def label(client: httpx.Client, answer: dict[str, Any]) -> dict[str, Any]:
    """The receipt for saying what the predicted picture is."""
    body = {"prediction_id": answer["predictions"][0]["prediction_id"], "label": "circle"}
    told = client.post("/v1/feedback", json=body)
    assert told.status_code == 202, told.text
    receipt: dict[str, Any] = told.json()
    return receipt


def prepared(folder: Path) -> Path:
    """A home with a champion, made by the environment that runs the tests."""
    home = open_home(Settings(home=folder))
    pico.register(home, SCENE)
    home.close()
    return folder


def source(place: Path) -> Path:
    """What a user would install from: a copy, so that no build leaves anything in the project."""
    place.mkdir()
    for name in PACKAGES:
        shutil.copytree(ROOT / name, place / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, place)
    return place


def built(tmp_path: Path) -> Path:
    """The folder of a bento built from a copy of the project."""
    place = source(tmp_path / "source")
    shutil.copy(ROOT / "bentofile.yaml", place)
    bare = environment(tmp_path / "none", BENTOML_HOME=str(tmp_path / "store"), BENTOML_DO_NOT_TRACK="True")
    done = subprocess.run(
        [sys.executable, "-m", "bentoml", "build", "--output", "tag"],
        cwd=place,
        env=bare,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-4000:]
    (bento,) = [path.parent for path in (tmp_path / "store" / "bentos").rglob("bento.yaml")]
    return bento


def fresh(place: Path, *wanted: str) -> Path:
    """A new virtual environment with these installed by pip; the path of its interpreter."""
    subprocess.run([sys.executable, "-m", "venv", str(place)], check=True)
    python = place / "bin" / "python"
    done = subprocess.run(
        [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *wanted],
        cwd=place,
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-4000:]
    return python


def assert_no_torch(python: Path) -> None:
    for name in ("torch", "onnx", "sklearn", "timm"):
        done = subprocess.run(
            [str(python), "-c", f"import {name}"], cwd=python.parent, capture_output=True, text=True, check=False
        )
        assert "ModuleNotFoundError" in done.stderr, f"{name} is there"


def assert_adapting_asks_for_the_extra(python: Path, folder: Path) -> None:
    command = [str(python.with_name("lepton")), "adapt", SCENE, str(folder)]
    variables = environment(folder / "none")
    variables.pop("PYTHONPATH", None)
    done = subprocess.run(command, cwd=folder, env=variables, capture_output=True, text=True, check=False)
    assert done.returncode == 1, done.stderr
    assert "train" in done.stderr, "the remedy names the extra"
    assert "Traceback" not in done.stderr


@contextmanager
def served(command: list[str], home: Path, port: int, **settings: str) -> Iterator[httpx.Client]:
    """A client of what ``command`` serves, once it is ready; ended with the block."""
    variables = environment(home, **settings)
    variables.pop("PYTHONPATH", None)  # which could bring this project in
    running = Running(command, variables, home.parent / "served.log")
    try:
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=30, trust_env=False) as client:
            until(lambda: ready(client, running), READY_SECONDS)
            yield client
    finally:
        running.stop()


def ready(client: httpx.Client, running: Running) -> bool:
    assert running.process.poll() is None, running.told()
    try:
        return client.get("/readyz").status_code == 200
    except httpx.TransportError:
        return False

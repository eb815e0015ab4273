"""What a worker costs in memory with a real backbone: EfficientNet-Lite0 at 224 px, over real HTTP."""

from __future__ import annotations

import base64
import io
import random
import shutil
from pathlib import Path

import httpx
import psutil
import pytest
from PIL import Image

from lepton.demonstration import digits_data
from tests.processes import house, run

SCENE = "digits"
EACH = 6  # digits a class that the scene is adapted on
REQUESTS = 200
LARGEST_BATCH = 8
BOUND = 400.0  # MB of 10**6 bytes


@pytest.mark.slow
def test_a_worker_with_lite0_stays_under_400_mb_through_200_mixed_requests(tmp_path: Path) -> None:
    adapted(tmp_path / "home", few_digits(tmp_path))
    pictures = [large(file.read_bytes()) for file in sorted((tmp_path / "few").glob("*/*.png"))]
    dice = random.Random(0)
    with house(tmp_path / "home") as held:
        held.start_service(workers=1)
        (worker,) = held.workers()
        with httpx.Client(base_url=held.url, timeout=60, trust_env=False) as client:
            for _ in range(REQUESTS):
                ask(client, dice.choices(pictures, k=dice.randint(1, LARGEST_BATCH)))
        resident, highest = memory(worker)
    assert resident > 50, "a worker that has loaded a model cannot be this small: the wrong process was measured"
    assert highest < BOUND, f"{highest:.0f} MB at most, {resident:.0f} MB at the end"


def ask(client: httpx.Client, pictures: list[bytes]) -> None:
    """One request, every picture of which is answered."""
    instances = [{"image": {"b64": base64.b64encode(picture).decode()}} for picture in pictures]
    told = client.post(f"/v1/scenes/{SCENE}/predict", json={"instances": instances})
    assert told.status_code == 200, told.text
    assert ["label" in answer for answer in told.json()["predictions"]] == [True] * len(pictures)


def memory(worker: psutil.Process) -> tuple[float, float]:
    """MB resident now, and at most since the process began."""
    told = dict(line.split(":", 1) for line in Path(f"/proc/{worker.pid}/status").read_text().splitlines())
    now, most = (int(told[name].split()[0]) * 1024 / 1e6 for name in ("VmRSS", "VmHWM"))
    return now, most


def few_digits(folder: Path) -> Path:
    """Class folders with a few digits each."""
    for label in sorted(digits_data.small_digits(folder / "all").iterdir()):
        (folder / "few" / label.name).mkdir(parents=True)
        for file in sorted(label.glob("*.png"))[:EACH]:
            shutil.copy(file, folder / "few" / label.name)
    return folder / "few"


def adapted(home: Path, data: Path) -> None:
    """A home whose scene was adapted on ``data`` by the command line."""
    arguments = ("adapt", SCENE, str(data), "--backbone", "efficientnet_lite0", "--size", "224")
    done = run(home, *arguments, seconds=240)
    assert done.returncode == 0, done.stderr


def large(data: bytes) -> bytes:
    """The picture at 640 x 480, as a camera would send it."""
    out = io.BytesIO()
    Image.open(io.BytesIO(data)).convert("RGB").resize((640, 480)).save(out, "PNG")
    return out.getvalue()

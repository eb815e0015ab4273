"""A virtual environment for every peer, made once under ``.bench/peers/`` from pinned versions.

Promises an interpreter that has the peer's packages, or a reason why there is none; a half-made environment is made
again. All servers have the same ONNX Runtime, numpy and Pillow as this project, what trains with torch sees the very
torch of this project (gigabytes, which are not installed twice), so that only the peers differ. Knows nothing of how
peers are run.
"""

from __future__ import annotations

import hashlib
import importlib.util
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path

from benchmarks.debian import BENCH

PLACE = BENCH / "peers"
SAME = ("numpy", "onnxruntime-gpu", "pillow", "uvloop", "httptools", "uvicorn")  # in our own versions
INSTALL_SECONDS = 600.0

TRAINERS = ("fastai", "autogluon")  # which get nothing of SAME
SHARED: Mapping[str, str] = {"fastai": "torch"}  # what stands beside this package here is seen there, too
# What each needs beside; the packages that these bring along are what pip finds on the day.
PACKAGES: Mapping[str, Sequence[str]] = {
    "starlette": ("starlette==1.10.0",),
    "fastapi": ("fastapi==0.165.0",),
    "litserve": ("litserve==0.2.19",),
    "bentoml": ("bentoml==1.4.39",),
    "mlserver": ("mlserver==1.7.1",),
    "fastai": ("fastai==2.8.12",),
    "autogluon": ("autogluon.tabular[lightgbm,catboost,xgboost]==1.6.3",),
}


class NotInstalled(RuntimeError):
    """A peer cannot be installed here; the message says why."""


def environment(name: str, place: Path = PLACE) -> Path:
    """The interpreter of the peer's environment, made where it is missing.

    Raises:
        NotInstalled: pip could not do it; the message ends with its last line.
    """
    folder = (place / name).absolute()
    python, mark = folder / "bin" / "python", folder / "made-from"
    wanted = requirements(name)
    digest = hashlib.sha256("\n".join(wanted).encode()).hexdigest()
    if mark.is_file() and mark.read_text() == digest:
        return python
    shutil.rmtree(folder, ignore_errors=True)
    _run(name, [sys.executable, "-m", "venv", str(folder)])
    if name in SHARED:
        spec = importlib.util.find_spec(SHARED[name])
        assert spec is not None and spec.origin is not None, f"{SHARED[name]} is installed here"
        (site,) = folder.glob("lib/python*/site-packages")
        (site / "ours.pth").write_text(f"{Path(spec.origin).parents[1]}\n")
    _run(name, [str(python), "-m", "pip", "install", "--quiet", *wanted])
    mark.write_text(digest)
    return python


def requirements(name: str) -> list[str]:
    """What pip is asked for."""
    same = () if name in TRAINERS else SAME
    return [*(f"{package}=={version(package)}" for package in same), *PACKAGES[name]]


def _run(name: str, command: Sequence[str]) -> None:
    try:
        ran = subprocess.run(command, capture_output=True, text=True, timeout=INSTALL_SECONDS, check=False)
    except subprocess.TimeoutExpired:
        raise NotInstalled(f"{name}: not installed within {INSTALL_SECONDS:.0f} s") from None
    if ran.returncode:
        said = [line for line in ran.stderr.strip().splitlines() if line.strip()]
        raise NotInstalled(f"{name}: {said[-1] if said else f'exit code {ran.returncode}'}")

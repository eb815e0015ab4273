"""Debian packages as folders of files under ``.bench/``, and folders that are made once.

Promises that a folder appears complete or not at all, and that nothing is installed. Needs ``apt-get`` and ``dpkg``.
Knows nothing of what is in a package.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from core.errors import BadConfiguration

BENCH = Path(".bench")


def once(out: Path, make: Callable[[Path], object]) -> Path:
    """``out``, filled by ``make`` if it is not there: built beside it, then renamed."""
    if out.is_dir():
        return out
    out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=out.parent, prefix=".new-") as folder:
        made = Path(folder) / "scene"
        made.mkdir()
        make(made)
        made.rename(out)
    return out


def unpack(package: str, into: Path) -> None:
    """Download a Debian package and unpack it into ``into``; nothing is installed."""
    if not shutil.which("apt-get") or not shutil.which("dpkg"):
        raise BadConfiguration(f"{package} needs apt-get and dpkg", "run this benchmark on Debian or Ubuntu")
    with tempfile.TemporaryDirectory() as place, _report(f"{package} cannot be downloaded"):
        if _run("apt-get", "download", package, folder=place).returncode:
            _run("apt-get", "update", folder=place)
            _run("apt-get", "download", package, folder=place).check_returncode()
        (archive,) = Path(place).glob("*.deb")
        _run("dpkg", "-x", str(archive), str(into.absolute()), folder=place).check_returncode()


@contextmanager
def _report(message: str) -> Iterator[None]:
    try:
        yield
    except subprocess.CalledProcessError as error:
        said = (error.stderr or "").strip().splitlines()[-1:]
        raise BadConfiguration(f"{message}: {' '.join(said)}", "check apt's sources, run apt-get update") from error


def _run(*command: str, folder: str) -> subprocess.CompletedProcess[str]:
    plain = {**os.environ, "LC_ALL": "C"}
    return subprocess.run(command, cwd=folder, env=plain, capture_output=True, text=True, check=False)

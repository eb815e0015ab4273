"""A version's bundle as a folder outside the home, to be taken away.

Promises that the folder is there whole or not at all, every digest checked. Knows nothing of who takes it.
"""

from __future__ import annotations

import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path

from core.artifacts import UNFINISHED, unwritable
from core.bundle import read
from core.errors import BrokenBundle, Conflict, NotFound
from core.federation import FILE, to_bytes
from core.home import Home
from core.types import Scene, Version


@dataclass(frozen=True, kw_only=True)
class Exported:
    """What lies where."""

    version: str
    out: Path
    bytes: int


def export(
    home: Home, scene: str, version: str | None, out: Path, statistics: bool = False, *, again: bool = False
) -> Exported:
    """Copy the bundle of a version, or of the champion, to ``out``.

    Args:
        statistics: write the head's sufficient statistics, too.
        again: the very bundle may lie there already, since an attempt before was cut off.

    Raises:
        Conflict: the folder is there and holds something.
        NotFound: no such version.
        Unavailable: the folder cannot be written.
    """
    chosen = champion_or(home, scene, version)
    if not (again and _is_there(out, chosen.version)):
        _copy(home, home.registry.scene(scene), chosen, out, statistics)
    size = sum(file.stat().st_size for file in out.iterdir())
    return Exported(version=chosen.version, out=out, bytes=size)


def champion_or(home: Home, scene: str, version: str | None) -> Version:
    """The version that is named, or the champion.

    Raises:
        NotFound: there is no such scene or version, or no champion yet.
    """
    home.registry.scene(scene)
    if version is None:
        alias = home.registry.champion(scene)
        if alias is None:
            raise NotFound(f"scene {scene!r} has no version yet", "make one with lepton adapt")
        version = alias.version
    return home.registry.version(scene, version)


def _is_there(out: Path, version: str) -> bool:
    try:
        read(out, version)
    except BrokenBundle:
        return False
    return True


def _copy(home: Home, scene: Scene, version: Version, out: Path, statistics: bool) -> None:
    if out.exists() and any(out.iterdir()):
        raise Conflict(f"the folder {out} is not empty", "name another one")
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        staged = Path(tempfile.mkdtemp(dir=out.parent, prefix=UNFINISHED))
        try:
            shutil.copytree(home.artifacts.bundle(version.version), staged, dirs_exist_ok=True)
            read(staged, version.version)
            if statistics:
                _write_statistics(home, scene, version, staged / FILE)
            staged.chmod(0o755)
            staged.replace(out)
        finally:
            shutil.rmtree(staged, ignore_errors=True)
    except OSError as error:
        raise unwritable(out, error) from error


def _write_statistics(home: Home, scene: Scene, version: Version, file: Path) -> None:
    """The sums of what stands here, those of other sites left out: whoever adds them up counts each site once."""
    follower = home.follower(scene, version, alone=True)
    follower.catch_up()
    for each in follower.tasks:
        share = to_bytes(follower.share(each))
        (file if each is follower.tasks[0] else file.with_stem(f"{file.stem}.{each.task.task_name}")).write_bytes(share)

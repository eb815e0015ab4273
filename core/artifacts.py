"""Content-addressed files in a local folder: inputs as blobs, bundles as folders named by their manifest's digest.

Promises that whatever is visible under its final name is complete, and on disk. Knows nothing of what is inside.
"""

from __future__ import annotations

import errno
import hashlib
import os
import shutil
import tempfile
from collections.abc import Container
from pathlib import Path

from core.errors import NotFound, Unavailable

# What a machine is short of for now, by the number of its error: no file is to blame.
SHORT = frozenset(
    {errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.EAGAIN, errno.ENOSPC, errno.EDQUOT, errno.ESTALE, errno.ETIMEDOUT}
)
UNFINISHED = ".unfinished-"
UNFINISHED_SECONDS = 3600.0


class Artifacts:
    """The folder ``artifacts`` under LEPTON_HOME."""

    def __init__(self, home: Path):
        self.root = home / "artifacts"

    def put(self, data: bytes) -> str:
        """Store bytes; returns their SHA-256. Storing the same bytes twice keeps one file.

        Raises:
            Unavailable: the disk is full or cannot be written; nothing is left behind.
        """
        digest = hashlib.sha256(data).hexdigest()
        place = self.blob(digest)
        if place.exists():
            return digest
        try:
            place.parent.mkdir(parents=True, exist_ok=True)
            handle, temporary = tempfile.mkstemp(dir=place.parent, prefix=UNFINISHED)
            try:
                with os.fdopen(handle, "wb") as file:
                    file.write(data)
                    file.flush()
                    os.fsync(file.fileno())
                Path(temporary).replace(place)
                sync_folder(place.parent)
                sync_folder(place.parent.parent)
            except BaseException:
                Path(temporary).unlink(missing_ok=True)
                raise
        except OSError as error:
            raise unwritable(place.parent, error) from error
        return digest

    def get(self, digest: str) -> bytes:
        """The bytes of a blob.

        Raises:
            NotFound: there is no such blob.
        """
        try:
            return self.blob(digest).read_bytes()
        except FileNotFoundError:
            raise NotFound(f"there is no stored input {digest}", "its retention has ended, or it was erased") from None

    def delete(self, digest: str) -> bool:
        """Remove a blob for good; False where there was none."""
        place = self.blob(digest)
        if not place.exists():
            return False
        place.unlink(missing_ok=True)
        sync_folder(place.parent)
        return True

    def blob(self, digest: str) -> Path:
        """Where a blob lies, or would."""
        return self.root / "blobs" / digest[:2] / digest

    def bundle(self, version: str) -> Path:
        """Where the bundle of a version lies."""
        return self.root / "bundles" / version

    def adopt(self, folder: Path, version: str) -> Path:
        """Move a finished bundle folder to its place in one step; keeps the one that is already there.

        Raises:
            Unavailable: the disk is full or cannot be written.
        """
        place = self.bundle(version)
        try:
            place.parent.mkdir(parents=True, exist_ok=True)
            if place.exists():
                os.utime(place)  # it is wanted again, so no sweep takes it
                return place
            staged = Path(tempfile.mkdtemp(dir=place.parent, prefix=UNFINISHED))
            try:
                for file in sorted(folder.iterdir()):
                    shutil.copyfile(file, staged / file.name)
                    with (staged / file.name).open("rb+") as written:
                        os.fsync(written.fileno())
                sync_folder(staged)
                staged.chmod(0o755)
                staged.replace(place)
                sync_folder(place.parent)
            except BaseException:
                shutil.rmtree(staged, ignore_errors=True)
                raise
        except OSError as error:
            if error.errno in {errno.ENOTEMPTY, errno.EEXIST} and place.is_dir():
                return place
            raise unwritable(place.parent, error) from error
        return place

    def sweep(self, now: float, registered: Container[str] | None = None) -> int:
        """Remove what a killed process left over an hour ago, unfinished or, of bundles, not registered; how many."""
        places = [*self.root.glob(f"blobs/*/{UNFINISHED}*"), *self.root.glob(f"bundles/{UNFINISHED}*")]
        if registered is not None:
            places += [place for place in self.root.glob("bundles/[0-9a-f]*") if place.name not in registered]
        old = [place for place in places if now - _written(place, now) > UNFINISHED_SECONDS]
        for place in old:
            shutil.rmtree(place, ignore_errors=True) if place.is_dir() else place.unlink(missing_ok=True)
        return len(old)


def sync_folder(folder: Path) -> None:
    """Make the names in a folder durable."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _written(place: Path, now: float) -> float:
    """When a file was last written; ``now`` where its writer has finished or removed it meanwhile."""
    try:
        return place.stat().st_mtime
    except FileNotFoundError:
        return now


def unwritable(place: Path, error: OSError) -> Unavailable:
    """The error for a folder that cannot be written."""
    return Unavailable(
        f"{place} could not be written: {error.strerror or error}", "free the disk or correct its permissions"
    )

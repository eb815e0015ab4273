"""Files that appear whole or not at all, also where the disk ends in the middle."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from core.artifacts import Artifacts
from core.errors import NotFound, Unavailable

# A process whose files may not grow beyond 64 KiB: writing on fails as on a full disk, in the middle of a file.
SMALL_DISK = """
import resource, sys
from pathlib import Path
from core.artifacts import Artifacts
from core.errors import Unavailable
artifacts = Artifacts(Path(sys.argv[1]))
artifacts.put(b"small")
resource.setrlimit(resource.RLIMIT_FSIZE, (65536, 65536))
deed, what = sys.argv[2], Path(sys.argv[3])
try:
    artifacts.put(what.read_bytes()) if deed == "put" else artifacts.adopt(what, "v1")
except Unavailable as error:
    print(error)
"""


def files_in(folder: Path) -> list[str]:
    return sorted(str(file.relative_to(folder)) for file in folder.rglob("*") if file.is_file())


@pytest.fixture
def artifacts(tmp_path: Path) -> Artifacts:
    return Artifacts(tmp_path)


def test_bytes_come_back_under_their_digest(artifacts: Artifacts) -> None:
    digest = artifacts.put(b"a picture")
    assert digest == hashlib.sha256(b"a picture").hexdigest()
    assert artifacts.get(digest) == b"a picture"
    assert artifacts.put(b"a picture") == digest
    assert len(files_in(artifacts.root)) == 1


def test_a_deleted_blob_is_gone(artifacts: Artifacts) -> None:
    digest = artifacts.put(b"a picture")
    assert artifacts.delete(digest) is True
    assert artifacts.delete(digest) is False
    with pytest.raises(NotFound, match=digest):
        artifacts.get(digest)
    assert files_in(artifacts.root) == []


def test_many_writers_of_the_same_bytes_leave_one_file(artifacts: Artifacts) -> None:
    with ThreadPoolExecutor(4) as pool:
        digests = set(pool.map(lambda _: artifacts.put(b"x" * 100_000), range(12)))
    assert len(digests) == len(files_in(artifacts.root)) == 1


def bundle_in(folder: Path, **files: bytes) -> Path:
    folder.mkdir()
    for name, data in files.items():
        (folder / name).write_bytes(data)
    return folder


def test_a_bundle_is_adopted_whole_and_stays_what_it_was(artifacts: Artifacts, tmp_path: Path) -> None:
    place = artifacts.adopt(bundle_in(tmp_path / "made", manifest=b"1", model=b"2"), "v1")
    assert place == artifacts.bundle("v1")
    assert {name: (place / name).read_bytes() for name in files_in(place)} == {"manifest": b"1", "model": b"2"}
    assert place.stat().st_mode & 0o777 == 0o755
    again = artifacts.adopt(bundle_in(tmp_path / "other", manifest=b"another"), "v1")
    assert (again / "manifest").read_bytes() == b"1"


def test_of_many_adopters_at_once_all_find_the_bundle_and_no_stage_is_left(
    artifacts: Artifacts, tmp_path: Path
) -> None:
    made = bundle_in(tmp_path / "made", manifest=b"1" * 50_000, model=b"2" * 50_000)
    with ThreadPoolExecutor(4) as pool:
        assert set(pool.map(lambda _: artifacts.adopt(made, "v1"), range(8))) == {artifacts.bundle("v1")}
    assert [entry.name for entry in (artifacts.root / "bundles").iterdir()] == ["v1"]


@pytest.mark.parametrize("deed", ["put", "adopt"])
def test_a_full_disk_leaves_nothing_half_written(artifacts: Artifacts, tmp_path: Path, deed: str) -> None:
    big = b"x" * 200_000
    made = bundle_in(tmp_path / "made", a_first=b"fits", model=big)
    what = made / "model" if deed == "put" else made
    command = [sys.executable, "-c", SMALL_DISK, str(tmp_path), deed, str(what)]
    answer = subprocess.run(command, capture_output=True, text=True, check=True)
    assert "could not be written: File too large (free the disk" in answer.stdout
    left = files_in(artifacts.root)
    assert len(left) == 1 and (artifacts.root / left[0]).read_bytes() == b"small"
    assert not artifacts.bundle("v1").exists()


def test_a_place_that_is_taken_by_a_file_is_refused_by_name(artifacts: Artifacts, tmp_path: Path) -> None:
    artifacts.root.mkdir()
    (artifacts.root / "blobs").touch()
    (artifacts.root / "bundles").touch()
    with pytest.raises(Unavailable, match=r"blobs.* could not be written"):
        artifacts.put(b"a picture")
    with pytest.raises(Unavailable, match=r"bundles could not be written"):
        artifacts.adopt(bundle_in(tmp_path / "made", manifest=b"1"), "v1")


def test_what_a_killed_process_left_is_swept_after_an_hour_and_nothing_else(tmp_path: Path) -> None:
    artifacts = Artifacts(tmp_path)
    kept = artifacts.put(b"whole")
    half = tmp_path / "artifacts" / "blobs" / kept[:2] / ".unfinished-x"
    half.write_bytes(b"hal")
    staged = tmp_path / "artifacts" / "bundles" / ".unfinished-y"
    staged.mkdir(parents=True)
    (staged / "model.onnx").write_bytes(b"hal")
    written = half.stat().st_mtime
    assert artifacts.sweep(written + 60) == 0
    assert artifacts.sweep(written + 7200) == 2
    assert not half.exists() and not staged.exists() and artifacts.get(kept) == b"whole"


def test_an_old_bundle_that_nobody_registered_is_swept_unless_it_is_wanted_again(tmp_path: Path) -> None:
    artifacts, written = Artifacts(tmp_path / "home"), time.time()
    (tmp_path / "made").mkdir()
    (tmp_path / "made" / "manifest.json").write_text("{}")
    kept, left = "a" * 64, "b" * 64
    for version in (kept, left):
        artifacts.adopt(tmp_path / "made", version)
    assert artifacts.sweep(written + 60, {kept}) == artifacts.sweep(written + 7200) == 0
    os.utime(artifacts.bundle(left), (written - 7200, written - 7200))
    artifacts.adopt(tmp_path / "made", left)
    assert artifacts.sweep(written + 60, {kept}) == 0
    assert artifacts.sweep(written + 7200, {kept}) == 1
    assert artifacts.bundle(kept).is_dir() and not artifacts.bundle(left).exists()


def test_sweeping_beside_a_busy_writer_meets_files_that_are_gone_again(tmp_path: Path) -> None:
    artifacts, done = Artifacts(tmp_path), threading.Event()

    def write() -> None:
        for number in range(300):
            artifacts.put(str(number).encode())
        done.set()

    writer = threading.Thread(target=write)
    writer.start()
    while not done.is_set():
        assert artifacts.sweep(0.0) == 0
    writer.join()
    assert artifacts.get(artifacts.put(b"7")) == b"7"

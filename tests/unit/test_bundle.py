"""A bundle comes back as it was written, and every kind of damage is told by name."""

from __future__ import annotations

import hashlib
import json
import os
import resource
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import save as save_tensors

from core import bundle
from core.bundle import (
    CARD,
    GOLDEN,
    LARGEST_MANIFEST,
    MANIFEST,
    MODEL,
    Golden,
    Input,
    Lineage,
    Manifest,
    Member,
    Metric,
)
from core.errors import BrokenBundle, Unavailable


def manifest() -> Manifest:
    member = Member(name="n", source="s", digest="d", licence="l", dimension=4, parameters=9)
    return Manifest(
        scene="ward",
        task="classification",
        modality="image",
        preprocessing="image/1",
        new_labels="accept",
        labels=("cat", "dög"),
        inputs={"image": Input(dtype="uint8", shape=(32, 32, None))},
        extractor="e" * 64,
        features=4,
        members=(member,),
        transform="signed square root",
        alphas=(1.0,),
        lam=0.1,
        temperature=1 / 3,
        opset=20,
        recipe="closed form",
        metrics={"accuracy": Metric(value=0.9, low=0.8, high=0.95, rows=40)},
        lineage=Lineage(data_digest="d", sequence=3, code="0.1.0"),
        files={},
    )


def golden() -> Golden:
    noise = np.random.default_rng(0)
    return Golden(
        inputs={"image": noise.integers(0, 256, (2, 32, 32, 3), np.uint8)},
        features=noise.integers(-9, 9, (2, 4)).astype(np.int16),
        outputs=noise.random((2, 2), np.float32),
    )


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "bundle"


@pytest.fixture
def version(folder: Path) -> str:
    files = {MODEL: b"not looked into here", GOLDEN: bundle.golden_bytes(golden()), CARD: "# Karte ä".encode()}
    return bundle.write(folder, manifest(), files)


def rewrite(folder: Path, change: Callable[[dict[str, Any]], object]) -> None:
    """Change the manifest and leave everything else."""
    told = json.loads((folder / MANIFEST).read_bytes())
    change(told)
    (folder / MANIFEST).write_bytes(json.dumps(told).encode())


def replace_file(folder: Path, name: str, data: bytes) -> None:
    """Give a file other bytes, and the manifest their digest."""
    (folder / name).write_bytes(data)
    rewrite(folder, lambda told: told["files"].update({name: hashlib.sha256(data).hexdigest()}))


def test_a_bundle_comes_back_as_it_was_written(folder: Path, version: str) -> None:
    read = bundle.read(folder, version)
    assert read.version == version == hashlib.sha256((folder / MANIFEST).read_bytes()).hexdigest()
    assert read.manifest == manifest().model_copy(update={"files": read.manifest.files})
    assert set(read.manifest.files) == {MODEL, GOLDEN, CARD}
    assert read.model == b"not looked into here"
    wrote = golden()
    assert np.array_equal(read.golden.inputs["image"], wrote.inputs["image"])
    assert np.array_equal(read.golden.features, wrote.features) and read.golden.features.dtype == np.int16
    assert np.array_equal(read.golden.outputs, wrote.outputs) and read.golden.outputs.dtype == np.float32


def test_the_manifest_has_one_spelling(folder: Path, version: str) -> None:
    told = (folder / MANIFEST).read_bytes()
    assert Manifest.model_validate_json(told).to_bytes() == told
    assert "dög".encode() in told


@pytest.mark.parametrize("name", [MODEL, GOLDEN, CARD, MANIFEST])
def test_a_missing_file_is_named(folder: Path, version: str, name: str) -> None:
    (folder / name).unlink()
    with pytest.raises(BrokenBundle, match=rf"{name} cannot be read: No such file"):
        bundle.read(folder, version)


@pytest.mark.parametrize("name", [MODEL, GOLDEN, CARD])
@pytest.mark.parametrize("damage", ["truncate", "append", "flip", "empty"])
def test_a_damaged_file_is_named(folder: Path, version: str, name: str, damage: str) -> None:
    data = (folder / name).read_bytes()
    flipped = bytes([data[0] ^ 1]) + data[1:]
    damaged = {"truncate": data[:-1], "append": data + b"\0", "flip": flipped, "empty": b""}[damage]
    (folder / name).write_bytes(damaged)
    with pytest.raises(BrokenBundle, match=rf"{name} has digest \w+…, the manifest says"):
        bundle.read(folder, version)


def test_another_manifest_than_the_version_says_is_refused(folder: Path, version: str) -> None:
    rewrite(folder, lambda told: told.update(lam=0.2))
    with pytest.raises(BrokenBundle, match=rf"manifest's digest is \w+…, expected {version[:12]}"):
        bundle.read(folder, version)
    assert bundle.read(folder).manifest.lam == 0.2


@pytest.mark.parametrize(
    "text", [b"", b"{", b"[]", b"null", b"\xff\xfe", b'{"schema_version": 1}', b"[" * 100_000, b'"\\ud800"']
)
def test_a_manifest_that_is_none_is_refused(folder: Path, version: str, text: bytes) -> None:
    (folder / MANIFEST).write_bytes(text)
    with pytest.raises(BrokenBundle, match="the manifest does not fit"):
        bundle.read(folder)


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (lambda told: told.update(schema_version=2), "has schema 2, this program reads 1"),
        (lambda told: told.update(schema_version=2, brand_new=True), "has schema 2, this program reads 1"),
        (lambda told: told.update(unheard_of=1), "unheard_of"),
        (lambda told: told.pop("labels"), "labels"),
        (lambda told: told.update(task="clustering"), "task"),
        (lambda told: told["files"].pop(MODEL), "names no model.onnx"),
        (lambda told: told.update(files={}), "names no golden.safetensors and no model.onnx"),
    ],
)
def test_a_manifest_that_does_not_fit_says_where(
    folder: Path, version: str, change: Callable[[dict[str, Any]], object], why: str
) -> None:
    rewrite(folder, change)
    with pytest.raises(BrokenBundle, match=why):
        bundle.read(folder)


@pytest.mark.parametrize(
    "name",
    ["../secret", "/etc/passwd", "a/b", "..", ".", "", "manifest.json", "../bundle/model.onnx", "a\0b", "x" * 999],
)
def test_a_manifest_cannot_reach_out_of_its_folder(folder: Path, version: str, name: str) -> None:
    secret = b"secret"
    (folder.parent / "secret").write_bytes(secret)
    rewrite(folder, lambda told: told["files"].update({name: hashlib.sha256(secret).hexdigest()}))
    with pytest.raises(BrokenBundle, match=r"is no plain file name|cannot be read"):
        bundle.read(folder)


def test_a_manifest_without_end_is_refused_before_it_is_read(folder: Path, version: str) -> None:
    with (folder / MANIFEST).open("ab") as file:
        file.truncate(LARGEST_MANIFEST + 1)
    with pytest.raises(BrokenBundle, match="is larger than"):
        bundle.read(folder)


@pytest.mark.parametrize("data", [b"", b"junk", b"\xff" * 100, save_tensors({"features": np.zeros(1)})])
def test_golden_rows_that_cannot_be_read_are_named(folder: Path, version: str, data: bytes) -> None:
    replace_file(folder, GOLDEN, data)
    with pytest.raises(BrokenBundle, match=rf"{GOLDEN} cannot be read"):
        bundle.read(folder)


def test_a_folder_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(BrokenBundle, match=r"bundle nothing: manifest.json cannot be read"):
        bundle.read(tmp_path / "nothing")


def test_a_process_that_can_open_no_more_files_calls_no_bundle_broken(folder: Path, version: str) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (len(os.listdir("/proc/self/fd")) // 2, hard))
    try:
        with pytest.raises(Unavailable, match="cannot be read just now: Too many open files"):
            bundle.read(folder, version)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert bundle.read(folder, version).version == version

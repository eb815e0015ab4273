"""Bundles from elsewhere: tried, marked, served; and nothing left of one that failed."""

import shutil
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from core import bundle
from core.bundle import Golden
from core.errors import BrokenBundle, InvalidInput, NotFound
from core.home import Home
from lepton.imports import bring
from service.engine.prepare import prepare
from service.engine.trial import trial
from tests import pico
from tests.homes import home_at


@pytest.fixture
def exported(tmp_path: Path) -> Path:
    """The bundle of another home, in a folder of any name, with a file beside it that its manifest does not name."""
    there = home_at(tmp_path / "there")
    version = pico.register(there).version.version
    folder = tmp_path / "exported"
    shutil.copytree(there.artifacts.bundle(version), folder)
    (folder / "notes.txt").write_text("not ours")
    there.close()
    return folder


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return home_at(tmp_path / "here")


def test_a_bundle_from_elsewhere_is_registered_as_foreign_and_answers_as_it_did_there(
    home: Home, exported: Path
) -> None:
    version = bring(home, "joints", exported)
    assert version.origin == "foreign"
    champion = home.registry.champion("joints")
    assert champion is not None
    assert champion.version == version.version
    assert not (home.artifacts.bundle(version.version) / "notes.txt").exists()
    tried = partial(trial, home.settings.home, threads=1, max_batch=2)
    scene = home.registry.scene("joints")
    snapshot = prepare(home, scene, version.version, threads=1, device="cpu", max_batch=2, trial=tried)
    golden = home.bundle(version.version).golden
    answer = snapshot.session.predict(golden.inputs, snapshot.head)
    assert np.allclose(answer.outputs, golden.outputs, atol=1e-6)
    assert (snapshot.revision, snapshot.sequence) == (0, 0)


def test_a_bundle_that_fails_its_trial_leaves_nothing_behind(home: Home, exported: Path) -> None:
    made = bundle.read(exported)
    wrong = Golden(made.golden.inputs, made.golden.features, made.golden.outputs[:, ::-1].copy())
    bundle.write(exported, made.manifest, {bundle.MODEL: made.model, bundle.GOLDEN: bundle.golden_bytes(wrong)})
    with pytest.raises(BrokenBundle, match="failed its trial"):
        bring(home, "joints", exported)
    assert home.registry.scenes() == []
    assert list(home.artifacts.root.rglob("*.onnx")) == []


def test_a_changed_file_is_refused_before_anything_runs(home: Home, exported: Path) -> None:
    (exported / bundle.MODEL).write_bytes(b"other")
    with pytest.raises(BrokenBundle, match="digest"):
        bring(home, "joints", exported)


def test_a_scene_of_another_kind_takes_no_foreign_bundle(home: Home, exported: Path) -> None:
    pico.register(home, "joints", task="regression")
    with pytest.raises(InvalidInput, match="scene 'joints'"):
        bring(home, "joints", exported)
    assert len(home.registry.versions("joints")) == 1
    assert not home.artifacts.bundle(bundle.read(exported).version).exists()


def test_a_folder_that_is_not_there_is_named(home: Home, tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="nowhere"):
        bring(home, "joints", tmp_path / "nowhere")

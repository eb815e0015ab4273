"""Versions fused by the command line, served heads that go on learning, and sites that share sums alone."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from core import bundle, config
from core.events import Feedback
from core.evidence import Evidence
from core.federation import FILE
from core.head import HeadState, Row
from core.home import Home, open_home
from core.promotion import prepare
from core.statistics import from_grid
from core.types import Version
from lepton.main import run
from tests.homes import told as bits
from tests.pico import LABELS, SIDE, picture
from training.backbone import onnx_file

Tell = Callable[..., Any]


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("LEPTON_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


@pytest.fixture
def tell(capsys: pytest.CaptureFixture[str]) -> Tell:
    def run_json(*arguments: str, code: int = 0) -> Any:
        capsys.readouterr()
        assert run([*arguments, "--json"]) == code, capsys.readouterr().err
        return json.loads(capsys.readouterr().out, parse_constant=lambda word: pytest.fail(f"{word} is no JSON"))

    return run_json


@pytest.fixture
def fail(capsys: pytest.CaptureFixture[str]) -> Callable[..., str]:
    def run_failing(*arguments: str, code: int = 1) -> str:
        capsys.readouterr()
        assert run([*arguments]) == code
        shown = capsys.readouterr()
        assert "Traceback" not in shown.err
        return " ".join((shown.err + shown.out).split())

    return run_failing


def backbones(folder: Path) -> list[str]:
    """Two networks of one size with other weights, as ONNX files."""
    (first, _), *_ = onnx_file.examples(folder)
    proto = onnx.load(first)
    kernel = numpy_helper.to_array(proto.graph.initializer[0])
    other = np.random.default_rng(1).permutation(kernel.ravel()).reshape(kernel.shape)
    proto.graph.initializer[0].CopyFrom(numpy_helper.from_array(other, proto.graph.initializer[0].name))
    second = folder / "other.onnx"
    onnx.save(proto, second)
    return [f"onnx_file:{first}", f"onnx_file:{second}"]


def folders(root: Path, each: int = 10, first: int = 0) -> Path:
    for label in LABELS:
        for number in range(first, first + each):
            file = root / label / f"{number}.png"
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(picture(label, number, side=SIDE * 2))
    return root


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home with two versions of one scene, and their data, made once."""
    root = tmp_path_factory.mktemp("pair")
    data = folders(root / "data")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LEPTON_HOME", str(root / "home"))
        for name in backbones(root):
            assert run(["adapt", "shapes", str(data), "--backbone", name]) == 0
    return root


@pytest.fixture
def versions(pair: Path, home: Path) -> list[str]:
    """The two versions, in a copy of that home."""
    shutil.copytree(pair / "home", home)
    return [version.version for version in open_home(config.load()).registry.versions("shapes")]


def opened(scene: str, version: str) -> tuple[Home, Version]:
    home = open_home(config.load())
    return home, home.registry.version(scene, version)


@pytest.mark.parametrize("method", ["features", "logits"])
def test_two_versions_become_one_that_names_its_parents_and_what_each_is_worth(
    pair: Path, versions: list[str], tell: Tell, method: str
) -> None:
    parents = versions
    done = tell("fuse", "shapes", *parents, "--method", method)
    home, version = opened("shapes", done["version"])
    manifest = home.bundle(version.version).manifest
    assert manifest.lineage.parents == tuple(parents) and manifest.recipe == method
    assert sum(manifest.alphas) == 1.0 and len(manifest.alphas) == len(manifest.members) == 2
    assert manifest.fusion is not None and manifest.fusion.score >= manifest.fusion.best
    assert all(share.alone is not None and share.without is not None for share in manifest.fusion.members)
    assert [block.alpha for block in manifest.blocks] == (list(manifest.alphas) if method == "logits" else [])
    assert not done["champion"] and done["number"] == 3
    card = (home.artifacts.bundle(version.version) / bundle.CARD).read_text()
    assert f"Fused by `{method}`" in card
    answer = tell("predict", "shapes", str(pair / "data" / LABELS[0] / "1.png"), "--version", done["version"][:12])
    assert answer[0]["label"] == LABELS[0]


def test_a_fused_bundle_keeps_no_row_of_somebody_who_may_be_erased(versions: list[str], tell: Tell) -> None:
    home, version = opened("shapes", versions[0])
    follower = home.follower(home.registry.scene("shapes"), version)
    follower.catch_up()
    for example, row in follower.state.rows.items():
        said = Feedback(scene="shapes", example=example, label=row.column, annotator="ann", subject="jane")
        home.ledger.add(said, Evidence(example=example, features={}, media="image/png"))
    made = tell("fuse", "shapes", *versions, "--method", "features")
    home, fused = opened("shapes", made["version"])
    follower = home.follower(home.registry.scene("shapes"), fused)
    follower.catch_up()
    kept = {row.features.tobytes() for row in follower.state.rows.values()}
    golden_ND = home.bundle(fused.version).golden.features
    assert kept and not any(row.tobytes() in kept for row in golden_ND)


def test_a_fusion_of_logits_goes_on_learning_exactly_and_is_promoted_and_rolled_back(
    versions: list[str], tell: Tell
) -> None:
    parents = versions
    made = tell("fuse", "shapes", *parents, "--method", "logits")
    tell("promote", "shapes", made["version"])
    home, version = opened("shapes", made["version"])
    events = []
    for number in range(4):
        example = home.artifacts.put(picture(LABELS[number % 3], 500 + number))
        said = Feedback(scene="shapes", example=example, label=LABELS[(number + 1) % 3])
        receipt = home.ledger.add(said, Evidence(example=example, features={}, media="image/png"))
        events.append(receipt.event_id)
    prepare(home, "shapes", version.version, lambda done, total: None)
    home.ledger.withdraw(events[1])
    follower = home.follower(home.registry.scene("shapes"), version)
    follower.catch_up()
    scene, state = home.registry.scene("shapes"), follower.state
    fresh = HeadState(state.width, task=scene.task, declared=scene.labels, key=scene.hash_key, blocks=state.blocks)
    fresh.add(reversed(state.rows.values()))
    assert len(state.blocks) == 2 and len(state.rows) == 24 + 3
    assert bits(follower.head()) == bits(fresh.solve())
    assert tell("rollback", "shapes")["version"] == parents[0]


def test_the_served_answer_of_a_fusion_of_logits_is_the_mean_of_its_members_heads(
    versions: list[str], tell: Tell
) -> None:
    parents = versions
    made = tell("fuse", "shapes", *parents, "--method", "logits")
    home, version = opened("shapes", made["version"])
    scene = home.registry.scene("shapes")
    follower = home.follower(scene, version)
    follower.catch_up()
    head = follower.head()
    assert head is not None
    rows_ND = np.stack([row.features for row in follower.state.rows.values()])
    mixed_NK = np.zeros((len(rows_ND), len(head.labels)))
    for block in follower.state.blocks:
        alone = HeadState(block.stop - block.start, declared=scene.labels, key=scene.hash_key)
        alone.add(
            Row(row.example, row.features[block.start : block.stop], row.column, row.target, row.weight)
            for row in follower.state.rows.values()
        )
        member = alone.solve(cooled=1.0)
        assert member is not None
        mixed_NK += block.alpha * (from_grid(rows_ND[:, block.start : block.stop]) @ member.weight + member.bias)
    served_NK = (from_grid(rows_ND) @ head.weight + head.bias) * head.temperature
    np.testing.assert_allclose(served_NK, mixed_NK, atol=2e-4)


def test_what_cannot_be_fused_is_said_with_its_remedy(
    pair: Path, versions: list[str], tell: Tell, fail: Callable[..., str]
) -> None:
    one, two = versions
    other = tell("adapt", "forms", str(pair / "data"), "--backbone", backbones(pair)[0])["version"]
    twin = tell("adapt", "shapes", str(pair / "data"), "--backbone", backbones(pair)[0], "--seed", "3")
    assert "leaves nothing to fuse" in fail("fuse", "shapes", one)
    assert "named twice" in fail("fuse", "shapes", one, one[:12])
    assert "has no version" in fail("fuse", "shapes", one, "no such")
    assert "there is no scene 'nowhere'" in fail("fuse", "nowhere", one, two)
    unknown = fail("fuse", "shapes", one, two, "--method", "blender")
    assert "no method of fusion named 'blender'" in unknown and "greedy_soup" in unknown
    if other != one:
        assert "belongs to scene 'forms'" in fail("fuse", "shapes", one, other)
    if twin["version"] != one:
        assert "compute the same features" in fail("fuse", "shapes", one, twin["version"])
    soup = fail("fuse", "shapes", one, two, "--method", "uniform_soup")
    assert "is an ONNX graph, whose weights cannot be fused" in soup
    home, version = opened("shapes", two)
    home.registry.quarantine("shapes", two, "it failed")
    assert "is quarantined: it failed" in fail("fuse", "shapes", one, two)
    home.registry.release("shapes", two)
    (home.artifacts.bundle(version.version) / bundle.MODEL).unlink()
    assert "model.onnx cannot be read" in fail("fuse", "shapes", one, two)


def test_nothing_worse_than_the_best_version_is_registered(
    versions: list[str], tell: Tell, capsys: pytest.CaptureFixture[str]
) -> None:
    refused = tell("fuse", "shapes", *versions, code=3)
    assert refused["version"] is None and not refused["accepted"]
    assert "does not pay" in refused["reason"] or "alone stays" in refused["reason"]
    assert len(tell("versions", "shapes")) == 2
    assert run(["fuse", "shapes", *versions]) == 3
    assert "nothing was registered" in " ".join(capsys.readouterr().out.split())


def test_sites_that_share_sums_get_the_head_of_all_their_labels(
    tmp_path: Path, tell: Tell, fail: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    name = backbones(tmp_path)[0]
    mine = tell("adapt", "shapes", str(folders(tmp_path / "mine")), "--backbone", name)["version"]
    tell("export", "shapes", "--out", str(tmp_path / "a"), "--statistics")
    shares = []
    for place in range(2):
        monkeypatch.setenv("LEPTON_HOME", str(tmp_path / f"site {place}"))
        theirs = folders(tmp_path / f"data {place}", each=6, first=100 * (place + 1))
        tell("adapt", "shapes", str(theirs), "--backbone", name)
        tell("export", "shapes", "--out", str(tmp_path / f"share {place}"), "--statistics")
        shares.append(str(tmp_path / f"share {place}"))
    monkeypatch.setenv("LEPTON_HOME", str(tmp_path / "home"))
    assert "counted already" in fail("fuse", "shapes", str(tmp_path / "a"), "--method", "statistics")
    assert "are there twice" in fail("fuse", "shapes", shares[0], shares[0], "--method", "statistics")
    assert "cannot be read" in fail("fuse", "shapes", mine, "--method", "statistics")
    done = tell("fuse", "shapes", *shares, "--method", "statistics")
    assert len(done["sites"]) == 2 and done["examples"] > 27
    home, version = opened("shapes", done["version"])
    manifest = home.bundle(version.version).manifest
    assert manifest.fusion is not None and len(manifest.fusion.members) == 3
    assert sum(share.alpha for share in manifest.fusion.members) == pytest.approx(1.0, abs=1e-12)
    follower = home.follower(home.registry.scene("shapes"), version)
    follower.catch_up()
    pooled = HeadState(follower.state.width, declared=LABELS)
    for place, where in enumerate(("home", "site 0", "site 1")):
        monkeypatch.setenv("LEPTON_HOME", str(tmp_path / where))
        site = open_home(config.load())
        (held, *_) = site.registry.versions("shapes")
        own = site.follower(site.registry.scene("shapes"), held)
        own.catch_up()
        rows = own.state.rows.values()
        pooled.add(Row(f"{place}/{r.example}", r.features, r.column, r.target, r.weight) for r in rows)
    found, expected = follower.state.statistics, pooled.statistics
    for name, array in found.arrays().items():
        assert array.tobytes() == expected.arrays()[name].tobytes()
    heads = [state.solve(lam=0.5, cooled=1.0) for state in (follower.state, pooled)]
    assert heads[0] is not None and heads[1] is not None
    assert heads[0].weight.tobytes() == heads[1].weight.tobytes()
    assert heads[0].bias.tobytes() == heads[1].bias.tobytes()


def test_a_federated_version_goes_on_learning_and_what_it_exports_counts_no_site_twice(
    tmp_path: Path, tell: Tell, fail: Callable[..., str]
) -> None:
    name = backbones(tmp_path)[0]
    tell("adapt", "shapes", str(folders(tmp_path / "mine")), "--backbone", name)
    tell("adapt", "forms", str(folders(tmp_path / "theirs", first=300)), "--backbone", name, "--new-labels", "accept")
    tell("export", "forms", "--out", str(tmp_path / "forms"), "--statistics")
    done = tell("fuse", "shapes", str(tmp_path / "forms" / FILE), "--method", "statistics")
    tell("promote", "shapes", done["version"])
    home, version = opened("shapes", done["version"])
    served = home.registry.latest_revision("shapes", version.version)
    alone = home.follower(home.registry.scene("shapes"), version, alone=True)
    alone.catch_up()
    assert served is not None and served.head.examples == len(alone.state.rows)
    own = alone.head()
    assert own is not None and served.head.weight.tobytes() != own.weight.tobytes()
    tell("export", "shapes", done["version"], "--out", str(tmp_path / "out"), "--statistics")
    assert "sums of other sites" in fail("fuse", "shapes", done["version"], "1")
    assert "would be counted twice" in fail("import", "forms", str(tmp_path / "out"))
    again = tell("fuse", "forms", str(tmp_path / "out"), "--method", "statistics")
    assert len(again["sites"]) == 1
    assert "holds no statistics" in fail("fuse", "forms", str(tmp_path / "out" / "card.md"), "--method", "statistics")


def test_sums_of_other_features_are_refused(tmp_path: Path, tell: Tell, fail: Callable[..., str]) -> None:
    first, second = backbones(tmp_path)
    tell("adapt", "shapes", str(folders(tmp_path / "data")), "--backbone", first)
    tell("adapt", "forms", str(tmp_path / "data"), "--backbone", second)
    tell("export", "forms", "--out", str(tmp_path / "forms"), "--statistics")
    words = fail("fuse", "shapes", str(tmp_path / "forms"), "--method", "statistics")
    assert "has no version whose features come out of" in words and "lepton import" in words


@pytest.mark.parametrize("method", ["features", "logits"])
def test_backbones_that_are_compared_can_be_fused_at_once(tmp_path: Path, tell: Tell, method: str) -> None:
    named = [option for name in backbones(tmp_path) for option in ("--backbone", name)]
    done = tell("adapt", "shapes", str(folders(tmp_path / "data")), *named, "--fuse", method)
    assert sum(candidate["chosen"] for candidate in done["candidates"]) == 2
    assert done["fusion"]["method"] == method and done["fusion"]["score"] >= done["fusion"]["best"]
    home, version = opened("shapes", done["version"])
    manifest = home.bundle(version.version).manifest
    assert len(manifest.members) == 2 and sum(manifest.alphas) == 1.0 and manifest.fusion is not None
    assert len(manifest.blocks) == (2 if method == "logits" else 0)
    follower = home.follower(home.registry.scene("shapes"), version)
    follower.catch_up()
    stored = home.registry.first_head("shapes", version.version)
    assert stored is not None and bits(follower.head()) == bits(stored)


def test_where_a_fusion_does_not_pay_one_backbone_is_taken_and_wrong_methods_are_refused(
    tmp_path: Path, tell: Tell, fail: Callable[..., str]
) -> None:
    data = str(folders(tmp_path / "data"))
    first, second = backbones(tmp_path)
    named = ["--backbone", first, "--backbone", second]
    done = tell("adapt", "shapes", data, *named)
    assert done["fusion"] is None and sum(candidate["chosen"] for candidate in done["candidates"]) == 1
    assert "no plugin named 'blender'" in fail("adapt", "shapes", data, *named, "--fuse", "blender")
    assert "does not fuse backbones that were only compared" in fail("adapt", "shapes", data, "--fuse", "ties")
    assert "fuses several backbones" in fail("adapt", "shapes", data, "--backbone", first, "--fuse", "logits")

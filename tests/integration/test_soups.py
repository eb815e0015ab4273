"""Versions of one architecture become one set of weights: original and tuned, judged on rows that no tuning saw."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch

from core import config
from core.home import Home, open_home
from core.types import Example, Scene, Version
from exporters.backbone import Backbone
from lepton.main import run
from tests.pico import LABELS, picture
from training import data, features, package, tuned, zoo
from training.adapt import closed_form
from training.assemble import assemble
from training.backbone import timm
from training.merge.weights import State, is_statistic
from training.zoo import Setting

SIDE = 32  # the least that halves five times


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Home]:
    monkeypatch.setenv("LEPTON_HOME", str(tmp_path / "home"))
    opened = open_home(config.load())
    yield opened
    opened.close()


def folders(root: Path, each: int = 16) -> Path:
    for label in LABELS:
        for number in range(each):
            file = root / label / f"{number}.png"
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(picture(label, number, side=SIDE))
    return root


def small(tmp_path: Path) -> str:
    """The name of a residual network with BatchNorm and seeded weights."""
    (name, _), *_ = timm.examples(tmp_path)
    return f"timm:{name}"


def moved(name: str, seed: int, statistics: bool = True) -> Backbone:
    """The network with every weight a little elsewhere, as a recipe leaves it."""
    base = zoo.load(name, Setting(size=SIDE))
    assert isinstance(base.body, torch.nn.Module)
    chance = torch.Generator().manual_seed(seed)
    state = {
        key: tensor + 0.02 * (tensor.std(correction=0) + 0.1) * torch.randn(tensor.shape, generator=chance)
        if tensor.is_floating_point() and tensor.numel() > 1 and (statistics or not is_statistic(key))
        else tensor
        for key, tensor in base.body.state_dict().items()
    }
    base.body.load_state_dict({k: t.clamp(min=0) if k.endswith("running_var") else t for k, t in state.items()})
    return tuned.moved(base, base.body, "finetune")


def registered(home: Home, backbone: Backbone, examples: Sequence[Example]) -> Version:
    """A version as a recipe would register it, with the list of rows that it left aside."""
    scene = home.registry.scene("shapes")
    assembly = assemble([backbone], None, scene, home.cache, examples, 1, home.limits)
    taught = [example for example in examples if example.split != "test"]
    rows_ND = features.extract(assembly.session, assembly.preprocessor, assembly.extractor, taught, None)
    learned = closed_form.learn(home, scene, assembly, taught, rows_ND, lambda done, total: None)
    aside = {example.digest for example in taught if example.split == "validation"}
    origin = package.Origin(
        recipe="finetune",
        transform="sqrt_l2",
        metrics={},
        data_digest="0" * 64,
        parent=None,
        validation=home.untouched.keep(aside),
    )
    return package.register(home, scene, assembly, learned.head, taught, origin)


def table(root: Path) -> tuple[Example, ...]:
    """Pictures of which a third is for validation and none for tests."""
    rows = [
        f"{place.relative_to(root)},{place.parent.name},{'validation' if place.stem[-1] in '258' else 'train'}"
        for place in sorted(root.glob("*/*.png"))
    ]
    (root / "all.csv").write_text("\n".join(["image,label,split", *rows]))
    return data.load(root / "all.csv").examples


def tell(capsys: pytest.CaptureFixture[str], *arguments: str, code: int = 0) -> Any:
    capsys.readouterr()
    assert run([*arguments, "--json"]) == code, capsys.readouterr().err
    return json.loads(capsys.readouterr().out)


def weights_of(home: Home, version: Version) -> State:
    (member,) = home.bundle(version.version).manifest.members
    assert member.tuned and member.weights
    body = tuned.restore(home.artifacts, member.weights).body
    assert isinstance(body, torch.nn.Module)
    return body.state_dict()


@pytest.mark.slow
def test_original_and_tuned_weights_are_fused_judged_on_rows_that_no_tuning_saw_and_kept(
    home: Home, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    name, root = small(tmp_path), folders(tmp_path / "data")
    examples = table(root)
    aside = sum(example.split == "validation" for example in examples)
    home.registry.declare(Scene(name="shapes", task="classification", modality="image", labels=LABELS))
    one, other = (registered(home, moved(name, seed), examples) for seed in (1, 2))
    chosen = [one.version, other.version]
    done = tell(capsys, "fuse", "shapes", *chosen, "--method", "fisher")
    (fusion,) = done["fusions"]
    assert fusion["rows"] == aside and fusion["score"] >= fusion["best"]
    assert sum(share["alpha"] for share in fusion["members"]) == pytest.approx(1.0, abs=1e-12)
    version = home.registry.version("shapes", done["version"])
    manifest = home.bundle(version.version).manifest
    assert manifest.lineage.parents == tuple(chosen) and manifest.recipe == "fisher"
    assert manifest.metrics["leave_one_out_accuracy"].rows == aside
    fused, parents = weights_of(home, version), [weights_of(home, parent) for parent in (one, other)]
    for key, tensor in fused.items():
        if tensor.is_floating_point() and not is_statistic(key):
            low, high = (getattr(torch.stack([p[key] for p in parents]), way)(dim=0) for way in ("amin", "amax"))
            assert ((tensor >= low - 1e-6) & (tensor <= high + 1e-6)).all(), key
    averaged = torch.stack([p["model.bn1.running_mean"] for p in parents]).mean(dim=0)
    assert not torch.equal(fused["model.bn1.running_mean"], averaged), "it was estimated again"
    home.artifacts.delete(home.bundle(one.version).manifest.members[0].weights)
    capsys.readouterr()
    assert run(["fuse", "shapes", *chosen, "--method", "uniform_soup"]) == 1
    assert "are gone" in " ".join(capsys.readouterr().err.split())


@pytest.mark.slow
@pytest.mark.parametrize(
    "method", ["uniform_soup", "greedy_soup", "wise_ft", "slerp", "task_arithmetic", "ties", "distill"]
)
def test_every_method_of_weights_makes_a_version_of_an_original_and_a_tuned_one(
    home: Home, tmp_path: Path, capsys: pytest.CaptureFixture[str], method: str
) -> None:
    root = folders(tmp_path / "data")
    data_, size = str(root / "all.csv"), ["--size", str(SIDE), "--transform", "sqrt_l2"]
    examples = table(root)
    original = tell(capsys, "adapt", "shapes", data_, "--backbone", "efficientnet_lite0", *size)["version"]
    changed = registered(home, moved("efficientnet_lite0", 1, statistics=False), examples)
    capsys.readouterr()
    code = run(["fuse", "shapes", original, changed.version, "--method", method, "--json"])
    done = json.loads(capsys.readouterr().out)
    assert code == (0 if done["accepted"] else 3)
    if done["accepted"]:
        version = home.registry.version("shapes", done["version"])
        assert home.bundle(version.version).manifest.lineage.parents == (original, changed.version)
    else:
        assert done["fusions"][0]["score"] < done["fusions"][0]["best"]

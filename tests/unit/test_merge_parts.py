"""What fusing leans on: BatchNorm estimated again, information of the likelihood, versions with their weights."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from pydantic import ValidationError

from core.bundle import Manifest
from core.config import Settings
from core.errors import InvalidInput
from core.home import open_home
from core.modality import image
from core.preprocess import Limits
from core.types import Head
from exporters.backbone import Backbone
from exporters.transform import Transform
from tests import pico
from training import tuned, zoo
from training.backbone import timm
from training.merge import batchnorm
from training.merge.information import diagonal
from training.merge.members import Given, everything
from training.merge.parents import Parent, parents
from training.merge.soup import Kitchen, restored
from training.merge.weights import even, mean, names
from training.tune.network import Network
from training.zoo import Setting


class Normed(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.norm = torch.nn.BatchNorm1d(3)
        self.drop = torch.nn.Dropout(0.5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        out: torch.Tensor = self.drop(self.norm(x))
        return out


def test_statistics_become_those_of_the_rows_and_nothing_else_moves() -> None:
    body = Normed().eval()
    with torch.no_grad():
        body.norm.weight.fill_(2.0)
        body.norm.running_mean = torch.full((3,), 9.0)
    rows_BD = torch.randn(64, 3, generator=torch.Generator().manual_seed(0)) * 3 + 5
    parts = torch.split(rows_BD, 16)
    batchnorm.estimate(body, [{"x": part} for part in parts])
    torch.testing.assert_close(body.norm.running_mean, rows_BD.mean(dim=0))
    expected = torch.stack([part.var(dim=0) for part in parts]).mean(dim=0)
    torch.testing.assert_close(body.norm.running_var, expected)
    assert (body.norm.weight == 2.0).all()
    assert body.norm.momentum == 0.1 and not body.training and not body.norm.training


def test_a_body_without_batchnorm_stays_as_it_is() -> None:
    body = torch.nn.Linear(2, 2)
    before = [parameter.clone() for parameter in body.parameters()]
    batchnorm.estimate(body, iter([{"input": torch.ones(1, 2)}]))
    assert all(torch.equal(a, b) for a, b in zip(before, body.parameters(), strict=True))


def test_frozen_statistics_are_told_from_those_that_moved() -> None:
    one, other = Normed().state_dict(), Normed().state_dict()
    assert not batchnorm.differ([one, other])
    other["norm.weight"] = other["norm.weight"] + 1
    assert not batchnorm.differ([one, other])
    other["norm.running_var"] = other["norm.running_var"] + 1
    assert batchnorm.differ([one, other])


class Scaled(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.gain = torch.nn.Parameter(torch.tensor([0.3, 0.7]))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x * self.gain


@pytest.mark.parametrize("task", ["classification", "regression"])
def test_the_information_is_that_of_the_likelihood(task: str) -> None:
    """One number decides: a logistic regression's information is p(1 - p)x², a normal's x²; the other has none."""
    weight = np.array([[1.0], [0.0]], np.float32) if task == "regression" else np.array([[1, 0], [0, 0]], np.float32)
    head = Head(weight=weight, bias=np.zeros(weight.shape[1], np.float32), labels=("a", "b")[: weight.shape[1]])
    network = Network(Scaled(), Transform(kind="as_is"), head)
    row = {"x": torch.tensor([[0.8, 0.5]])}
    found = diagonal(network, [row] * 1500, seed=3, task=task)["gain"]
    p = 1 / (1 + np.exp(-0.3 * 0.8))
    expected = 0.8**2 if task == "regression" else p * (1 - p) * 0.8**2
    assert float(found[0]) == pytest.approx(expected, rel=0.12)
    assert float(found[1]) == 0.0


def test_versions_without_weights_of_their_own_are_refused_with_another_way(tmp_path: Path) -> None:
    home = open_home(Settings(home=tmp_path))
    made = pico.register(home)
    second = pico.another(home, made.scene, seed=1)
    first, _ = parents(home, made.scene, [made.version.version, second.version])
    (member,) = first.manifest.members
    cases: dict[str, dict[str, object]] = {
        "made of 2 backbones": {"members": (member, member)},
        "were not kept": {"members": (member.model_copy(update={"tuned": True}),)},
        "are gone": {"members": (member.model_copy(update={"tuned": True, "weights": "0" * 64}),)},
        "cannot be loaded by the name": {},
    }
    for words, update in cases.items():
        changed = first.bundle.manifest.model_copy(update=update)
        parent = Parent(version=first.version, bundle=replace(first.bundle, manifest=changed), home=home)
        with pytest.raises(InvalidInput, match=words) as caught:
            restored(home, parent)
        assert "--method features" in caught.value.remedy
    home.close()


@pytest.mark.parametrize(
    ("update", "words"),
    [
        ({"alphas": (0.5, 0.4)}, "sum to 1"),
        ({"alphas": ()}, "sum to 1"),
        ({"alphas": (1.5, -0.5)}, "at least 0"),
        ({"alphas": (float("nan"),)}, "sum to 1"),
        ({"blocks": [{"start": 0, "stop": 5, "alpha": 1.0}]}, "do not cover 32 features"),
        ({"blocks": [{"start": 0, "stop": 32, "alpha": 0.5}]}, "blocks have the shares"),
    ],
)
def test_a_manifest_whose_shares_do_not_add_up_is_refused(
    update: dict[str, object], words: str, tmp_path: Path
) -> None:
    home = open_home(Settings(home=tmp_path))
    told = pico.register(home).version.manifest
    Manifest.model_validate(told)
    with pytest.raises(ValidationError, match=words):
        Manifest.model_validate(told | update)
    home.close()


@pytest.fixture
def kitchen(tmp_path: Path) -> Kitchen:
    """An original network with BatchNorm and two that moved from it, on pictures of three classes."""
    (name, _), *_ = timm.examples(tmp_path)
    original = zoo.load(f"timm:{name}", Setting(size=32))
    backbones = [original, *(nudged(zoo.load(f"timm:{name}", Setting(size=32)), seed) for seed in (1, 2))]
    labels = [label for label in pico.LABELS for _ in range(6)]
    pixels = [
        image.decode(pico.picture(label, number, side=32), (32, 32), Limits()) for number, label in enumerate(labels)
    ]
    targets_NK = np.eye(3)[[pico.LABELS.index(label) for label in labels]]
    batches = [{"image": torch.from_numpy(np.stack(pixels[start : start + 6]))} for start in range(0, 18, 6)]
    rows = Given(members=[], task="classification", targets_NK=targets_NK, judged_N=everything(labels))
    return Kitchen("sqrt_l2", batches, backbones, rows)


def nudged(backbone: Backbone, seed: int) -> Backbone:
    assert isinstance(backbone.body, torch.nn.Module)
    chance = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for tensor in backbone.body.state_dict().values():
            if tensor.is_floating_point():
                tensor.add_(0.02 * torch.rand(tensor.shape, generator=chance))
    return tuned.moved(backbone, backbone.body, "finetune")


def test_a_mean_gets_statistics_of_the_rows_and_a_model_keeps_its_own(kitchen: Kitchen) -> None:
    averaged = mean(kitchen.states, even(3))
    body = kitchen.filled(averaged).state_dict()
    for name in names(averaged):
        assert torch.equal(body[name], averaged[name]), name
    statistic = next(name for name in averaged if name.endswith("running_mean"))
    assert not torch.allclose(body[statistic], averaged[statistic], atol=1e-3)
    kept = kitchen.filled({**averaged, **{name: kitchen.states[1][name] for name in names(averaged)}}).state_dict()
    assert torch.equal(kept[statistic], kitchen.states[1][statistic])


def test_scores_and_information_are_of_the_weights_that_are_asked_for(kitchen: Kitchen) -> None:
    given = kitchen.given
    assert 0.5 < given.score(given.states[0]) <= 1.0
    broken = {name: torch.zeros_like(tensor) for name, tensor in given.states[0].items()}
    assert given.score(broken) < 0.5
    found = given.fisher(given.states[0])
    assert set(found) == {name for name in names(given.base) if name in found} and len(found) > 10
    assert all((tensor >= 0).all() for tensor in found.values()) and any(tensor.any() for tensor in found.values())
    assert all(torch.equal(given.base[name], given.states[0][name]) for name in given.base)


def test_a_kitchen_takes_models_of_one_architecture(kitchen: Kitchen, tmp_path: Path) -> None:
    _, (vit, setting) = timm.examples(tmp_path)
    other = zoo.load(f"timm:{vit}", setting)
    with pytest.raises(InvalidInput, match=r"not of one architecture: model\."):
        Kitchen("sqrt_l2", kitchen.batches, [kitchen.backbones[0], other], kitchen.rows)

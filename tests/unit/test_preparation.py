"""A backbone prepared in episodes: worth something on classes never seen, stopped well, carried by a folder."""

from __future__ import annotations

import itertools
import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from core.errors import BadConfiguration, InvalidInput
from core.types import Example
from exporters.backbone import MemberGraph
from lepton.main import run
from tests.pico import png
from tests.tuning import LABELS, SIDE, Tiny, backbone, example, same, weights
from training import preparation, zoo
from training.backbone import prepared, timm
from training.episodes import INNER
from training.preparation import Preparing, prepare
from training.zoo import Setting

SHORT = Preparing(shots=3, queries=4, episodes=60, every=20, rate=5e-3)
PARTS = {
    "top": (slice(SIDE // 2), slice(None)),
    "bottom": (slice(SIDE // 2, None), slice(None)),
    "left": (slice(None), slice(SIDE // 2)),
    "right": (slice(None), slice(SIDE // 2, None)),
}


def picture(red: str, green: str, number: int) -> bytes:
    """Noise, one half of it a little redder, one a little greener: sixteen classes."""
    chance = np.random.default_rng([number, LABELS.index(red), LABELS.index(green)])
    pixels = chance.integers(30, 200, (SIDE, SIDE, 3))
    pixels[PARTS[red]][..., 0] += 24
    pixels[PARTS[green]][..., 1] += 24
    return png(pixels.astype(np.uint8))


def source(each: int = 8, classes: Sequence[str] = LABELS) -> tuple[Example, ...]:
    names = itertools.product(classes, LABELS)
    return tuple(example(picture(a, b, n), "train", f"{a} {b}") for a, b in names for n in range(each))


SOURCE = source()


@pytest.mark.parametrize("inner", INNER)
def test_classes_kept_apart_are_told_apart_better_afterwards(inner: str) -> None:
    base = backbone()
    before = weights(base)
    made = prepare(base, [SOURCE], replace(SHORT, inner=inner))
    first = made.looks[0]
    assert made.classes == (11, 5) and first.episode == 0
    assert made.best.score > first.score + 0.1 and made.best.score == max(look.score for look in made.looks)
    assert made.backbone.recipe == "prepare" and made.backbone.digest != base.digest
    assert same(weights(base), before), "the base keeps every bit"
    assert not same(weights(made.backbone), before)


def test_the_same_seed_gives_the_same_bits_and_another_one_others() -> None:
    base, plan = backbone(), replace(SHORT, episodes=20)
    first, again, other = (prepare(base, [SOURCE], plan, seed=seed) for seed in (0, 0, 1))
    assert first.looks[-1].loss == again.looks[-1].loss != other.looks[-1].loss
    assert same(weights(first.backbone), weights(again.backbone))


def test_it_ends_within_its_budget_and_says_so() -> None:
    ticks = itertools.count()
    made = prepare(backbone(), [SOURCE], SHORT, budget=12.0, clock=lambda: float(next(ticks)))
    assert "as the time allowed" in made.stopped and made.looks[-1].seconds <= 16


def test_steps_that_do_harm_leave_the_base() -> None:
    base = backbone()
    made = prepare(base, [SOURCE], replace(SHORT, rate=1.0, patience=2, average=0.0))
    assert made.best.episode == 0 or made.best.score > made.looks[0].score
    if made.best.episode == 0:
        assert made.backbone is base and made.stopped.startswith("nothing better for 2 looks")


class Odd(Tiny):
    """Fails in training as it is told."""

    fault: float | Exception = float("nan")

    def forward(self, planes: torch.Tensor) -> torch.Tensor:
        found = super().forward(planes)
        if not self.training:
            return found
        if isinstance(self.fault, Exception):
            raise self.fault
        return found * self.fault


@pytest.mark.parametrize(
    ("fault", "said"), [(float("nan"), "no number in episode 1"), (torch.OutOfMemoryError(), "memory does not suffice")]
)
def test_no_number_and_no_memory_end_it_with_the_base(fault: float | Exception, said: str) -> None:
    net = Odd()
    net.fault = fault
    base = backbone()
    assert isinstance(base.body, torch.nn.Module)
    base.body.model = net
    made = prepare(base, [SOURCE], SHORT)
    assert said in made.stopped and made.backbone is base


def test_what_cannot_be_prepared_is_refused() -> None:
    few = source(each=3)
    for sources, plan, said in (([few], SHORT, "no source has 5 classes of 4 rows"), ([], SHORT, "no source")):
        with pytest.raises(InvalidInput, match=said):
            prepare(backbone(), sources, plan)
    with pytest.raises(InvalidInput, match="cannot be tuned"):
        prepare(replace(backbone(), body=MemberGraph(model=b"")), [SOURCE], SHORT)
    for wrong in ({"inner": "maml"}, {"shots": 0}, {"rate": 0.0}):
        with pytest.raises(InvalidInput, match=next(iter(wrong))):
            Preparing(**wrong)


def test_a_folder_without_a_backbone_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadConfiguration, match=r"backbone\.safetensors in 'nothing' cannot be read"):
        zoo.load(f"prepared:{tmp_path / 'nothing'}", Setting(size=64))
    (tmp_path / "odd").mkdir()
    (tmp_path / "odd" / prepared.WEIGHTS).write_bytes(b"no tensors")
    with pytest.raises(InvalidInput, match="prepared:odd cannot be made a backbone again"):
        zoo.load(f"prepared:{tmp_path / 'odd'}", Setting(size=64))


def folders(root: Path, classes: Sequence[str], each: int) -> Path:
    for a, b in itertools.product(classes, LABELS):
        for number in range(each):
            file = root / f"{a} {b}" / f"{number}.png"
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(picture(a, b, number))
    return root


def told(capsys: pytest.CaptureFixture[str], *arguments: str, code: int = 0) -> Any:
    capsys.readouterr()
    assert run([*arguments, "--json"]) == code, capsys.readouterr().err
    return json.loads(capsys.readouterr().out)


def test_prepared_once_it_is_named_by_scenes_beside_the_untouched_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("LEPTON_HOME", str(tmp_path / "home"))
    (name, setting), *_ = timm.examples(tmp_path)
    base, size = f"timm:{name}", ["--size", str(setting.size)]
    data = folders(tmp_path / "many", LABELS[:2], 9)
    quick = ["--set", "episodes=12", "--set", "every=6", "--set", "shots=3", "--set", "rate=1e-2"]
    monkeypatch.setattr(preparation, "SHOWN", 12)
    made = told(capsys, "prepare", str(tmp_path / "ready"), str(data), "--backbone", base, *size, *quick, code=0)
    assert made["backbone"] == f"prepared:{tmp_path / 'ready'}" and made["after"] > made["before"]
    new = folders(tmp_path / "new", LABELS[2:], 8)
    both = ["--backbone", made["backbone"], "--backbone", base, "--recipe", "closed_form", "--fuse", "none"]
    done = told(capsys, "adapt", "small", str(new), *both, *size)
    assert {each["name"] for each in done["candidates"]} == {made["backbone"], base}
    again = run(["prepare", str(tmp_path / "ready"), str(data)])
    assert again == 1 and "is not an empty folder" in capsys.readouterr().err
    assert run(["prepare", str(tmp_path / "other"), str(data), "--set", "speed=1"]) == 1
    assert "there is no setting speed" in capsys.readouterr().err

"""Tuned weights kept as a blob, and the backbone built again."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import save as save_tensors

from core.artifacts import Artifacts
from core.errors import InvalidInput
from exporters.backbone import Backbone
from training import tuned, zoo
from training.backbone import timm, transformers


def backbones(folder: Path) -> list[Backbone]:
    """A small one of pictures and a small one of texts."""
    (net, setting), *_ = timm.examples(folder)
    (bert, words), *_ = transformers.examples(folder)
    return [zoo.load(f"timm:{net}", setting), zoo.load(f"transformers:{bert}", words)]


def nudge(backbone: Backbone) -> Backbone:
    body = backbone.body
    assert isinstance(body, torch.nn.Module)
    with torch.no_grad():
        for parameter in body.parameters():
            parameter.add_(0.01)
    return tuned.moved(backbone, body, "finetune")


def test_what_is_restored_computes_what_was_kept(tmp_path: Path) -> None:
    artifacts = Artifacts(tmp_path / "home")
    for backbone in backbones(tmp_path):
        moved = nudge(backbone)
        again = tuned.restore(artifacts, tuned.keep(artifacts, moved))
        assert again.digest == moved.digest != backbone.digest
        assert (again.recipe, again.source, again.zoo_name) == (moved.recipe, moved.source, moved.zoo_name)
        assert isinstance(again.body, torch.nn.Module)
        assert isinstance(moved.body, torch.nn.Module)
        held = {name: tensor for name, tensor in moved.body.state_dict().items()}
        for name, tensor in again.body.state_dict().items():
            assert torch.equal(tensor, held[name])


def test_the_same_weights_are_the_same_blob(tmp_path: Path) -> None:
    artifacts = Artifacts(tmp_path / "home")
    first, second = (nudge(backbones(tmp_path)[0]) for _ in range(2))
    assert tuned.keep(artifacts, first) == tuned.keep(artifacts, second)


@pytest.mark.parametrize("data", [b"", b"no safetensors at all", save_tensors({"a": torch.zeros(2)})])
def test_a_blob_of_something_else_is_refused(data: bytes, tmp_path: Path) -> None:
    artifacts = Artifacts(tmp_path / "home")
    with pytest.raises(InvalidInput, match="cannot be made a backbone again"):
        tuned.restore(artifacts, artifacts.put(data))

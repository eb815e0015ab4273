"""Layers of an encoder of texts beside its last one: blocks of unit length, each what the layer says of the text."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from core.errors import InvalidInput
from core.preprocess import Limits, modality
from exporters.backbone import Backbone
from exporters.text import Windowed
from training import encoder, zoo
from training.backbone import transformers
from training.zoo import Setting

TEXTS = ("lovely", "a plot that goes nowhere, and takes two hours to get there", "fine " * 90)


@pytest.fixture(params=["mean", "cls"])
def named(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    return f"transformers:{transformers.examples(tmp_path)[0][0]}@{request.param}"


def read(backbone: Backbone) -> dict[str, torch.Tensor]:
    preprocessor = modality("text").preprocessor(backbone.inputs, backbone.files, Limits())
    rows = [preprocessor.read(text.encode()) for text in TEXTS]
    return {name: torch.from_numpy(array) for name, array in preprocessor.batch(rows).items()}


def raw(backbone: Backbone) -> NDArray[np.float32]:
    assert isinstance(backbone.body, torch.nn.Module)
    with torch.inference_mode():
        found: NDArray[np.float32] = backbone.body(**read(backbone)).numpy()
    return found


def test_every_layer_has_unit_length_and_the_last_one_is_what_the_plain_backbone_gives(named: str) -> None:
    plain, whole = zoo.load(named, Setting()), zoo.load(f"layers:{named}", Setting())
    found_ND = raw(whole)
    blocks_NBD = found_ND.reshape(len(TEXTS), -1, plain.dimension)
    assert found_ND.shape[1] == whole.dimension == 2 * plain.dimension, "two layers of two: the first, and the last"
    lengths_NB = np.linalg.norm(blocks_NBD, axis=2)
    assert lengths_NB == pytest.approx(np.ones_like(lengths_NB), abs=1e-5)
    assert blocks_NBD[:, -1] == pytest.approx(raw(plain), abs=1e-6)


def test_a_lower_layer_is_what_a_shallower_encoder_ends_in(named: str) -> None:
    plain, whole = zoo.load(named, Setting()), zoo.load(f"layers:{named}", Setting())
    assert isinstance(plain.body, Windowed) and isinstance(plain.body.encoder, encoder.States)
    model = plain.body.encoder.model
    model.encoder.layer = model.encoder.layer[:1]  # type: ignore[union-attr,index]
    assert raw(whole)[:, : plain.dimension] == pytest.approx(raw(plain), abs=1e-6)


def test_it_is_another_backbone_than_the_plain_one_and_is_had_again_by_its_name(named: str) -> None:
    plain, whole = zoo.load(named, Setting()), zoo.load(f"layers:{named}", Setting())
    assert whole.digest != plain.digest and whole.parameters == plain.parameters
    again = zoo.load(whole.zoo_name, Setting())
    assert (again.digest, again.dimension) == (whole.digest, whole.dimension)
    assert np.array_equal(raw(again), raw(whole))


@pytest.mark.parametrize(
    ("depth", "places"), [(1, [0, 1]), (2, [1, 2]), (6, [3, 4, 5, 6]), (12, [6, 8, 10, 12]), (24, [12, 16, 20, 24])]
)
def test_four_layers_of_the_upper_half_are_read_and_the_last_one_is_among_them(depth: int, places: list[int]) -> None:
    from transformers import BertConfig, BertModel

    size: dict[str, Any] = {"hidden_size": 8, "num_attention_heads": 1, "intermediate_size": 8, "vocab_size": 8}
    assert encoder.Layers(BertModel(BertConfig(num_hidden_layers=depth, **size))).places == places


def test_an_encoder_that_cannot_tell_its_layers_is_refused_by_its_name(
    named: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(self: encoder.Layers, ids: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        raise RuntimeError("no such layer")

    monkeypatch.setattr(encoder.Layers, "forward", broken)
    with pytest.raises(InvalidInput, match=r"the layers of transformers:.* cannot be read: no such layer"):
        zoo.load(f"layers:{named}", Setting())


def test_an_encoder_that_does_not_say_how_deep_it_is_is_refused_by_its_name(
    named: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = zoo.load(named, Setting())
    assert isinstance(plain.body, Windowed) and isinstance(plain.body.encoder, encoder.States)
    monkeypatch.setattr(plain.body.encoder.model, "config", object())
    monkeypatch.setattr(transformers, "load", lambda name, setting: plain)
    with pytest.raises(InvalidInput, match=r"transformers:.* is no network whose layers are known"):
        zoo.load(f"layers:{named}", Setting())


def test_the_listed_one_is_as_it_is_listed_and_behind_the_plain_one_which_stays_the_first_choice() -> None:
    rows = {row.name: row for row in zoo.available("text")}
    assert list(rows).index("minilm") < list(rows).index("layers:minilm")
    assert zoo.load("layers:minilm", Setting()).dimension == rows["layers:minilm"].dimension == 1536

"""Every augmentation x every law: what a label says stays true, and the draws are those of the generator."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from core import plugins
from core.modality.text import IDS, MASK
from exporters.hearing import Bands
from training.augment import audio, image, text
from training.tune.variation import PACKAGE

NAMES = plugins.names(PACKAGE)
few = settings(max_examples=20, deadline=None)
seeds, strengths = st.integers(0, 2**31), st.floats(0, 1)


def chance(seed: int) -> np.random.Generator:
    return np.random.default_rng(seed)


def inputs_of(name: str, seed: int) -> dict[str, torch.Tensor]:
    draw = chance(seed)
    if name == "image":
        return {"image": torch.from_numpy(draw.integers(0, 256, (3, 12, 10, 3), np.uint8))}
    if name == "audio":
        wave = draw.uniform(-1, 1, (3, 2, 200)).astype(np.float32)
        wave[0, 1] = 0  # a window that is not there
        return {"audio": torch.from_numpy(wave)}
    mask = (np.arange(8) < draw.integers(2, 9, (3, 2, 1))).astype(np.int64)
    return {IDS: torch.from_numpy(draw.integers(1, 50, (3, 2, 8))), MASK: torch.from_numpy(mask)}


def plugin(name: str) -> Any:
    return plugins.load(PACKAGE, name)


def equal(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[name].float(), other[name].float()) for name in one)


def test_tables_do_not_vary() -> None:
    assert set(NAMES) == {"audio", "image", "text"}


@pytest.mark.parametrize("name", NAMES)
def test_it_says_when_to_use_it_and_its_limit(name: str) -> None:
    assert "When to use" in plugin(name).__doc__ and "Limit:" in plugin(name).__doc__


@pytest.mark.parametrize("name", NAMES)
@few
@given(seed=seeds)
def test_at_no_strength_everything_stays(name: str, seed: int) -> None:
    inputs = inputs_of(name, seed)
    assert equal(plugin(name).vary(inputs, 0.0, chance(seed)), inputs)
    assert plugin(name).rewrite(b"Turn it off, please.", 0.0, chance(seed)) == b"Turn it off, please."
    assert not plugin(name).attach(torch.nn.Linear(1, 1), 0.0, chance(seed))


@pytest.mark.parametrize("name", NAMES)
@few
@given(seed=seeds, strength=strengths)
def test_the_same_generator_gives_the_same_rows(name: str, seed: int, strength: float) -> None:
    inputs = inputs_of(name, seed)
    one, other = (plugin(name).vary(inputs, strength, chance(seed)) for _ in range(2))
    assert equal(one, other)
    assert equal(inputs, inputs_of(name, seed)), "what came in was changed"


@pytest.mark.parametrize("name", NAMES)
@few
@given(seed=seeds, strength=strengths)
def test_shapes_types_and_ranges_stay(name: str, seed: int, strength: float) -> None:
    inputs = inputs_of(name, seed)
    varied = plugin(name).vary(inputs, strength, chance(seed + 1))
    assert {key: value.shape for key, value in varied.items()} == {key: value.shape for key, value in inputs.items()}
    for key, value in varied.items():
        low, high = {"image": (0, 255), "audio": (-1, 1), IDS: (0, 50), MASK: (0, 1)}[key]
        assert torch.isfinite(value.float()).all() and low <= value.min() and value.max() <= high
        assert value.dtype == (torch.float32 if key == "image" else inputs[key].dtype)


@pytest.mark.parametrize("name", NAMES)
def test_at_full_strength_something_varies(name: str) -> None:
    inputs = inputs_of(name, 0)
    assert not equal(plugin(name).vary(inputs, 1.0, chance(0)), inputs)


@few
@given(seed=seeds)
def test_mixed_pictures_have_targets_that_sum_to_one_and_pixels_in_between(seed: int) -> None:
    pixels = inputs_of("image", seed)["image"].float()
    targets = torch.eye(3)
    mixed, shares = image.mixed(pixels, targets, chance(seed))
    assert mixed.shape == pixels.shape and mixed.min() >= 0 and mixed.max() <= 255
    assert torch.allclose(shares.sum(dim=1), torch.ones(3), atol=1e-6) and (shares >= 0).all()
    again, _ = image.mixed(pixels, targets, chance(seed))
    assert torch.equal(mixed, again)


def test_the_share_of_a_target_is_the_share_of_the_picture() -> None:
    black_and_white = torch.cat([torch.zeros(1, 20, 20, 3), torch.full((1, 20, 20, 3), 255.0)])
    for seed in range(30):
        mixed, shares = image.mixed(black_and_white, torch.eye(2), chance(seed))
        assert mixed[0].mean() / 255 == pytest.approx(float(shares[0, 1]), abs=1e-3)


def test_a_mirrored_picture_has_its_columns_backwards() -> None:
    pixels = torch.arange(2 * 4 * 4 * 3, dtype=torch.float32).reshape(2, 4, 4, 3)
    found = image.mirrored(pixels, chance(3))
    assert all(torch.equal(a, b) or torch.equal(a, b.flip(1)) for a, b in zip(found, pixels, strict=True))


@few
@given(seed=seeds, strength=strengths)
def test_what_is_silent_stays_silent(seed: int, strength: float) -> None:
    wave = inputs_of("audio", seed)["audio"]
    assert not audio.vary({"audio": wave}, strength, chance(seed))["audio"][0, 1].any()
    assert not audio.noisier(torch.zeros(1, 1, 50), strength, chance(seed)).any()


@few
@given(seed=seeds, strength=strengths)
def test_the_first_and_the_last_token_of_a_window_are_read(seed: int, strength: float) -> None:
    inputs = inputs_of("text", seed)
    mask, varied = inputs[MASK], text.vary(inputs, strength, chance(seed))[MASK]
    last = mask.sum(dim=2) - 1
    assert (varied[:, :, 0] == 1).all()
    assert (varied.gather(2, last.unsqueeze(2)) == 1).all()
    assert (varied <= mask).all()


@few
@given(words=st.text(max_size=60), seed=seeds, strength=strengths)
def test_a_rewritten_text_has_the_same_letters_in_the_same_words(words: str, seed: int, strength: float) -> None:
    found = text.rewrite(words.encode("utf-8", errors="replace"), strength, chance(seed)).decode()
    before = words.encode("utf-8", errors="replace").decode()
    assert abs(len(found.split()) - len(before.split())) <= 1  # a mark that stood alone
    if before.isascii() and before.replace(" ", "").isalpha():
        letters = [sorted(word) for word in before.lower().split()]
        assert [sorted(word.strip(".!?")) for word in found.lower().split()] == letters


def test_a_spectrum_gets_holes_while_it_trains_and_none_afterwards() -> None:
    draw = chance(0)
    bands = Bands(draw.standard_normal((5, 16)), draw.standard_normal((5, 16)), np.abs(draw.standard_normal((5, 8))), 4)
    body = torch.nn.Sequential(bands)
    wave = torch.from_numpy(draw.uniform(0.5, 1, (4, 100)).astype(np.float32))
    whole = body.eval()(wave)
    handles = audio.attach(body, 1.0, chance(1))
    assert torch.equal(body.eval()(wave), whole)
    holes = [body.train()(wave) == 0 for _ in range(8)]
    assert any(found.any() for found in holes) and not all(found.all() for found in holes)
    for handle in handles:
        handle.remove()
    assert torch.equal(body.train()(wave), whole)

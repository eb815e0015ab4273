"""On a real GPU: the answers of the CPU, whatever sizes and heads follow; and weights tuned there, bit by bit.

``make test-gpu`` runs these, and fails where there is no GPU; ``make test`` leaves them out.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from core.execution import Gpu
from core.session import Output, Session
from exporters.compose import with_head
from tests import pico
from tests.tuning import backbone, rows, stand
from tests.unit.test_binding import PIXELS, head
from training import tuned
from training.adapt import finetune
from training.tune.device import alone
from training.tuning import Ask, attempt

STEPS = 2  # of the grid, that features may differ by from those of the CPU
CLOSE = 1e-3  # of probabilities

pytestmark = pytest.mark.gpu

taken = st.lists(st.tuples(st.integers(1, 20), st.integers(0, 20), st.sampled_from((2, 3, 5))), min_size=1, max_size=6)
ways = st.sampled_from((Gpu(max_batch=12), Gpu(max_batch=12, graphs=False), Gpu(max_batch=12, nhwc=True)))


@pytest.fixture(scope="module")
def model() -> bytes:
    return with_head(pico.model(), head(3))


def near(one: Output, other: Output) -> bool:
    away = np.abs(one.features.astype(np.int64) - other.features).max()
    return bool(away <= STEPS and np.allclose(one.outputs, other.outputs, atol=CLOSE))


@settings(max_examples=40, deadline=None)
@given(taken, ways)
def test_a_gpu_gives_the_answers_of_the_processor(taken: list[tuple[int, int, int]], gpu: Gpu) -> None:
    model = with_head(pico.model(), head(3))
    plain, session = Session(model), Session(model, device="cuda", gpu=gpu)
    assert session.device == "cuda"
    for count, start, classes in taken:
        pixels = {"image": PIXELS[start : start + count]}
        assert near(session.predict(pixels, head(classes)), plain.predict(pixels, head(classes)))
        assert near(session.predict(pixels), plain.predict(pixels))


def test_a_gpu_gives_the_same_bits_again(model: bytes) -> None:
    first, second = (Session(model, device="cuda", gpu=Gpu(max_batch=8)) for _ in range(2))
    pixels = {"image": PIXELS[:8]}
    assert first.device == "cuda"
    assert np.array_equal(first.features(pixels), second.features(pixels))
    assert np.array_equal(first.features(pixels), first.features(pixels))


def test_weights_tuned_on_a_gpu_are_the_same_bits_again_and_come_back(tmp_path: Path) -> None:
    assert alone().place.type == "cuda"
    ground = stand(tmp_path, backbone(), rows(12, 6))
    config = finetune.Config(epochs=4, rate=3e-3, batch=16)
    ask = Ask(name="finetune", config=config, budget=1e6, device=alone())
    made = [attempt(ground.floor.assembly, ground.floor.parity, ground.rows, ground.bench, ask) for _ in range(2)]
    first, second = (each.tuned for each in made)
    assert first is not None and second is not None and first.moved
    assert tuned.digest(first.backbone) == tuned.digest(second.backbone)
    body = first.backbone.body
    assert isinstance(body, torch.nn.Module)
    assert {each.device.type for each in body.parameters()} == {"cpu"}

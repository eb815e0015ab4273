"""Texts of unlike lengths in one batch: each passes once, as large as it is, and gives what it gives in the whole."""

from __future__ import annotations

import hashlib
from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from core.preprocess import Limits, Preprocessor, modality
from core.types import Example
from exporters.backbone import Backbone
from training.backbone import transformers
from training.tune.batches import Feed
from training.zoo import Setting

lengths = st.lists(st.integers(1, 150), min_size=1, max_size=12)  # in letters: one window of 66 tokens, two or three
most = st.integers(1, 12)


@pytest.fixture(scope="module")
def bert(tmp_path_factory: pytest.TempPathFactory) -> Backbone:
    return transformers.load(str(transformers.examples(tmp_path_factory.mktemp("bert"))[0][0]), Setting())


@pytest.fixture(scope="module")
def reader(bert: Backbone) -> Preprocessor:
    return modality("text").preprocessor(bert.inputs, bert.files, Limits())


def said(length: int) -> Example:
    content = ("ab" * length)[:length].encode()
    return Example(digest=hashlib.sha256(content).hexdigest(), path="", content=content, split="train")


def feed(reader: Preprocessor, lengths: list[int], beside: list[int]) -> Feed:
    count = len(lengths)
    examples, others = [said(length) for length in lengths], [said(length) for length in beside]
    return Feed(examples, torch.eye(2)[torch.arange(count) % 2], torch.arange(count) + 1.0, reader, others)


@given(lengths, most)
def test_each_row_passes_once_with_its_target_and_without_filling(
    reader: Preprocessor, lengths: list[int], most: int
) -> None:
    held = feed(reader, lengths, [])
    batch = held.batch(range(len(lengths)))
    seen = list[int]()
    for places_P, part in batch.parts(most):
        places = places_P.tolist()
        assert 0 < len(places) <= most and all(one < other for one, other in pairwise(places))
        seen += places
        own = reader.batch([reader.read(held.examples[place].content or b"") for place in places])
        assert own.keys() == part.inputs.keys()
        assert all(np.array_equal(own[name], part.inputs[name].numpy()) for name in own)
        assert torch.equal(part.targets_BK, held.targets_NK[places]) and part.weights_B.tolist() == [
            p + 1 for p in places
        ]
    assert sorted(seen) == list(range(len(lengths)))


@given(lengths, most)
def test_parts_give_the_answers_and_the_gradients_of_the_whole_batch(
    bert: Backbone, reader: Preprocessor, lengths: list[int], most: int
) -> None:
    body, batch = bert.body, feed(reader, lengths, []).batch(range(len(lengths)))
    assert isinstance(body, torch.nn.Module)

    def learned(apart: bool, rows: int) -> tuple[torch.Tensor, list[torch.Tensor]]:
        body.zero_grad()
        answers_BD = torch.zeros(len(batch), bert.dimension)
        for places_P, part in batch.parts(rows, apart):
            found_PD = body(*part.inputs.values())
            (found_PD.square().sum(dim=1) * part.weights_B).sum().backward()
            answers_BD[places_P] = found_PD.detach()
        return answers_BD, [held.grad.clone() for held in body.parameters() if held.grad is not None]

    (whole_BD, whole), (apart_BD, apart) = learned(False, len(batch)), learned(True, most)
    assert torch.allclose(apart_BD, whole_BD, atol=1e-5)
    largest = max(float(gradient.abs().max()) for gradient in whole)
    assert all(torch.allclose(one, other, atol=1e-5 * largest) for one, other in zip(apart, whole, strict=True))


@given(lengths, most)
def test_where_the_whole_batch_matters_it_stays_filled_up(reader: Preprocessor, lengths: list[int], most: int) -> None:
    places = range(len(lengths))
    aligned = feed(reader, lengths, lengths[::-1]).batch(places, places).parts(most)
    statistics = feed(reader, lengths, []).batch(places).parts(most, apart=False)
    for parts in (aligned, statistics):
        told = list(parts)
        assert torch.cat([places_P for places_P, _ in told]).tolist() == list(places)
        assert len({tuple(part.inputs["input_ids"].shape[1:]) for _, part in told}) == 1

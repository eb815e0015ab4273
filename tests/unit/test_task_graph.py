"""One graph for several tasks: one pass of the backbone, and a head and an answer for each, replaced by name."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import onnx
import pytest

from core.errors import BrokenBundle
from core.execution import Gpu
from core.session import Session
from core.types import Head, Scene
from exporters.compose import extractor_digest, stored_heads, with_head
from tests import pico

PIXELS = {"image": np.random.default_rng(5).integers(0, 256, (20, pico.SIDE, pico.SIDE, 3), np.uint8)}
SIZE = Scene(name="s", task="regression", modality="image", task_name="size", offset=10.0, scale=4.0)
MOOD = Scene(name="s", task="classification", modality="image", task_name="mood")
MODEL = pico.model(further=(SIZE, MOOD))
ALONE = pico.model()


def head(classes: int, seed: int = 0) -> Head:
    drawn = np.random.default_rng((classes, seed))
    weight = drawn.standard_normal((pico.WIDTH, classes)).astype(np.float32)
    return Head(weight=weight, bias=weight[0].copy(), labels=tuple(map(str, range(classes))))


def heads(first: int = 3, mood: int = 2, seed: int = 0) -> Head:
    return replace(head(first, seed), further={"size": head(1, seed), "mood": head(mood, seed)})


def test_the_first_task_and_the_features_are_to_the_bit_those_of_a_graph_with_one_task() -> None:
    one, several = Session(with_head(ALONE, head(3))), Session(with_head(MODEL, heads()))
    alone, among = one.predict(PIXELS), several.predict(PIXELS)
    assert np.array_equal(alone.outputs, among.outputs) and np.array_equal(alone.features, among.features)
    assert extractor_digest(ALONE) == extractor_digest(MODEL)
    assert alone.further == {} and one.further == {}


def test_every_task_has_the_answer_that_it_has_alone() -> None:
    found = Session(with_head(MODEL, heads())).predict(PIXELS).further
    value = Session(with_head(pico.model(task="regression", offset=10.0, scale=4.0), head(1))).predict(PIXELS)
    mood = Session(with_head(ALONE, head(2))).predict(PIXELS)
    assert np.array_equal(found["size"], value.outputs) and np.array_equal(found["mood"], mood.outputs)
    assert found["size"].shape == (20, 1) and found["mood"].shape == (20, 2)


def test_names_are_those_of_the_first_task_with_the_task_s_own_in_them() -> None:
    graph = onnx.load_model_from_string(MODEL).graph
    assert [output.name for output in graph.output] == ["probabilities", "features", "value.size", "probabilities.mood"]
    wanted = {f"head{task}.{part}" for task in ("", ".size", ".mood") for part in ("weight", "bias")}
    assert {value.name for value in graph.input} == {"image", *wanted}
    assert {tensor.name for tensor in graph.initializer} >= wanted
    session = Session(MODEL)
    assert (session.task, session.further) == ("classification", {"mood": "classification", "size": "regression"})
    assert list(session.inputs) == ["image"]


def test_heads_given_with_a_call_answer_as_heads_in_the_file() -> None:
    given = heads(first=5, mood=4, seed=3)
    by_call, by_file = Session(MODEL).predict(PIXELS, given), Session(with_head(MODEL, given)).predict(PIXELS)
    assert np.array_equal(by_call.outputs, by_file.outputs) and by_call.outputs.shape == (20, 5)
    assert all(np.array_equal(by_call.further[name], by_file.further[name]) for name in ("size", "mood"))


def test_another_head_of_one_task_leaves_the_answers_of_the_others_to_the_bit() -> None:
    session, before = Session(MODEL), heads()
    after = replace(before, further={**before.further, "mood": head(6, seed=9)})
    one, other = session.predict(PIXELS, before), session.predict(PIXELS, after)
    assert np.array_equal(one.outputs, other.outputs)
    assert np.array_equal(one.further["size"], other.further["size"])
    assert one.further["mood"].shape != other.further["mood"].shape


def test_buffers_that_stay_give_the_answers_of_a_plain_run() -> None:
    model = with_head(MODEL, heads())
    plain, bound = Session(model), Session(model, gpu=Gpu(max_batch=20), _bind=True)
    for given in (None, heads(seed=1), heads(mood=5, seed=2), heads(first=4, mood=5), None, heads(seed=1)):
        one, other = plain.predict(PIXELS, given), bound.predict(PIXELS, given)
        assert np.array_equal(one.outputs, other.outputs) and np.array_equal(one.features, other.features)
        assert all(np.array_equal(one.further[name], other.further[name]) for name in ("size", "mood"))


def test_heads_of_other_tasks_do_not_fit() -> None:
    for wrong in (head(3), replace(heads(), further={"size": head(1)}), replace(heads(), further={"sex": head(2)})):
        with pytest.raises(BrokenBundle, match="does not fit"):
            with_head(MODEL, wrong)
        with pytest.raises(BrokenBundle, match="the head has the further tasks"):
            Session(MODEL).predict(PIXELS, wrong)
    with pytest.raises(BrokenBundle, match="does not fit"):
        with_head(ALONE, heads())
    with pytest.raises(BrokenBundle, match="does not fit 32 features of a regression"):
        Session(MODEL).predict(PIXELS, replace(heads(), further={**heads().further, "size": head(2)}))


def test_the_heads_in_a_file_are_read_back() -> None:
    found = stored_heads(with_head(MODEL, heads()))
    assert set(found) == {"", "size", "mood"}
    assert all(np.array_equal(found[name or ""][0], heads().of(name).weight) for name in found)

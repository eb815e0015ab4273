"""The whole road back: a version that does not see how light a picture is, promoted, found out by labels, taken back.

How light it is is all that one scene asks; the other asks for the shape first, which that version sees well.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from fastapi.testclient import TestClient
from onnx import numpy_helper

from core.config import ServeSettings, Settings
from core.events import TRAINING, Feedback
from core.evidence import Evidence
from core.fall import LEAST, SOONEST
from core.home import Home, open_home
from core.modality import image
from core.promotion import prepare
from core.session import Session
from core.types import Scene, Version
from exporters.compose import extractor_digest
from learner.loop import Learner
from learner.metrics import Metrics
from service.api.application import application
from service.bootstrap import build
from tests import pico
from tests.asking import MOST, instance
from tests.waiting import until

SCENE, SHAPE, LIGHT = "lamps", "shape", "light"
ALONE = Scene(name=SCENE, task="regression", modality="image", scale=4.0)
SECOND = replace(ALONE, task_name=LIGHT)
BOTH = Scene(
    name=SCENE, task="classification", modality="image", labels=pico.LABELS, task_name=SHAPE, further=(SECOND,)
)
TAUGHT = 90


def told(number: int) -> tuple[str, float]:
    """The shape of a picture, and how light it is, -1 to 1."""
    return pico.LABELS[number % 3], round(float(np.random.default_rng(number).uniform(-1, 1)), 3)


def picture(number: int) -> bytes:
    label, light = told(number)
    pattern = np.random.default_rng(pico.LABELS.index(label)).uniform(-35, 35, (pico.SIDE, pico.SIDE, 3))
    noise = np.random.default_rng(number).uniform(-15, 15, pattern.shape)
    return pico.png((128 + pattern + noise + 60 * light).astype(np.uint8))


def graph(scene: Scene, blind: bool) -> bytes:
    """A blind one answers the same to a picture that is as much lighter everywhere."""
    made = pico.model(task=scene.task, offset=scene.offset, scale=scene.scale, further=scene.further)
    if not blind:
        return made
    proto = onnx.load_model_from_string(made)
    (weight,) = (each for each in proto.graph.initializer if tuple(each.dims) == (pico.SIDE**2 * 3, pico.WIDTH))
    values = numpy_helper.to_array(weight)
    weight.CopyFrom(numpy_helper.from_array(values - values.mean(axis=0), weight.name))
    return bytes(proto.SerializeToString())


def feedback(scene: Scene, number: int) -> list[dict[str, Any]]:
    """What people say of a picture, task by task."""
    label, light = told(number)
    if not scene.further:
        return [{"value": light}]
    return [{"label": label, "task": SHAPE}, {"value": light, "task": LIGHT}]


def teach(home: Home, scene: Scene, model: bytes) -> None:
    session, extractor = Session(model), extractor_digest(model)
    said, evidence = list[Feedback](), list[Evidence]()
    for number in range(TAUGHT):
        data = picture(number)
        (features,) = session.features({"image": image.decode(data, (pico.SIDE, pico.SIDE), home.limits)[None]})
        example = home.artifacts.put(data)
        assert example == hashlib.sha256(data).hexdigest()
        evidence.append(Evidence(example=example, features={extractor: features}, media="image/png"))
        said += [Feedback(scene=SCENE, example=example, source=TRAINING, **each) for each in feedback(scene, number)]
    home.evidence.keep(evidence)
    home.ledger.teach(SCENE, said)


class Place:
    """A home whose champion sees and whose second version is blind, and its service in this process."""

    def __init__(self, home: Home, scene: Scene, client: TestClient, seeing: Version, blind: Version) -> None:
        self.home, self.scene, self.client, self.seeing, self.blind = home, scene, client, seeing, blind
        self.asked = 1000

    def ask(self, count: int) -> str:
        """Let so many pictures be answered and labelled over HTTP; which version answered them."""
        numbers = range(self.asked, self.asked + count)
        self.asked += count
        body = {"instances": [instance(picture(number)) for number in numbers]}
        answer = self.client.post(f"/v1/scenes/{SCENE}/predict", json=body)
        assert answer.status_code == 200, answer.text
        made = [each["prediction_id"] for each in answer.json()["predictions"]]
        until(lambda: len(self.home.predictions.find(made)) == len(made))
        for number, name in zip(numbers, made, strict=True):
            for said in feedback(self.scene, number):
                assert self.client.post("/v1/feedback", json={"prediction_id": name} | said).status_code == 202
        return str(answer.json()["version"])

    @property
    def served(self) -> str:
        body = {"instances": [instance(picture(0))]}
        return str(self.client.post(f"/v1/scenes/{SCENE}/predict", json=body).json()["version"])


@pytest.fixture(params=[ALONE, BOTH], ids=["regression", "further"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Place]:
    settings = Settings(home=tmp_path, serve=ServeSettings(max_body_bytes=MOST, max_instances=64, poll_seconds=0.01))
    home = open_home(settings)
    scene = home.registry.declare(request.param)
    sees, blind = graph(scene, False), graph(scene, True)
    teach(home, scene, sees)
    first = pico.add_version(home, scene, sees, extractor_digest(sees))
    second = pico.over(home, scene, blind)
    with TestClient(application(lambda: build(settings, 1), MOST), raise_server_exceptions=False) as client:
        until(lambda: client.get("/readyz").status_code == 200)
        yield Place(home, scene, client, first, second)
    home.close()


def test_labels_find_out_what_a_promoted_version_does_not_see_and_it_is_taken_back(place: Place) -> None:
    home, metrics = place.home, Metrics()
    learner = Learner(home, "one", metrics)
    assert place.ask(LEAST + 10) == place.seeing.version
    assert learner.lead()
    learner.step()
    prepare(home, SCENE, place.blind.version, lambda done, of: None)
    body = {"version": place.blind.version, "expected_generation": 1}
    assert place.client.put(f"/v1/scenes/{SCENE}/champion", json=body).status_code == 200
    until(lambda: place.served == place.blind.version)

    assert place.ask(SOONEST - 1) == place.blind.version
    learner.step()
    learner.watch_traffic()
    assert place.served == place.blind.version, "mistakes are often told first"
    place.ask(SOONEST)
    until(lambda: not learner.keep_previous())  # what came meanwhile, for the version that comes back
    learner.watch_traffic()
    alias = home.registry.champion(SCENE)
    assert alias is not None and alias.version == place.seeing.version
    until(lambda: place.served == place.seeing.version)

    value = metrics.registry.get_sample_value("lepton_accuracy_fallen", {"scene": SCENE, "bound": "fall"})
    assert value is not None and value >= 1
    count = metrics.registry.get_sample_value("lepton_rulings_total", {"scene": SCENE, "verdict": "rollback"})
    assert count == 1
    (row,) = (row for row in home.registry.history(SCENE) if row["action"] == "rollback")
    reason = str(dict(row["detail"])["reason"])  # type: ignore[call-overload]
    assert reason.startswith("task light: ") is bool(place.scene.further)
    assert "labelled answers since the promotion are right (within 0." in reason and "twice the usual miss" in reason
    assert f"and {20 * len(place.scene.tasks)} convinces" in reason

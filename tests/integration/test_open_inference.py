"""The tools that people have, against a real server of two workers: Triton's clients, BentoML's client, curl."""

from __future__ import annotations

import asyncio
import io
import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
import tritonclient.http as triton
import tritonclient.http.aio as triton_aio
from PIL import Image
from tritonclient.utils import InferenceServerException

from core.home import Home
from core.modality import image
from tests import pico
from tests.processes import House, house
from tests.waiting import until

NEEDS_CURL = pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")
LABELS = ["square", "circle", "triangle", "square"]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    folder = tmp_path_factory.mktemp("tools")
    (folder / "tmp").mkdir()
    with house(folder / "home", folder, TMPDIR=str(folder / "tmp")) as made:
        with closing(made.open()) as home:
            pico.register(home)
            pico.register(home, "height", task="regression")
        made.start_service(workers=2)
        yield made


@pytest.fixture(scope="module")
def home(place: House) -> Iterator[Home]:
    with closing(place.open()) as opened:
        yield opened


@pytest.fixture
def client(place: House) -> Iterator[Any]:
    with triton.InferenceServerClient(f"127.0.0.1:{place.port}", concurrency=4) as made:
        yield made


def files(first: int) -> list[bytes]:
    """Pictures that are larger than what the model takes."""
    return [enlarged(pico.picture(label, first + number)) for number, label in enumerate(LABELS)]


def enlarged(data: bytes) -> bytes:
    with Image.open(io.BytesIO(data)) as small:
        return pico.png(np.asarray(small.resize((48, 48), Image.Resampling.NEAREST)))


def pixels(home: Home, data: list[bytes]) -> np.ndarray:
    return np.stack([image.decode(each, (pico.SIDE, pico.SIDE), home.limits) for each in data])


def as_pixels(home: Home, data: list[bytes], binary: bool, module: Any = triton) -> Any:
    batch = pixels(home, data)
    one = module.InferInput("image", list(batch.shape), "UINT8")
    return one.set_data_from_numpy(batch, binary_data=binary)


def as_files(data: list[bytes]) -> Any:
    one = triton.InferInput("encoded_image", [len(data)], "BYTES")
    return one.set_data_from_numpy(np.array(data, dtype=np.object_), binary_data=True)


def texts(told: Any, name: str) -> list[str]:
    """The client gives bytes where the answer was binary, and texts where it was JSON."""
    return [text.decode() if isinstance(text, bytes) else text for text in told.as_numpy(name).tolist()]


def test_triton_finds_the_server_ready_and_the_models_described(client: Any, home: Home) -> None:
    assert client.is_server_live() and client.is_server_ready() and client.is_model_ready("shapes")
    assert client.get_server_metadata()["extensions"] == ["binary_tensor_data"]
    champion = home.registry.champion("shapes")
    assert champion is not None
    told = client.get_model_metadata("shapes")
    assert told["versions"] == [champion.version]
    assert client.is_model_ready("shapes", champion.version)
    assert not client.is_model_ready("shapes", "1")
    assert not client.is_model_ready("nothing")
    assert client.get_model_metadata("height")["outputs"][0]["name"] == "value"


def test_triton_sends_a_batch_of_pixels_as_bytes_and_as_json(client: Any, home: Home) -> None:
    answers = []
    for binary in (True, False):
        wanted = [
            triton.InferRequestedOutput(name, binary_data=binary) for name in ("probabilities", "label", "labels")
        ]
        told = client.infer("shapes", [as_pixels(home, files(10), binary)], outputs=wanted, request_id="r-1")
        assert told.get_response()["id"] == "r-1"
        assert texts(told, "label") == LABELS
        assert texts(told, "labels") == list(pico.LABELS)
        answers.append(told.as_numpy("probabilities"))
    assert answers[0].dtype == np.float32 and answers[0].shape == (4, 3)
    assert np.allclose(answers[0], answers[1], atol=1e-6)
    assert np.allclose(answers[0].sum(axis=1), 1, atol=1e-5)


def test_triton_sends_files_of_any_size_and_asks_for_no_outputs_by_name(client: Any) -> None:
    told = client.infer("shapes", [as_files(files(20))])
    assert [output["name"] for output in told.get_response()["outputs"]] == ["probabilities", "label", "prediction_id"]
    assert texts(told, "label") == LABELS
    assert all(text.startswith("shapes:") for text in texts(told, "prediction_id"))


def test_triton_gets_features_that_are_those_of_the_prediction_log(client: Any, home: Home) -> None:
    wanted = [triton.InferRequestedOutput("features"), triton.InferRequestedOutput("prediction_id")]
    told = client.infer("shapes", [as_pixels(home, files(30), True)], outputs=wanted)
    features, ids = told.as_numpy("features"), texts(told, "prediction_id")
    until(lambda: len(home.predictions.find(ids)) == len(ids))
    logged = home.predictions.find(ids)
    assert np.array_equal(features * 2**15, np.stack([logged[name].features for name in ids]))


def test_triton_answers_values_of_a_regression(client: Any) -> None:
    values = client.infer("height", [as_files(files(40))]).as_numpy("value")
    assert values.shape == (4,)
    assert np.argsort(values)[-1] == 2, "the triangle has the highest value"


def test_triton_waits_for_several_requests_at_once(client: Any, home: Home) -> None:
    sent = [client.async_infer("shapes", [as_pixels(home, files(number), True)]) for number in range(50, 70)]
    assert [texts(each.get_result(), "label") for each in sent] == [LABELS] * 20


def test_tritons_client_for_asyncio_is_answered_too(place: House, home: Home) -> None:
    async def ask() -> list[list[str]]:
        async with triton_aio.InferenceServerClient(f"127.0.0.1:{place.port}") as client:
            asked = [client.infer("shapes", [as_pixels(home, files(n), n % 2 == 0, triton_aio)]) for n in range(8)]
            return [texts(told, "label") for told in await asyncio.gather(*asked)]

    assert asyncio.run(ask()) == [LABELS] * 8


def test_a_label_for_what_triton_was_answered_is_learned(client: Any, home: Home, place: House) -> None:
    told = client.infer("shapes", [as_pixels(home, files(80), True)])
    before = told.get_response()["parameters"]
    name = texts(told, "prediction_id")[1]
    until(lambda: home.predictions.find([name]))
    label = {"prediction_id": name, "label": "triangle"}
    answer = httpx.post(f"{place.url}/v1/feedback", json=label, trust_env=False, timeout=30)
    assert (answer.status_code, answer.json()["status"]) == (202, "accepted")
    revision = pico.learn(home)
    assert revision.head.sequence == answer.json()["sequence"] > before["sequence"]

    def serves() -> bool:
        told = client.infer("shapes", [as_files(files(0))]).get_response()["parameters"]
        return bool(told["revision"] == revision.number)

    until(serves)


def test_triton_is_told_why_a_request_was_refused(client: Any, home: Home) -> None:
    wrong = triton.InferInput("image", [1, 8, 8, 3], "UINT8")
    wrong.set_data_from_numpy(np.zeros((1, 8, 8, 3), np.uint8))
    with pytest.raises(InferenceServerException, match="expected UINT8") as caught:
        client.infer("shapes", [wrong])
    assert caught.value.status() == "422"
    good = as_pixels(home, files(1), True)
    with pytest.raises(InferenceServerException, match="does not serve"):
        client.infer("shapes", [good], model_version="7")
    with pytest.raises(InferenceServerException, match="without compression"):
        client.infer("shapes", [good], request_compression_algorithm="gzip")
    with pytest.raises(InferenceServerException, match="no output"):
        client.infer("shapes", [good], outputs=[triton.InferRequestedOutput("logits")])
    with pytest.raises(InferenceServerException, match="classification"):
        client.infer("shapes", [good], outputs=[triton.InferRequestedOutput("label", class_count=2)])
    with pytest.raises(InferenceServerException, match="shared memory"):
        shared = triton.InferInput("image", [1, pico.SIDE, pico.SIDE, 3], "UINT8")
        client.infer("shapes", [shared.set_shared_memory("region", 768)])
    assert texts(client.infer("shapes", [good]), "label") == LABELS


# BentoML's client waits for /readyz and reads /schema.json, where no typed endpoint is listed; a program of its own,
# because to import it is to be warned of three things that BentoML does in an old way.
BENTOML = """
import json, pathlib, sys
from bentoml import SyncHTTPClient
data = [pathlib.Path(name).read_bytes() for name in sys.argv[2:]]
with SyncHTTPClient(sys.argv[1], timeout=30) as client:
    assert client.is_ready() and client.endpoints == {}
    path = "/v1/scenes/shapes/predict"
    raw = client.request("POST", path, content=data[0], headers={"content-type": "image/png"})
    form = client.request("POST", path, files=[("instances", each) for each in data], data={"top_k": 1})
    print(json.dumps([raw.json(), form.json()]))
"""


def test_bentomls_client_predicts_over_v1(place: House, tmp_path: Path) -> None:
    command = [sys.executable, "-c", BENTOML, place.url, *written(tmp_path, files(90))]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stderr
    raw, form = json.loads(done.stdout)
    assert [each["label"] for each in raw["predictions"]] == LABELS[:1]
    assert [list(each["probabilities"]) for each in form["predictions"]] == [[label] for label in LABELS]


def written(folder: Path, data: list[bytes]) -> list[str]:
    names = [folder / f"{number}.png" for number in range(len(data))]
    for name, each in zip(names, data, strict=True):
        name.write_bytes(each)
    return [str(name) for name in names]


def curl(*arguments: str) -> dict[str, Any]:
    command = ["curl", "--silent", "--show-error", "--fail-with-body", "--noproxy", "*", "--max-time", "30", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return dict(json.loads(done.stdout))


@NEEDS_CURL
def test_plain_curl_sends_files_and_raw_bodies(place: House, tmp_path: Path) -> None:
    names = written(tmp_path, files(100))
    url = f"{place.url}/v1/scenes/shapes/predict"
    told = curl(*[word for name in names for word in ("-F", f"instances=@{name}")], "-F", "top_k=2", url)
    assert [each["label"] for each in told["predictions"]] == LABELS
    told = curl("--data-binary", f"@{names[0]}", "-H", "Content-Type: image/png", url)
    assert [each["label"] for each in told["predictions"]] == LABELS[:1]


@NEEDS_CURL
def test_a_form_of_megabytes_leaves_nothing_on_the_disk(place: House, tmp_path: Path) -> None:
    noise = np.random.default_rng(5).integers(0, 256, (1000, 1000, 3), dtype=np.uint8)
    (tmp_path / "large.png").write_bytes(pico.png(noise))
    scratch = place.logs / "tmp"
    before = set(scratch.rglob("*"))
    told = curl("-F", f"instances=@{tmp_path / 'large.png'}", f"{place.url}/v1/scenes/shapes/predict")
    assert len(told["predictions"]) == 1
    assert set(scratch.rglob("*")) == before
    assert not [file for worker in place.workers() for file in worker.open_files() if str(scratch) in file.path]

"""Texts, tables and mixtures walk the road of pictures: adapt, evaluate, predict, serve, label, erase."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fastapi.testclient import TestClient

from core import config
from core.home import open_home
from lepton.main import run
from service.api.application import application
from service.bootstrap import build
from tests.asking import MOST
from tests.pico import learn, picture
from tests.waiting import until
from training.backbone import onnx_file, transformers

SAID = {"on": ("turn on the {}", "switch the {} on"), "off": ("{} off now", "kill the {}"), "warm": ("i am cold, {}",)}
THINGS = ("lamp", "radio", "fan", "tv", "oven", "light", "heater", "door", "pump", "bell")


@pytest.fixture(scope="module", autouse=True)
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """One home for all: exporting a model takes seconds, and its cache is shared."""
    folder = tmp_path_factory.mktemp("home")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LEPTON_HOME", str(folder))
        yield folder


@pytest.fixture(scope="module")
def reads(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A tiny text encoder, as a folder of transformers."""
    return f"transformers:{transformers.examples(tmp_path_factory.mktemp('reads'))[0][0]}"


@pytest.fixture
def sees(tmp_path: Path) -> str:
    """A tiny backbone of pictures, as an ONNX file."""
    return f"onnx_file:{onnx_file.examples(tmp_path)[0][0]}"


def sentences() -> list[dict[str, object]]:
    told = [(form.format(thing), label) for label, forms in SAID.items() for form in forms for thing in THINGS]
    return [{"text": text, "label": label} for text, label in told]


def jsonl(path: Path, lines: list[dict[str, object]]) -> Path:
    path.write_text("\n".join(json.dumps(line) for line in lines))
    return path


def told(capsys: pytest.CaptureFixture[str], *arguments: str) -> Any:
    capsys.readouterr()
    assert run([*arguments, "--json"]) == 0, capsys.readouterr().err
    return json.loads(capsys.readouterr().out)


@pytest.fixture(scope="module")
def texts(home: Path, reads: str) -> dict[str, Any]:
    """A scene of texts, adapted: its manifest and its version."""
    data = jsonl(home / "home.jsonl", sentences())
    assert run(["adapt", "home", str(data), "--backbone", reads]) == 0
    opened = open_home(config.load())
    (version,) = opened.registry.versions("home")
    return {**version.manifest, "version": version.version, "data": str(data)}


@pytest.fixture(scope="module")
def client(texts: dict[str, Any]) -> Iterator[TestClient]:
    settings = config.load()
    with TestClient(application(lambda: build(settings, 3), MOST), raise_server_exceptions=False) as made:
        until(lambda: made.get("/readyz").status_code == 200)
        yield made


def test_a_table_of_texts_becomes_a_version_with_its_tokenizer(
    tmp_path: Path, texts: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    assert texts["metrics"]["leave_one_out_balanced_accuracy"]["value"] > 0.5
    (answer,) = told(capsys, "predict", "home", "--text", "turn on the lamp")
    assert answer["label"] == "on"
    file = tmp_path / "said.txt"
    file.write_text("kill the radio")
    assert told(capsys, "predict", "home", str(file))[0]["label"] == "off"
    measured = told(capsys, "evaluate", "home", texts["data"])
    assert measured["metrics"]["accuracy"]["value"] > 0.7
    bundle = open_home(config.load()).bundle(texts["version"])
    assert set(bundle.files) == {"tokenizer.json", "text.json"}
    assert bundle.manifest.modality == "text"
    assert bundle.manifest.inputs["input_ids"].shape == (None, None)
    assert bundle.manifest.members[0].name == "transformers:bert"


def test_texts_of_the_data_can_be_embedded_again_by_a_later_version(texts: dict[str, Any]) -> None:
    opened = open_home(config.load())
    standing = opened.follower(opened.registry.scene("home"), opened.registry.version("home", texts["version"]))
    standing.catch_up()
    assert len(standing.state.rows) > 30
    assert all(opened.evidence.input(example) for example in standing.state.rows)


def test_a_served_text_learns_a_label_and_forgets_a_person(client: TestClient) -> None:
    asked = {"instances": [{"text": "brr"}, {"text": "turn on the lamp"}, {"text": ""}, {"image": {"b64": ""}}]}
    answers = client.post("/v1/scenes/home/predict", json=asked).json()["predictions"]
    assert answers[1]["label"] == "on"
    assert [set(answer) for answer in answers[2:]] == [{"error"}, {"error"}]
    label = {"prediction_id": answers[0]["prediction_id"], "label": "warm", "subject": "anna"}
    assert client.post("/v1/feedback", json=label).status_code == 202
    opened = open_home(config.load())
    taught = learn(opened, "home").head.examples
    erased = client.delete("/v1/subjects/anna").json()
    assert erased["examples"] == 1
    assert learn(opened, "home").head.examples == taught - 1
    assert b"brr" not in b"".join(file.read_bytes() for file in opened.artifacts.root.rglob("*") if file.is_file())
    opened.close()


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"turn on the lamp", 200),
        (b"\xff\xfe", 422),
        (b"", 422),
        (b"a" * 90_000, 200),
        (b"a" * 100_001, 413),
        (b"nul \0 inside", 200),
    ],
)
def test_a_raw_text_is_answered_or_refused(client: TestClient, body: bytes, status: int) -> None:
    answer = client.post("/v1/scenes/home/predict", content=body, headers={"content-type": "text/plain; charset=utf-8"})
    assert answer.status_code == status, answer.text


def test_a_mixture_is_adapted_answers_with_a_part_missing_and_is_its_own_evidence(
    tmp_path: Path, reads: str, sees: str, capsys: pytest.CaptureFixture[str]
) -> None:
    rng = np.random.default_rng(0)
    lines: list[dict[str, object]] = []
    for n in range(45):
        label = ("circle", "square", "triangle")[n % 3]
        (tmp_path / f"{n}.png").write_bytes(picture(label, n, side=48))
        text = f"a {label} on page {n}" if n % 5 else None
        lines.append({"image": f"{n}.png", "text": text, "ink": float(n % 3 + rng.normal()), "label": label})
    data = jsonl(tmp_path / "pages.jsonl", lines)
    named = ("--backbone", sees, "--backbone", reads, "--backbone", "table_linear")
    done = told(capsys, "adapt", "pages", str(data), *named)
    assert [candidate["chosen"] for candidate in done["candidates"]] == [True] * 3
    assert done["metrics"]["leave_one_out_balanced_accuracy"]["value"] > 0.9
    (whole,) = told(
        capsys, "predict", "pages", str(tmp_path / "1.png"), "--text", "a square", "--features", '{"ink": 1}'
    )
    assert (whole["label"], whole.get("flags")) == ("square", None)
    (alone,) = told(capsys, "predict", "pages", str(tmp_path / "2.png"))
    assert (alone["label"], alone["flags"]) == ("triangle", {"missing": ["features", "text"]})
    bundle = open_home(config.load()).bundle(done["version"])
    assert bundle.manifest.modality == "image+tabular+text"
    assert set(bundle.files) == {"schema.json", "tokenizer.json", "text.json"}


def test_what_a_scene_does_not_take_is_refused_with_the_remedy(
    texts: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    for arguments in (["--features", '{"a": 1}'], [], ["--features", "{"]):
        assert run(["predict", "home", *arguments]) == 1
        assert "--text" in (error := capsys.readouterr().err) or "is not JSON" in error

"""A scene of pictures from nothing but the names of its labels: served, taught, unlearned, searched, outgrown."""

import json
from collections.abc import Iterator
from itertools import pairwise
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
from tests import pico, seeing
from tests.asking import MOST, instance
from tests.pico import learn, png
from tests.waiting import until
from training.backbone import onnx_file, transformers_clip

SCENE = "squares"
EACH = 12  # pictures a colour that are asked about


@pytest.fixture(scope="module", autouse=True)
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    folder = tmp_path_factory.mktemp("home")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LEPTON_HOME", str(folder))
        yield folder


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> str:
    return seeing.trained(tmp_path_factory.mktemp("models") / "squares-clip")


@pytest.fixture(scope="module")
def version(home: Path, model: str) -> str:
    """The scene, adapted from names."""
    file = home / "labels.txt"
    file.write_text("\n".join(seeing.COLOURS))
    assert run(["adapt", SCENE, "--labels", str(file), "--backbone", model]) == 0
    (found,) = open_home(config.load()).registry.versions(SCENE)
    return found.version


@pytest.fixture(scope="module")
def client(version: str) -> Iterator[TestClient]:
    del version
    settings = config.load()
    with TestClient(application(lambda: build(settings, 3), MOST), raise_server_exceptions=False) as made:
        until(lambda: made.get("/readyz").status_code == 200)
        yield made


def squares(seed: int, each: int) -> list[tuple[str, bytes]]:
    rng = np.random.default_rng(seed)
    return [(colour, png(seeing.square(colour, rng))) for colour in seeing.COLOURS for _ in range(each)]


def asked(client: TestClient, pictures: list[tuple[str, bytes]]) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    for start in range(0, len(pictures), 16):
        body = {"instances": [instance(data) for _, data in pictures[start : start + 16]]}
        found += client.post(f"/v1/scenes/{SCENE}/predict", json=body).json()["predictions"]
    return found


def accuracy(client: TestClient) -> float:
    tested = squares(1, EACH)
    answers = asked(client, tested)
    return float(np.mean([answer["label"] == colour for answer, (colour, _) in zip(answers, tested, strict=True)]))


def publish(client: TestClient) -> Any:
    opened = open_home(config.load())
    revision = learn(opened, SCENE)
    opened.close()
    until(lambda: client.post(f"/v1/scenes/{SCENE}/predict", json=body()).json()["revision"] == revision.number)
    return revision.head


def body() -> dict[str, Any]:
    return {"instances": [instance(squares(2, 1)[0][1])]}


def test_names_alone_answer_and_labels_take_over_without_a_dip(client: TestClient) -> None:
    curve = [accuracy(client)]
    assert curve[0] > 0.7  # chance is one in eight
    alone = publish(client)
    events: list[str] = []
    taught = squares(3, 10)
    for told in (1, 5, 10):
        mine = [pair for place, pair in enumerate(taught) if len(events) // 8 <= place % 10 < told]
        for (colour, _), answer in zip(mine, asked(client, mine), strict=True):
            said = client.post("/v1/feedback", json={"prediction_id": answer["prediction_id"], "label": colour})
            assert said.status_code == 202
            events.append(said.json()["event_id"])
        publish(client)
        curve.append(accuracy(client))
    assert all(later >= earlier - 0.02 for earlier, later in pairwise(curve)), curve
    assert curve[-1] > 0.9
    for event in events:
        assert client.delete(f"/v1/feedback/{event}").status_code == 200
    again = publish(client)
    assert np.array_equal(again.weight, alone.weight)
    assert np.array_equal(again.bias, alone.bias)
    assert again.sample_digest == alone.sample_digest


def test_the_names_stand_in_the_ledger_as_what_they_are(version: str) -> None:
    opened = open_home(config.load())
    follower = opened.follower(opened.registry.scene(SCENE), opened.registry.version(SCENE, version))
    follower.catch_up()
    names = [row for row in follower.state.rows.values() if row.named]
    assert len(names) == 2 * len(seeing.COLOURS)
    assert {row.weight for row in names} == {8}
    assert all(opened.evidence.input(row.example) is None for row in names)
    assert opened.registry.scene(SCENE).modality == "image"
    assert opened.bundle(version).manifest.inputs["image"].shape == (seeing.SIDE, seeing.SIDE, 3)


def test_a_backbone_that_does_not_read_serves_later_without_the_names(
    tmp_path: Path, version: str, capsys: pytest.CaptureFixture[str]
) -> None:
    data = tmp_path / "data"
    for number, (colour, picture) in enumerate(squares(4, 6)):
        (data / colour).mkdir(parents=True, exist_ok=True)
        (data / colour / f"{number}.png").write_bytes(picture)
    sees = f"onnx_file:{onnx_file.examples(tmp_path)[0][0]}"
    capsys.readouterr()
    assert run(["adapt", SCENE, str(data), "--backbone", sees, "--json"]) == 0, capsys.readouterr().err
    later = json.loads(capsys.readouterr().out)["version"]
    assert run(["promote", SCENE, later]) == 0, capsys.readouterr().err
    assert run(["rollback", SCENE]) == 0, capsys.readouterr().err
    opened = open_home(config.load())
    for chosen, names in ((later, 0), (version, 2 * len(seeing.COLOURS))):
        follower = opened.follower(opened.registry.scene(SCENE), opened.registry.version(SCENE, chosen))
        follower.catch_up()
        assert sum(row.named for row in follower.state.rows.values()) == names


def test_what_was_taught_is_found_by_words_and_by_a_picture(
    client: TestClient, tmp_path: Path, model: str, version: str, capsys: pytest.CaptureFixture[str]
) -> None:
    shown = squares(5, 2)
    for (colour, _), answer in zip(shown, asked(client, shown), strict=True):
        said = {"prediction_id": answer["prediction_id"], "label": colour}
        assert client.post("/v1/feedback", json=said).status_code == 202
    publish(client)
    assert open_home(config.load()).registry.champion(SCENE).version == version  # type: ignore[union-attr]
    blue = next(data for colour, data in squares(6, 1) if colour == "blue")
    (tmp_path / "blue.png").write_bytes(blue)
    for query in (["--text", "a photo of a blue", "--backbone", model], ["--image", str(tmp_path / "blue.png")]):
        capsys.readouterr()
        assert run(["search", SCENE, *query, "--limit", "3", "--json"]) == 0, capsys.readouterr().err
        found = json.loads(capsys.readouterr().out)
        assert [one["label"] for one in found].count("blue") >= 2
        assert [one["cosine"] for one in found] == sorted((one["cosine"] for one in found), reverse=True)
        assert all(len(one["example"]) == 64 and "path" in one for one in found)
    assert run(["search", SCENE, "--text", "blue", "--backbone", model]) == 0
    assert "nearest to blue" in capsys.readouterr().out


def test_a_search_that_cannot_be_is_refused(tmp_path: Path, version: str, capsys: pytest.CaptureFixture[str]) -> None:
    del version
    other = f"transformers_clip:{transformers_clip.examples(tmp_path)[0][0]}"
    for arguments, words in (
        ([SCENE], "one of --text and --image"),
        ([SCENE, "--text", "blue"], "--backbone transformers_clip:/path/to/squares-clip"),
        ([SCENE, "--text", "blue", "--backbone", other], "is not the backbone of the champion"),
        (["nothing", "--text", "blue"], "nothing"),
    ):
        assert run(["search", *arguments]) == 1
        assert words in capsys.readouterr().err
    pico.register(open_home(config.load()))
    assert run(["search", "shapes", "--text", "blue"]) == 1
    assert "share no space with texts" in capsys.readouterr().err


def test_what_names_of_pictures_cannot_be_is_said_with_the_remedy(
    tmp_path: Path, model: str, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "labels.txt"
    file.write_text("red\nblue\n")
    given = ["adapt", "other", "--labels", str(file)]
    for more, words in (
        (["--modality", "image"], "name one that sees and reads"),
        (["--modality", "image", "--backbone", "efficientnet_lite0"], "does not both see and read"),
        (["--backbone", model, "--prompt", "a film"], "has no {label}"),
    ):
        assert run([*given, *more]) == 1
        assert words in capsys.readouterr().err
    assert run(["adapt", "other", str(tmp_path), "--prompt", "a {label}"]) == 1
    assert "no labels to put in it" in capsys.readouterr().err

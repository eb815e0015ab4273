"""What a house must stand: a full disk, a log that cannot be written, broken bundles, a learner that is away.

Labels are refused whole or kept whole, predictions go on, and everything works again when the weather is over.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import httpx
import pytest

from core.home import Home
from lepton.client import Client
from tests import pico
from tests.asking import PNG, instance, predicted, refused
from tests.disks import disk
from tests.homes import told
from tests.processes import House, house, run
from tests.waiting import until


@contextmanager
def served(home_path: Path, logs: Path) -> Iterator[tuple[House, Home, httpx.Client]]:
    """A house with one scene, two workers and no learner."""
    with house(home_path, logs) as place, closing(place.open()) as home:
        pico.register(home)
        place.start_service(workers=2)
        with httpx.Client(base_url=place.url, timeout=30, trust_env=False) as client:
            yield place, home, client


@pytest.fixture(scope="module")
def standing(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[House, Home, httpx.Client]]:
    folder = tmp_path_factory.mktemp("weather")
    with served(folder / "home", folder) as all_of_it:
        yield all_of_it


def test_on_a_full_disk_labels_are_refused_whole_and_all_else_goes_on(tmp_path: Path) -> None:
    with disk(tmp_path / "disk") as small, served(small.folder / "home", tmp_path) as (place, home, client):
        place.start_learner()
        kept = tell(client, 1)
        pids = {worker.pid for worker in place.workers()}
        before = home.ledger.last_sequence("shapes")
        small.fill(place)
        for number in range(2, 8):
            refused(label(client, number), 503, "unavailable", "free the disk")
        answered = [predicted(client, number)["prediction_id"] for number in range(10, 30)]
        for path in ("/v1/scenes", "/v1/scenes/shapes", "/v1/scenes/shapes/versions", f"/v1/feedback/{kept}"):
            assert client.get(path).status_code == 200, path
        for method, body in (("PATCH", {"label": "square"}), ("DELETE", None)):
            refused(client.request(method, f"/v1/feedback/{kept}", json=body), 503, "unavailable", "free the disk")
        assert home.ledger.last_sequence("shapes") == before
        assert nothing_half_written(place.home)
        small.free(place)
        assert {worker.pid for worker in place.workers()} == pids
        ids = [tell(client, number) for number in range(2, 8)]
        assert len(set(ids)) == 6
        until(lambda: len(home.predictions.find(answered)) == len(answered))
        assert learned_from_scratch(home)


def test_predictions_and_labels_go_on_while_the_prediction_log_is_held_by_another(
    standing: tuple[House, Home, httpx.Client],
) -> None:
    _, home, client = standing
    with home.predictions.database.write():
        answered = [predicted(client, number)["prediction_id"] for number in range(100, 120)]
        assert label(client, 121).status_code == 202
        assert home.predictions.find(answered) == {}
    until(lambda: len(home.predictions.find(answered)) == len(answered))


def test_without_a_learner_predictions_go_on_and_the_head_catches_up_when_it_is_back(
    standing: tuple[House, Home, httpx.Client],
) -> None:
    place, home, client = standing
    for number in range(200, 230):
        tell(client, number)
    assert predicted(client, 231)["label"] in pico.LABELS
    running = place.start_learner()
    talk = Client(place.url)
    talk.wait_learned("shapes", instance(pico.picture("circle")), home.ledger.last_sequence("shapes"))
    talk.http.close()
    assert learned_from_scratch(home)
    running.stop()


@pytest.mark.parametrize("how", ["truncated", "changed", "another manifest", "gone"])
def test_a_broken_bundle_is_quarantined_with_the_reason_and_the_old_version_serves(
    standing: tuple[House, Home, httpx.Client], how: str
) -> None:
    _, home, client = standing
    good = home.registry.champion("shapes")
    assert good is not None
    seed = 10 + ["truncated", "changed", "another manifest", "gone"].index(how)
    bad = pico.another(home, home.registry.scene("shapes"), seed).version
    spoil(home.artifacts.bundle(bad), how)
    body = {"version": bad, "expected_generation": good.generation}
    answer = client.put("/v1/scenes/shapes/champion", json=body)
    assert answer.status_code >= 400, answer.text
    assert answer.json()["error"]["remedy"]
    assert home.registry.champion("shapes") == good
    # It breaks after it was looked at: the alias moves, and the workers find out.
    home.registry.promote("shapes", bad, expected_generation=good.generation, head=lambda: None)
    until(lambda: home.registry.version("shapes", bad).state == "quarantined")
    (listed,) = (v for v in client.get("/v1/scenes/shapes/versions").json()["versions"] if v["version"] == bad)
    assert listed["state"] == "quarantined"
    assert bad[:12] in listed["reason"]
    for number in range(20):
        answer = client.post("/v1/scenes/shapes/predict", content=pico.picture("circle", number), headers=PNG)
        assert (answer.status_code, answer.json()["version"]) == (200, good.version)
    moved = home.registry.champion("shapes")
    assert moved is not None
    body = {"version": good.version, "expected_generation": moved.generation}
    assert client.put("/v1/scenes/shapes/champion", json=body).status_code == 200


@pytest.mark.parametrize("command", [["serve", "--port", "1"], ["learner"], ["up"]])
def test_a_home_that_cannot_be_written_is_one_line_and_exit_code_one(tmp_path: Path, command: list[str]) -> None:
    (tmp_path / "file").write_text("")
    done = run(tmp_path / "file" / "home", *command)
    assert done.returncode == 1
    assert done.stdout == ""
    (line,) = done.stderr.splitlines()
    assert line.startswith("error: ")
    assert str(tmp_path / "file" / "home") in line
    assert "LEPTON_HOME" in line


def label(client: httpx.Client, number: int) -> httpx.Response:
    """A label that brings its picture."""
    picture = instance(pico.picture("square", number))
    body = {"scene": "shapes", "instance": picture, "label": "circle", "event_id": f"event-{number}"}
    return client.post("/v1/feedback", json=body)


def tell(client: httpx.Client, number: int) -> str:
    """A label that is accepted; its event id."""
    answer = label(client, number)
    assert (answer.status_code, answer.json()["status"]) == (202, "accepted"), answer.text
    return str(answer.json()["event_id"])


def spoil(folder: Path, how: str) -> None:
    """Break a bundle on disk."""
    model, manifest = folder / "model.onnx", folder / "manifest.json"
    data = model.read_bytes()
    if how == "truncated":
        model.write_bytes(data[: len(data) // 2])
    elif how == "changed":
        model.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
    elif how == "another manifest":
        manifest.write_text(manifest.read_text().replace('"shapes"', '"others"'))
    else:
        model.unlink()


def nothing_half_written(home: Path) -> bool:
    """Whether every stored input is whole: named by the digest of its bytes."""
    blobs = [file for file in (home / "artifacts" / "blobs").glob("*/*") if file.is_file()]
    return bool(blobs) and all(hashlib.sha256(file.read_bytes()).hexdigest() == file.name for file in blobs)


def learned_from_scratch(home: Home) -> bool:
    """Whether the newest revision becomes the fit from scratch on all that stands, to the bit."""
    alias = home.registry.champion("shapes")
    assert alias is not None
    follower = home.follower(home.registry.scene("shapes"), home.registry.version("shapes", alias.version))
    follower.catch_up()
    scratch = told(follower.head())

    def same() -> bool:
        latest = home.registry.latest_revision("shapes", alias.version)
        return latest is not None and latest.head.sequence == follower.sequence and told(latest.head) == scratch

    return until(same)

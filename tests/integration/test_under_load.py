"""No seam under load: revisions, promotions and a rollback while requests come on a fixed schedule from outside.

Every answer is computed again, offline, from the bundle of the version and the arrays of the revision that it names.
"""

from __future__ import annotations

import threading
import time
from contextlib import closing
from itertools import cycle
from pathlib import Path

import numpy as np
import pytest

from core.home import Home
from core.promotion import prepare
from lepton.client import Client
from tests import pico
from tests.asking import instance
from tests.load import answers, under_load
from tests.offline import WORDS, can_tell_revisions_apart, can_tell_versions_apart, check, draw, heads
from tests.processes import House, house, run
from tests.waiting import until

RATE = 50.0  # requests a second
STEPS = 66  # labels, each followed by a revision
PACE = 0.4  # seconds from one label to the next, at least
PROMOTED_EVERY = 11  # so five times; the sixth time it is a rollback
_PAUSE = threading.Event()  # never set


@pytest.mark.slow
def test_no_request_fails_and_every_answer_is_that_of_the_version_and_revision_it_names(tmp_path: Path) -> None:
    pictures, out = tmp_path / "pictures", tmp_path / "answers.ndjson"
    draw(pictures)
    with house(tmp_path / "home", LEPTON_LEARNER_KEEP_REVISIONS="100000") as place, closing(place.open()) as home:
        versions = _registered(home)
        place.start_service(workers=2)
        place.start_learner()
        with under_load(place.url, pictures, out, RATE):
            moves = _teach(place, home, versions)
        told = answers(out)
        published = heads(home)
        assert moves == 6
        assert len(told) > 0.8 * RATE * PACE * STEPS
        assert [answer for answer in told if answer.status != 200] == []
        assert {answer.worker for answer in told} == {"1", "2"}
        assert {answer.body["version"] for answer in told} == set(versions)
        assert len({(answer.body["version"], answer.body["revision"]) for answer in told}) >= 50
        want = check(home, told, pictures)
        can_tell_versions_apart(want)
        can_tell_revisions_apart(want)
        late = np.percentile([answer.latency for answer in told], [50, 99, 100])
        shares = {version[:8]: sum(answer.body["version"] == version for answer in told) for version in versions}
        print(f"{len(told)} answers, {len(published)} revisions, by version {shares}; latency p50, p99, most: {late} s")
        assert late[-1] < 5.0


def _registered(home: Home) -> list[str]:
    """Three versions over three backbones; the first is champion."""
    made = pico.register(home, new_labels="accept")
    return [made.version.version, *(pico.another(home, made.scene, seed).version for seed in (1, 2))]


def _teach(place: House, home: Home, versions: list[str]) -> int:
    """Labels one by one, each waited for; versions moved between them; returns how many moves there were."""
    client, moves, said = Client(place.url), 0, list[str]()
    nexts = cycle([*versions[1:], versions[0]])
    start = time.monotonic()
    for step in range(STEPS):
        _PAUSE.wait(max(0.0, start + step * PACE - time.monotonic()))
        said.append(_label(client, step))
        until(lambda: client.http.get(f"/v1/feedback/{said[-1]}").json()["status"] != "pending")
        if step % 7 == 6:
            client.withdraw(said[-3])
        _wait_published(home)
        if step % PROMOTED_EVERY == PROMOTED_EVERY - 1:
            moves += 1
            if moves < 6:
                _promote(client, home, next(nexts))
            else:
                done = run(place.home, "rollback", "shapes")
                assert done.returncode == 0, done.stderr
    client.http.close()
    return moves


def _label(client: Client, step: int) -> str:
    """Every other label is about a prediction, the others bring their picture; one in five is wrong. Returns its id."""
    word = WORDS[step % (4 if step > 15 else 3)]
    data, said = pico.picture(word, 100 + step), WORDS[0] if step % 5 == 4 else word
    if step % 2:
        (answer,) = client.predict("shapes", [instance(data)])
        return str(client.label(answer["prediction_id"], said)["event_id"])
    body = {"scene": "shapes", "instance": instance(data), "label": said}
    answered = client.http.post("/v1/feedback", json=body)
    assert answered.status_code == 202, answered.text
    return str(answered.json()["event_id"])


def _wait_published(home: Home) -> None:
    """Until the learner has published all that the ledger says."""

    def published() -> bool:
        alias = home.registry.champion("shapes")
        assert alias is not None
        latest = home.registry.latest_revision("shapes", alias.version)
        return latest is not None and latest.head.sequence >= home.ledger.last_sequence("shapes")

    until(published)


def _promote(client: Client, home: Home, version: str) -> None:
    prepare(home, "shapes", version, lambda done, total: None)
    alias = home.registry.champion("shapes")
    assert alias is not None
    body = {"version": version, "expected_generation": alias.generation}
    answered = client.http.put("/v1/scenes/shapes/champion", json=body)
    assert answered.status_code == 200, answered.text

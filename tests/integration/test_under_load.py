"""No seam under load: revisions, promotions and a rollback while requests come on a fixed schedule from outside.

Every answer is computed again, offline, from the bundle of the version and the arrays of the revision that it names.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import closing
from itertools import cycle, pairwise
from pathlib import Path

import numpy as np
import sqlalchemy as sa

from core.database import revisions
from core.home import Home
from core.modality import image
from core.promotion import prepare
from core.session import Session
from core.types import Floats, Head
from lepton.client import Client
from tests import pico
from tests.asking import instance
from tests.load import Answer, answers, under_load
from tests.processes import House, house, run
from tests.waiting import until

RATE = 50.0  # requests a second
STEPS = 66  # labels, each followed by a revision
PACE = 0.4  # seconds from one label to the next, at least
PROMOTED_EVERY = 11  # so five times; the sixth time it is a rollback
TOLERANCE = 1e-4
WORDS = ("circle", "square", "triangle", "star")  # the star is a class that appears under load
_PAUSE = threading.Event()  # never set


def test_no_request_fails_and_every_answer_is_that_of_the_version_and_revision_it_names(tmp_path: Path) -> None:
    pictures, out = tmp_path / "pictures", tmp_path / "answers.ndjson"
    _draw(pictures)
    with house(tmp_path / "home", LEPTON_LEARNER_KEEP_REVISIONS="100000") as place, closing(place.open()) as home:
        versions = _registered(home)
        place.start_service(workers=2)
        place.start_learner()
        with under_load(place.url, pictures, out, RATE):
            moves = _teach(place, home, versions)
        told = answers(out)
        heads = _heads(home)
        assert moves == 6
        assert len(told) > 0.8 * RATE * PACE * STEPS
        assert [answer for answer in told if answer.status != 200] == []
        assert {answer.worker for answer in told} == {"1", "2"}
        assert {answer.body["version"] for answer in told} == set(versions)
        assert len({(answer.body["version"], answer.body["revision"]) for answer in told}) >= 50
        _check(home, told, heads, pictures)
        late = np.percentile([answer.latency for answer in told], [50, 99, 100])
        shares = {version[:8]: sum(answer.body["version"] == version for answer in told) for version in versions}
        print(f"{len(told)} answers, {len(heads)} revisions, by version {shares}; latency p50, p99, most: {late} s")
        assert late[-1] < 5.0


def _draw(folder: Path) -> None:
    folder.mkdir()
    for word in WORDS:
        for number in range(5000, 5004):
            (folder / f"{word}-{number}.png").write_bytes(pico.picture(word, number))


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
        (answer,) = client.predict("shapes", [data])
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


def _heads(home: Home) -> dict[tuple[str, int], Head]:
    """Every published head, read from the table itself."""
    with home.ledger.database.read() as connection:
        rows = connection.execute(sa.select(revisions).order_by(revisions.c.number)).all()
    return {
        (row.version, row.number): Head(
            weight=np.frombuffer(row.weight, np.float32).reshape(pico.WIDTH, -1),
            bias=np.frombuffer(row.bias, np.float32),
            labels=tuple(row.labels),
            sequence=row.sequence,
        )
        for row in rows
    }


def _check(home: Home, told: list[Answer], heads: dict[tuple[str, int], Head], pictures: Path) -> None:
    """Every answer against the numbers of its version and revision, computed here."""
    files = sorted(pictures.iterdir())
    place = {file.name: row for row, file in enumerate(files)}
    want = dict(_computed(home, heads, files))
    for answer in told:
        body, (said,) = answer.body, answer.body["predictions"]
        key = (body["version"], body["revision"])
        head, wanted_K = heads[key], want[key][place[answer.picture]]
        got_K = np.array([said["probabilities"].get(label, np.nan) for label in head.labels])
        assert set(said["probabilities"]) == set(head.labels), (key, said)
        assert body["sequence"] == head.sequence, (key, body)
        assert np.abs(got_K - wanted_K).max() <= TOLERANCE, (key, answer.picture, got_K, wanted_K)
        assert said["confidence"] == max(got_K)
        assert said["label"] == head.labels[int(got_K.argmax())]
    _can_tell_revisions_apart(want)


def _computed(
    home: Home, heads: dict[tuple[str, int], Head], files: list[Path]
) -> Iterator[tuple[tuple[str, int], Floats]]:
    size = (pico.SIDE, pico.SIDE)
    pixels = np.stack([image.decode(file.read_bytes(), size, home.limits) for file in files])
    sessions = {version: Session(home.bundle(version).model) for version, _ in heads}
    for (version, number), head in heads.items():
        yield (version, number), sessions[version].predict({"image": pixels}, head).outputs


def _can_tell_revisions_apart(want: dict[tuple[str, int], Floats]) -> None:
    """The tolerance is far below what one revision, or one version, differs from the next: else nothing was shown."""
    seen = [
        float(np.abs(one - other).max())
        for (version, _), one in want.items()
        for (another, _), other in [*want.items()]
        if version != another and one.shape == other.shape
    ]
    steps = [
        float(np.abs(want[a] - want[b]).max())
        for a, b in pairwise(sorted(want))
        if a[0] == b[0] and want[a].shape == want[b].shape
    ]
    assert np.median(seen) > 100 * TOLERANCE
    assert np.median(steps) > 10 * TOLERANCE

"""What the benchmark of the service concludes from records: the figures must not flatter."""

from __future__ import annotations

import base64
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks import planted, serving
from benchmarks.generator.http1 import Answer, read
from benchmarks.generator.record import BROKEN, OK, TIMED_OUT, Record
from benchmarks.peers import listing
from benchmarks.servers import Server
from benchmarks.serving_parts.overload import recovery
from benchmarks.serving_parts.part import Part, failed, ratio, same_answers
from benchmarks.serving_parts.tiny import request_of
from core.config import Settings
from core.home import open_home
from core.modality import tabular
from core.preprocess import Limits
from core.session import Session


def record(took: Sequence[float], status: Sequence[int] | None = None, seconds: float = 1.0) -> Record:
    """Requests due evenly over the time."""
    due_N = np.linspace(0.0, seconds, len(took), endpoint=False)
    states = np.array([OK] * len(took) if status is None else status, np.int16)
    return Record(
        due_N=due_N,
        sent_N=due_N,
        took_N=np.where(states > 0, took, np.nan),
        status_N=states,
        seconds=seconds,
        connections=1,
    )


def test_a_quick_refusal_is_no_quick_answer() -> None:
    told = record([0.001] * 90 + [0.5] * 10, [503] * 90 + [OK] * 10)
    assert told.milliseconds(50) == 500
    assert told.throughput() == 10
    assert told.statuses() == {"200": 10, "503": 90}
    assert failed([told]) == 90


@pytest.mark.parametrize("lost", [TIMED_OUT, BROKEN])
def test_a_request_without_an_answer_is_slower_than_all_others(lost: int) -> None:
    told = record([0.1] * 98 + [0.0] * 2, [OK] * 98 + [lost] * 2)
    assert told.milliseconds(97) == pytest.approx(100)
    assert told.milliseconds(98) == float("inf")


@given(st.lists(st.floats(0.001, 5), min_size=1, max_size=60), st.floats(0.001, 5))
def test_goodput_is_the_throughput_of_what_was_in_time(took: list[float], within: float) -> None:
    told = record(took)
    assert told.goodput(within) == sum(each <= within for each in took)
    assert told.goodput(within) <= told.throughput() == len(took)


@given(st.lists(st.floats(0.001, 5), min_size=2, max_size=60), st.floats(0.1, 99.9))
def test_a_percentile_was_really_measured(took: list[float], percent: float) -> None:
    told = record(took).milliseconds(percent)
    assert any(told == pytest.approx(1000 * each) for each in took)
    assert sum(1000 * each <= told * (1 + 1e-9) for each in took) >= percent / 100 * (len(took) - 1)


def test_ratios_are_of_the_same_round() -> None:
    ours, theirs = [record([0.1] * 100), record([0.1] * 10)], [record([0.1] * 50), record([0.1] * 5)]
    assert ratio(ours, theirs, Record.throughput) == pytest.approx(2.0)


def test_back_to_normal_is_when_every_later_second_is_normal() -> None:
    calm = [0.01] * 10
    assert recovery(record(calm * 5, seconds=5.0), 10.0) == 0.0
    assert recovery(record([0.5] * 10 + calm * 4, seconds=5.0), 10.0) == 1.0
    assert recovery(record(calm + [0.5] * 10 + calm * 3, seconds=5.0), 10.0) == 2.0
    assert recovery(record(calm * 5, [OK] * 29 + [503] + [OK] * 20, seconds=5.0), 10.0) == 3.0
    assert recovery(record(calm * 4 + [0.5] * 10, seconds=5.0), 10.0) == float("inf")


def test_a_claim_holds_on_its_side_of_the_bound() -> None:
    part = Part()
    part.at_least("more", 4.9, 5.0)
    part.at_most("less", 5.1, 5.0)
    part.at_most("less", float("nan"), 5.0)
    assert [claim.holds for claim in part.claims] == [False, False, False]


def test_a_server_that_answers_something_else_is_no_peer() -> None:
    ours = {"predictions": [{"probabilities": {"a": 0.25, "b": 0.75}}]}
    same_answers([_server(ours), _server([[0.75, 0.25]])], within=1e-3)
    with pytest.raises(RuntimeError, match="expected probabilities"):
        same_answers([_server(ours), _server({"label": 1, "probabilities": [0.3, 0.7]})], within=1e-3)


@pytest.mark.parametrize("peer", listing.ALL, ids=lambda peer: peer.environment)
def test_every_peer_is_sent_the_same_row_and_the_same_picture(peer: listing.Peer) -> None:
    row, data = planted.row(3), b"\xff\xd8\xff" + bytes(range(256))
    head, _, body = peer.numbers(row).partition(b"\r\n\r\n")
    assert f"content-length: {len(body)}".encode() in head
    assert json.dumps(row, separators=(",", ":")).encode() in body
    assert data in (sent := peer.picture(data)) or base64.b64encode(data) in sent


def test_the_tiny_scene_is_served_by_a_model_that_takes_what_the_benchmark_sends(tmp_path: Path) -> None:
    place = planted.home("tiny", [("tiny", planted.tiny())], tmp_path)
    home = open_home(Settings(home=place))
    alias = home.registry.champion("tiny")
    assert alias is not None
    bundle = home.bundle(alias.version)
    session = Session(bundle.model)
    (instance,) = json.loads(request_of(7).partition(b"\r\n\r\n")[2])["instances"]
    data = tabular.from_json(instance["features"], Limits())
    row = home.preprocessor(bundle, session).read(data)
    assert not row.flags
    assert np.allclose(row.arrays["numeric"], planted.row(7))
    outputs_BK = session.predict({"numeric": row.arrays["numeric"][None]}).outputs
    assert outputs_BK.sum() == pytest.approx(1.0, abs=1e-5)
    assert planted.model_file(place, "tiny").read_bytes() == bundle.model
    home.close()


def test_an_unknown_part_is_refused_with_the_choices(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        serving.main(["--only", "tiny,huge"])
    assert ended.value.code == 2
    told = capsys.readouterr().err
    assert "huge" in told
    assert "overload" in told


def _server(told: object) -> Server:
    body = json.dumps(told).encode()
    answer = read(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n%s" % (len(body), body))
    assert isinstance(answer, Answer)
    return Server(name="some", port=1, pid=1, requests=[], first=answer)

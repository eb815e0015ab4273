"""Whether a request comes in one piece, and is answered without ASGI, or in several, makes no difference but in speed.

A request that is cut behind its head goes through ASGI: that is the other way, and both are compared in all that can be
seen of them.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import msgspec
import pytest
from fastapi import FastAPI
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from core.config import ServeSettings, Settings
from core.home import open_home
from service.access_log import AccessLog
from service.api.application import application
from service.api.direct import Predictions
from service.api.predict import Call
from service.bootstrap import build
from service.context import Context
from service.direct import Reply as Answer
from service.protocol import MOST_PIPELINED, protocol
from tests import pico, rows
from tests.asking import MOST, instance
from tests.memory_wires import Line, Switchboard
from tests.waiting import until
from tests.wires import Reply, request

LOANS, SHAPES = "/v1/scenes/loans/predict", "/v1/scenes/shapes/predict"
JSON, IMAGE = "content-type: application/json", "content-type: image/png"
SERVE = ServeSettings(max_body_bytes=MOST, max_instances=3, poll_seconds=0.01, access_log="json", access_log_file="log")
MASKS = (
    (re.compile(rb"[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}"), b"<request id>"),
    (re.compile(rb":[0-9a-f]{32}"), b":<id>"),
)
FEW = settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


class Desk(Predictions):
    """The real one, which also tells how often it was asked."""

    def __init__(self, app: FastAPI) -> None:
        super().__init__(app, MOST)
        self.answered: list[Call] = []

    async def reply(self, call: Call, body: bytes) -> Answer:
        self.answered.append(call)
        return await super().reply(call, body)


class Place:
    """A worker with two scenes."""

    def __init__(self, board: Switchboard, desk: Desk, context: Context, log: Path) -> None:
        self.board, self.desk, self.context, self.log = board, desk, context, log

    def counts(self) -> dict[str, float]:
        """Every counter, and how many observations each histogram has of requests and instances."""
        told = self.context.metrics.render().decode().splitlines()
        pairs = (line.rsplit(" ", 1) for line in told if not line.startswith("#"))
        counted = r"lepton_(requests|predictions|refused|flagged)_total|lepton_(request|queue)_seconds_count"
        return {name: float(value) for name, value in pairs if re.match(counted, name)}

    def seen(self, *pieces: bytes) -> tuple[Any, ...]:
        """All that can be seen of a request, but what is drawn or measured anew each time."""
        before, lines = self.counts(), len(self.lines())
        line = self.board.ask(*pieces)
        (reply,) = line.replies()
        until(lambda: len(self.lines()) > lines)
        (told,) = self.lines()[lines:]
        del told["time"], told["seconds"]
        told["request_id"] = masked(told["request_id"].encode())
        after = self.counts()
        counted = {name: value - before.get(name, 0.0) for name, value in after.items() if value != before.get(name)}
        names = re.findall(rb'"prediction_id":"([^"]+)"', reply.body)
        logged = self.context.log.find([name.decode() for name in names])
        kept = [(p.example, p.features.tobytes(), p.instance, p.media, p.label, p.confidence) for p in logged.values()]
        return masked(b"".join(line.writes)), told, counted, sorted(kept, key=repr)

    def lines(self) -> list[dict[str, Any]]:
        """Of the access log."""
        return [json.loads(line) for line in self.log.read_text().splitlines()]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    folder = tmp_path_factory.mktemp("direct")
    told = Settings(home=folder, serve=SERVE)
    with closing(open_home(told)) as home:
        pico.register(home)
        rows.register(home)
    made: list[Context] = []

    def built() -> Context:
        made.append(build(told, 3))
        return made[0]

    app = application(built, MOST)
    desk = Desk(app)
    with Switchboard(app, protocol(SERVE, app, desk)) as board:
        assert isinstance(made[0].access, AccessLog)
        yield Place(board, desk, made[0], folder / "log")


def masked(data: bytes) -> bytes:
    for drawn, mask in MASKS:
        data = drawn.sub(mask, data)
    return data


def cut(data: bytes) -> tuple[bytes, bytes]:
    """A request's head, and its body."""
    place = data.index(b"\r\n\r\n") + 4
    return data[:place], data[place:]


def asked(*instances: object, **more: object) -> bytes:
    return json.dumps({"instances": list(instances)} | more).encode()


def loan(number: int) -> dict[str, object]:
    return {"features": rows.row(number)}


def good(number: int = 1, *headers: str) -> bytes:
    return request(LOANS, JSON, *headers, body=asked(loan(number)))


CELLS = (
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.sampled_from(["clerk", "", "x" * 2000])
)
ODD = st.dictionaries(st.sampled_from([*rows.COLUMNS, "incom"]), CELLS | st.just([1]), max_size=5)
INSTANCES = st.one_of(
    st.integers(0, 99).map(loan),
    ODD.map(lambda cells: {"features": cells}),
    st.sampled_from([{}, {"text": "a"}, {"features": None}, 7, instance(pico.picture("circle", 3)), instance(b"no")]),
)
BODIES = st.one_of(
    st.lists(INSTANCES, min_size=1, max_size=4).map(lambda held: asked(*held)),
    st.builds(
        lambda k, key: asked(loan(1), top_k=k, key=key), st.sampled_from([1, 0, "a"]), st.sampled_from(["k", "x" * 300])
    ),
    st.sampled_from([b"{", b"[]", b'{"instances":[]}', b'{"instances":[1],"instances":[1]}', b"\xff", b'{"more":1}']),
    st.integers(0, 9).map(lambda number: pico.picture("square", number)),
    st.integers(0, 9).map(lambda number: json.dumps(rows.row(number)).encode()),
)
PATHS = st.sampled_from(
    [LOANS, LOANS, SHAPES, f"{LOANS}?top_k=1", f"{LOANS}?top_k=0", f"{LOANS}?top_k=x&a=b", "/v1/scenes/nobody/predict"]
)
KINDS = st.sampled_from(
    [(JSON,), (JSON,), (JSON,), (JSON + "; charset=utf-8",), (IMAGE,), ("content-type: text/csv",), (), (JSON, JSON)]
)
MORE = st.lists(
    st.sampled_from(
        [
            "connection: close",
            "connection: keep-alive",
            "content-encoding: gzip",
            "content-encoding: identity",
            "lepton-deadline: 5",
            "lepton-deadline: soon",
            "lepton-key: one",
            "lepton-key: " + "x" * 300,
            "x-request-id: mine",
            "X-Request-Id: <script>",
        ]
    ),
    unique=True,
    max_size=3,
)


@given(path=PATHS, kinds=KINDS, more=MORE, body=BODIES)
@FEW
def test_all_that_can_be_seen_is_the_same_on_both_ways(
    place: Place, path: str, kinds: tuple[str, ...], more: list[str], body: bytes
) -> None:
    data, before = request(path, *kinds, *more, body=body), len(place.desk.answered)
    whole = place.seen(data)
    assert len(place.desk.answered) == before + 1, "the first goes without ASGI"
    pieces = place.seen(*cut(data))
    assert len(place.desk.answered) == before + 1, "and the second through it"
    assert whole == pieces


@given(data=st.data(), number=st.integers(0, 50))
@FEW
def test_wherever_a_request_is_cut_its_answer_is_the_same(place: Place, data: st.DataObject, number: int) -> None:
    sent = good(number, "x-request-id: cut")
    places = sorted(data.draw(st.sets(st.integers(1, len(sent) - 1), max_size=6)))
    pieces = [sent[start:end] for start, end in zip([0, *places], [*places, len(sent)], strict=True)]
    (whole,), (found,) = place.board.ask(sent).replies(), place.board.ask(*pieces).replies()
    assert masked(found.body) == masked(whole.body)
    assert (found.status, found.headers.keys()) == (200, whole.headers.keys())


OTHERS = {
    "another method": request(LOANS, JSON, method="PUT", body=b"{}"),
    "HTTP/1.0": request(LOANS, JSON, body=asked(loan(1)), version="1.0"),
    "a scene's name that is escaped": request("/v1/scenes/lo%61ns/predict", JSON, body=asked(loan(1))),
    "a name that no scene has": request("/v1/scenes/Loans/predict", JSON, body=asked(loan(1))),
    "a whole address": request("http://a" + LOANS, JSON, body=asked(loan(1))),
    "in chunks": request(LOANS, JSON, "transfer-encoding: chunked") + b"2\r\n{}\r\n0\r\n\r\n",
    "after asking": request(LOANS, JSON, "expect: 100-continue", body=asked(loan(1))),
    "another route": request("/v1/scenes/loans", method="GET"),
}


@pytest.mark.parametrize("data", OTHERS.values(), ids=OTHERS)
def test_what_is_unusual_goes_through_asgi(place: Place, data: bytes) -> None:
    before = len(place.desk.answered)
    line = place.board.open()
    place.board.send(line, data)
    until(lambda: any(b"content-length" in written for written in line.writes))
    assert len(place.desk.answered) == before


def test_an_answer_is_one_write(place: Place) -> None:
    assert len(place.board.ask(good()).writes) == 1


def test_pipelined_requests_are_answered_in_order_on_both_ways(place: Place) -> None:
    names = [str(number) for number in range(12)]
    sent = b"".join(
        good(int(name), f"x-request-id: {name}")
        if number % 3
        else request(LOANS, JSON, f"x-request-id: {name}", body=b"{")
        for number, name in enumerate(names)
    )
    for pieces in ((sent,), tuple(sent[start : start + 700] for start in range(0, len(sent), 700))):
        replies = place.board.ask(*pieces, count=len(names)).replies()
        assert [reply.headers["x-request-id"] for reply in replies] == names
        assert [reply.status for reply in replies] == [200 if number % 3 else 400 for number in range(12)]


def test_more_than_may_wait_in_line_are_refused_after_those_before_them_and_counted(place: Place) -> None:
    before = place.counts()
    replies = place.board.ask(good() * (MOST_PIPELINED + 5), count=MOST_PIPELINED + 2).replies()
    assert [reply.status for reply in replies] == [200] * (MOST_PIPELINED + 1) + [503]
    refused = 'lepton_requests_total{route="other",status="503"}'
    assert place.counts()[refused] == before.get(refused, 0) + 1


def test_a_connection_lives_on_until_either_side_ends_it(place: Place) -> None:
    line = place.board.ask(good(1))
    for count in (2, 3):
        place.board.send(line, good(count))
        line.await_replies(count)
        assert not line.closed
    place.board.send(line, good(4, "connection: close"))
    until(lambda: line.closed)
    assert line.replies()[-1].headers["connection"] == "close"


def test_the_end_of_the_server_waits_for_what_is_under_way(place: Place) -> None:
    line = place.board.open()
    assert line.protocol is not None
    place.board.tell(line, ("data_received", good()), ("shutdown",))
    until(lambda: line.closed)
    (reply,) = line.replies()
    assert (reply.status, reply.headers["connection"]) == (200, "close")


def test_what_was_begun_for_a_client_that_leaves_is_brought_to_its_end_counted_and_logged(place: Place) -> None:
    before, lines = place.counts(), len(place.lines())
    line = place.board.open()
    place.board.tell(line, ("data_received", good(7)), ("connection_lost", None))
    until(lambda: len(place.lines()) > lines)
    assert place.lines()[-1]["status"] == 200
    assert not line.writes
    answered = 'lepton_predictions_total{outcome="answered",scene="loans"}'
    assert place.counts()[answered] == before[answered] + 1
    assert place.context.predicting.inside == 0
    until(lambda: not place.board.state.tasks and line.protocol not in place.board.state.connections)


def test_a_client_that_does_not_read_gets_no_more_until_it_does(place: Place) -> None:
    line = place.board.ask(good(1))
    before, lines = len(place.desk.answered), len(place.lines())
    place.board.tell(line, ("pause_writing",))
    place.board.send(line, good(2))
    place.board.ask(good(3))  # others are answered meanwhile
    assert len(line.replies()) == 1
    assert len(place.desk.answered) == before + 1
    place.board.tell(line, ("resume_writing",))
    line.await_replies(2)
    until(lambda: len(place.lines()) == lines + 2)


def test_an_error_of_ours_is_told_without_its_reason_on_both_ways(
    place: Place, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError("a secret")

    monkeypatch.setattr(place.context.engine, "route", fail)
    found = [place.seen(*pieces) for pieces in ((good(),), cut(good()))]
    assert found[0] == found[1]
    assert b"HTTP/1.1 500 " in found[0][0]
    assert b"secret" not in found[0][0]
    assert caplog.text.count("could not be answered") == 2


def test_a_request_in_one_piece_can_be_answered_in_threads_too(place: Place) -> None:
    """A picture is decoded in one, and its model runs in another."""
    before = len(place.desk.answered)
    replies: list[Reply] = []
    lines: list[Line] = [place.board.open() for _ in range(8)]
    for number, line in enumerate(lines):
        place.board.send(line, request(SHAPES, IMAGE, body=pico.picture("circle", number)))
    for line in lines:
        replies += line.await_replies()
    assert [reply.status for reply in replies] == [200] * 8
    assert len(place.desk.answered) == before + 8
    assert all(msgspec.json.decode(reply.body)["scene"] == "shapes" for reply in replies)

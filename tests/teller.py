"""A client that tells labels for as long as it lives and keeps its own record of what was acknowledged.

Promises that a label whose fate is unknown (a broken connection, a 5xx) is sent again with the same event id until it
is acknowledged, and that the record says of every event what must stand. Knows nothing of who is killed meanwhile.
"""

from __future__ import annotations

import random
import threading
from dataclasses import dataclass, field

import httpx

from tests import pico
from tests.asking import instance
from tests.waiting import until

WORDS = ("circle", "square", "triangle", "star", "cross")
REFUSED = range(400, 500)
PATIENCE = 60.0


@dataclass
class Said:
    """One label event as the client knows it.

    Attributes:
        label: what was said first. stands: what must stand now; None after a withdrawal.
        sequence: of the acknowledgement; 0 where a repetition acknowledged it.
        corrections, corrected: corrections that were sent, and those that were acknowledged.
        repeated: the fate of the first sending was not known.
    """

    event_id: str
    picture: bytes
    label: str
    stands: str | None
    sequence: int = 0
    corrections: int = 0
    corrected: int = 0
    repeated: bool = False


@dataclass
class Record:
    """All that one client was acknowledged, and how often.

    Attributes:
        client: tells its event ids and pictures from those of others.
        unknown: connections that broke before the answer. unanswered: answers 5xx, after which it sent again.
    """

    client: int
    said: list[Said] = field(default_factory=list)
    unknown: int = 0
    unanswered: int = 0
    duplicates: int = 0

    def picture(self, label: str, number: int) -> bytes:
        """A picture that nobody else labels."""
        return pico.picture(label, 1_000_000 * (self.client + 1) + number)


class Teller(threading.Thread):
    """Tells labels, corrects some, withdraws some, sends some again; ends with ``finish``.

    Args:
        url: of the service.
        record: to go on with.
        chance: of what is said.
    """

    def __init__(self, url: str, record: Record, chance: random.Random):
        super().__init__(name="teller", daemon=True)
        self.record = record
        self._random = chance
        self._http = httpx.Client(base_url=url, timeout=20.0, trust_env=False)
        self._done = threading.Event()
        self._breath = threading.Event()  # never set
        self._failure: BaseException | None = None

    def run(self) -> None:
        try:
            while not self._done.is_set():
                self.tell()
        except BaseException as error:  # told to the test by ``finish``
            self._failure = error

    def finish(self) -> Record:
        """Stop after the present label; the record.

        Raises:
            AssertionError: the service answered something that it must not.
        """
        self._done.set()
        self.join(2 * PATIENCE)
        self._http.close()
        if self._failure is not None:
            raise AssertionError("the service gave a wrong answer") from self._failure
        assert not self.is_alive()
        return self.record

    def acknowledged(self) -> int:
        """How many labels were acknowledged so far."""
        assert self._failure is None, self._failure
        return len(self.record.said)

    def tell(self) -> None:
        """One label until it is acknowledged, and what chance adds to it."""
        number = len(self.record.said)
        label = self._random.choice(WORDS)
        said = Said(f"client-{self.record.client}-{number}", self.record.picture(label, number), label, stands=label)
        answer = self._until_known(said, "POST", "/v1/feedback", self._body(said))
        assert answer.status_code == 202, answer.text
        status = answer.json()["status"]
        assert status == "accepted" or (status == "duplicate" and said.repeated), answer.text
        said.sequence = int(answer.json()["sequence"])
        self.record.said.append(said)
        chance = self._random.random()
        if chance < 0.15:
            self._again(said)
        elif chance < 0.30:
            self._correct(self._random.choice(self.record.said))
        elif chance < 0.45:
            self._withdraw(self._random.choice(self.record.said))

    def _again(self, said: Said) -> None:
        """The same event once more: a duplicate, at the same place."""
        answer = self._until_known(said, "POST", "/v1/feedback", self._body(said))
        assert (answer.status_code, answer.json()["status"]) == (202, "duplicate"), answer.text
        assert answer.json()["sequence"] == said.sequence, answer.text
        self.record.duplicates += 1

    def _correct(self, said: Said) -> None:
        label = self._random.choice(WORDS)
        path = f"/v1/feedback/{said.event_id}"
        answer = self._until_known(said, "PATCH", path, {"label": label})
        if said.stands is None:
            assert (answer.status_code, answer.json()["error"]["code"]) == (409, "withdrawn"), answer.text
            return
        assert answer.status_code == 200, answer.text
        said.stands, said.corrected = label, said.corrected + 1

    def _withdraw(self, said: Said) -> None:
        before = self.record.unknown
        answer = self._until_known(said, "DELETE", f"/v1/feedback/{said.event_id}", None)
        if said.stands is None or (self.record.unknown > before and answer.status_code == 409):
            assert (answer.status_code, answer.json()["error"]["code"]) == (409, "withdrawn"), answer.text
        else:
            assert answer.status_code == 200, answer.text
        said.stands = None

    def _body(self, said: Said) -> dict[str, object]:
        return {"scene": "shapes", "instance": instance(said.picture), "label": said.label, "event_id": said.event_id}

    def _until_known(self, said: Said, method: str, path: str, body: dict[str, object] | None) -> httpx.Response:
        """The answer, however often it takes."""

        def ask() -> httpx.Response | None:
            said.corrections += method == "PATCH"
            answer: httpx.Response | None = None
            try:
                answer = self._http.request(method, path, json=body)
            except httpx.ConnectError:  # nobody has heard it
                self._breath.wait(0.1)
                return None
            except httpx.TransportError:
                self.record.unknown += 1
                said.repeated = True
            if answer is None or not (answer.is_success or answer.status_code in REFUSED):
                self.record.unanswered += answer is not None
                return None
            return answer

        answer = until(ask, PATIENCE)
        assert answer is not None
        return answer

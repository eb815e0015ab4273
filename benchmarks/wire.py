"""One keep-alive connection to the service, kept as thin as can be: a measuring client must not be what is measured.

Promises that all requests of a ``Wire`` go over one connection, and so to one worker, which every answer names.
Knows nothing of what the answers are for.
"""

from __future__ import annotations

import base64
import http.client
import json
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Self

TIMEOUT = 30.0
SEARCH_SECONDS = 60.0  # for a worker that has not answered yet; it may still be loading


class WireError(RuntimeError):
    """An answer that is no success; the message names the request, the status and the beginning of the body."""


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What one request came back with.

    Attributes:
        worker: index of the worker that answered.
        version: the version that answered.
        sequence: the last label event that the head of the answer includes.
        predictions: one an instance, as the service tells them.
    """

    worker: str
    version: str
    sequence: int
    predictions: Sequence[dict[str, Any]] = field(repr=False)


class Wire:
    """A connection, opened at the first request."""

    def __init__(self, host: str, port: int) -> None:
        self._connection = http.client.HTTPConnection(host, port, timeout=TIMEOUT)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def status(self, path: str) -> int:
        """The status of a GET."""
        self._connection.request("GET", path)
        answer = self._connection.getresponse()
        answer.read()
        return answer.status

    def predict(self, scene: str, picture: bytes) -> Answer:
        """One picture, sent as it is.

        Raises:
            WireError: the service refused it. OSError, http.client.HTTPException: the connection broke.
        """
        return self._predict(scene, picture, "image/png")

    def predict_many(self, scene: str, pictures: Sequence[bytes]) -> Answer:
        """Several pictures in one request. Raises as ``predict``."""
        instances = [{"image": {"b64": base64.b64encode(picture).decode()}} for picture in pictures]
        return self._predict(scene, json.dumps({"instances": instances}).encode(), "application/json")

    def label(self, prediction_id: str, label: str) -> int:
        """Send a label; returns its sequence. Raises as ``predict``."""
        body = json.dumps({"prediction_id": prediction_id, "label": label, "annotator": "benchmark"}).encode()
        told, _ = self._post("/v1/feedback", body, "application/json")
        return int(told["sequence"])

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()

    def _predict(self, scene: str, body: bytes, kind: str) -> Answer:
        told, worker = self._post(f"/v1/scenes/{scene}/predict", body, kind)
        return Answer(
            worker=worker, version=told["version"], sequence=told["sequence"], predictions=told["predictions"]
        )

    def _post(self, path: str, body: bytes, kind: str) -> tuple[dict[str, Any], str]:
        self._connection.request("POST", path, body, {"Content-Type": kind})
        answer = self._connection.getresponse()
        said = answer.read()
        if answer.status >= 300:
            raise WireError(f"POST {path}: {answer.status} {said[:500].decode(errors='replace')}")
        return json.loads(said), answer.getheader("Lepton-Worker", "")


def one_to_each(host: str, port: int, workers: int, scene: str, picture: bytes) -> dict[str, Wire]:
    """A connection to every worker, by the worker's index; opens one after the other until every index was seen.

    Raises:
        WireError: some worker did not answer in ``SEARCH_SECONDS``.
    """
    found: dict[str, Wire] = {}
    deadline = time.monotonic() + SEARCH_SECONDS
    while time.monotonic() < deadline:
        wire = Wire(host, port)
        try:
            worker = wire.predict(scene, picture).worker
        except WireError:  # a worker that is still loading refuses
            worker = None
        if worker is None or worker in found:
            wire.close()
            time.sleep(0.01)
        else:
            found[worker] = wire
        if len(found) == workers:
            return found
    for wire in found.values():
        wire.close()
    raise WireError(f"within {SEARCH_SECONDS:.0f} s workers {sorted(found)} answered; expected {workers} of them")

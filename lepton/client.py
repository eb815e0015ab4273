"""A small client of the service's HTTP, for the demonstration and for tests: predictions, labels, waiting for both."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import httpx

BATCH = 16
PATIENCE = 60.0


class Client:
    """Talks to one service."""

    def __init__(self, url: str):
        self.http = httpx.Client(base_url=url, timeout=PATIENCE, trust_env=False)

    def wait_ready(self, seconds: float = PATIENCE) -> None:
        """Return when the service answers /readyz with 200.

        Raises:
            TimeoutError: it did not in time.
        """
        for _ in _until(seconds, f"the service at {self.http.base_url} did not become ready"):
            try:
                if self.http.get("/readyz").status_code == 200:
                    return
            except httpx.TransportError:
                continue

    def predict(self, scene: str, instances: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
        """An answer for every instance, each with ``version``, ``revision`` and ``sequence`` beside."""
        answers: list[dict[str, Any]] = []
        for start in range(0, len(instances), BATCH):
            body = {"instances": instances[start : start + BATCH]}
            told = self._json(self.http.post(f"/v1/scenes/{scene}/predict", json=body))
            common = {name: told[name] for name in ("version", "revision", "sequence")}
            answers += [answer | common for answer in told["predictions"]]
        return answers

    def label(self, prediction_id: str, label: str, **more: Any) -> dict[str, Any]:
        """Send one label; the receipt."""
        body = {"prediction_id": prediction_id, "label": label} | more
        return self._json(self.http.post("/v1/feedback", json=body))

    def withdraw(self, event_id: str) -> dict[str, Any]:
        """Take one label back; the receipt."""
        return self._json(self.http.delete(f"/v1/feedback/{event_id}"))

    def wait_learned(
        self,
        scene: str,
        instance: dict[str, Any],
        sequence: int,
        seconds: float = PATIENCE,
        held: Callable[[str], None] | None = None,
    ) -> float:
        """Return when an answer includes the event with this sequence; the seconds that it took.

        Where ``held`` is given, a head that the guard holds is accepted, after it was called with the reason.

        Raises:
            TimeoutError: it did not in time.
        """
        begun = time.perf_counter()
        for _ in _until(seconds, f"no answer of {scene} included event {sequence}"):
            if self.predict(scene, [instance])[0]["sequence"] >= sequence:
                break
            guard = self._json(self.http.get(f"/v1/scenes/{scene}"))["guard"] if held is not None else None
            if held is not None and guard is not None and not guard["accepted"]:
                held(guard["words"])
                self._json(self.http.post(f"/v1/scenes/{scene}/guard/accept"))
        return time.perf_counter() - begun

    @staticmethod
    def _json(answer: httpx.Response) -> dict[str, Any]:
        if answer.is_error:
            raise RuntimeError(
                f"{answer.request.method} {answer.request.url.path}: {answer.status_code} {answer.text[:500]}"
            )
        told: dict[str, Any] = answer.json()
        return told


def _until(seconds: float, failure: str) -> Iterator[None]:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        yield
        time.sleep(0.02)
    raise TimeoutError(failure)

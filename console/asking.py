"""The service asked over HTTP: for an answer to one input, to take a label for it, and for its metrics.

Promises that nothing but the address of the settings is asked, without redirects and without a proxy, and that
whatever comes back is what was asked for or a LeptonError with a remedy. Knows nothing of pages.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import httpx

from core.errors import InvalidInput, LeptonError, Unavailable
from core.outcomes import Said
from core.types import Scene

SECONDS = 30.0
GLANCE = 1.0  # seconds that metrics are waited for
SETTING = "[console] service of lepton.toml"
TOP = 8  # probabilities that are asked for


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What was answered for one task.

    Attributes:
        task: its name; empty where the scene has one.
        chances: label → probability, best first; empty for a regression, which has a ``value``.
        fallback: no label stands, and the version's own head answered.
    """

    task: str
    label: str | None
    value: float | None
    chances: Mapping[str, float]
    fallback: bool


@dataclass(frozen=True, kw_only=True)
class Answered:
    """What the service said of one input.

    Attributes:
        answers: one a task. flags: what was out of the ordinary in the input, and in which of its fields.
        seconds: from asking to the whole answer, as it is seen from here.
    """

    prediction_id: str
    version: str
    revision: int
    worker: str
    answers: tuple[Answer, ...]
    flags: Mapping[str, tuple[str, ...]]
    seconds: float


async def predict(service: str, scene: Scene, instance: Mapping[str, Any]) -> Answered:
    """Ask for an answer.

    Raises:
        InvalidInput: the service refuses the input, and says why. Unavailable: it is away, or cannot answer.
    """
    asked = {"instances": [dict(instance)], "top_k": TOP}
    async with _client(service) as client:
        began = time.perf_counter()
        response = await _sent(client, f"/v1/scenes/{scene.name}/predict", asked)
        seconds = time.perf_counter() - began
    told = _json(response)
    try:
        return answer_of(scene, told, response.headers.get("lepton-worker", ""), seconds)
    except (KeyError, TypeError, IndexError, ValueError):
        raise Unavailable("the service's answer cannot be read", "run service and console of one version") from None


async def teach(service: str, task: Scene, answered: Answered, instance: Mapping[str, Any], said: Said) -> str:
    """Say what an answer should have been; returns the event's id. The input goes along, so that nothing is orphaned.

    Raises:
        InvalidInput: the scene cannot learn this. Unavailable: the service is away, or cannot keep it.
    """
    told: dict[str, Any] = {"prediction_id": answered.prediction_id, "instance": dict(instance), "annotator": "console"}
    told |= {"value": said} if isinstance(said, float) else {"label": said}
    if task.task_name:
        told["task"] = task.task_name
    async with _client(service) as client:
        return str(_json(await _sent(client, "/v1/feedback", told)).get("event_id", ""))


def metrics(service: str) -> str:
    """The metrics of all its workers, in the text format of Prometheus; blocks.

    Raises:
        Unavailable: the service is away.
    """
    try:
        response = httpx.get(f"{service}/metrics", timeout=GLANCE, trust_env=False)
    except httpx.HTTPError as error:
        raise _away(service, error) from None
    if response.status_code != 200:
        raise _refused(response)
    return response.text


def answer_of(scene: Scene, told: Mapping[str, Any], worker: str, seconds: float) -> Answered:
    """What an answer in JSON says of its one input. Raises LookupError, TypeError or ValueError where it is none."""
    said = told["predictions"][0]
    whole = bool(told.get("fallback"))
    further = said.get("tasks") or {scene.task_name: said}
    return Answered(
        prediction_id=str(said["prediction_id"]),
        version=str(told["version"]),
        revision=int(told["revision"]),
        worker=worker,
        answers=tuple(_answer(str(name), each, whole) for name, each in further.items()),
        flags={str(flag): tuple(map(str, fields)) for flag, fields in (said.get("flags") or {}).items()},
        seconds=seconds,
    )


def _client(service: str) -> httpx.AsyncClient:
    return httpx.AsyncClient(base_url=service, timeout=SECONDS, trust_env=False)


async def _sent(client: httpx.AsyncClient, path: str, told: Mapping[str, Any]) -> httpx.Response:
    try:
        response = await client.post(path, json=told)
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        raise _away(str(client.base_url), error) from None
    if response.status_code >= 300:
        raise _refused(response)
    return response


def _json(response: httpx.Response) -> dict[str, Any]:
    try:
        told = response.json()
    except ValueError:
        told = None
    if not isinstance(told, dict):
        raise Unavailable("what answers there is no Lepton service", f"name its address: {SETTING}")
    return told


def _away(service: str, error: Exception) -> LeptonError:
    why = "it did not answer in time" if isinstance(error, httpx.TimeoutException) else "nothing answers there"
    return Unavailable(
        f"the service cannot be reached at {service.rstrip('/')}: {why}",
        f"start it with lepton up, or lepton serve; or name its address: {SETTING}",
    )


def _refused(response: httpx.Response) -> LeptonError:
    """What the service said in place of an answer."""
    told: Any = _json(response).get("error")
    if not isinstance(told, dict):
        told = {}
    message = str(told.get("message") or f"the service answered with status {response.status_code}")[:1000]
    remedy = str(told.get("remedy") or "its log has the details")[:1000]
    kind = InvalidInput if response.status_code < 500 else Unavailable
    return kind(message, remedy)


def _answer(task: str, said: Mapping[str, Any], whole: bool) -> Answer:
    value = said.get("value")
    return Answer(
        task=task,
        label=None if value is not None else str(said["label"]),
        value=None if value is None else float(value),
        chances={str(label): float(chance) for label, chance in (said.get("probabilities") or {}).items()},
        fallback=bool(said.get("fallback")) or whole,
    )

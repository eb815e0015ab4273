"""Whatever route takes a body, a new one too: it takes no type that it does not name, and nothing compressed."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest
from fastapi.testclient import TestClient

from tests.asking import refused

MISSING = "/v2/models"  # Triton's own client states no content type


def routes(client: TestClient) -> Iterator[tuple[str, str, set[str]]]:
    """Method, path and content types of every route that takes a body, for a scene and a version that serve."""
    version = client.get("/v1/scenes/shapes").json()["champion"]["version"]
    for path, methods in client.get("/openapi.json").json()["paths"].items():
        for method, told in methods.items():
            if "requestBody" in told:
                named = re.sub(r"\{\w+\}", "shapes", path.replace("{version}", version))
                yield method, named, set(told["requestBody"]["content"])


def test_there_are_routes_that_take_bodies(client: TestClient) -> None:
    assert len(list(routes(client))) >= 7


@pytest.mark.parametrize("kind", ["", "text/html", "application/x-www-form-urlencoded", "application/python-pickle"])
def test_a_type_that_a_route_does_not_name_is_refused(client: TestClient, kind: str) -> None:
    for method, path, taken in routes(client):
        assert kind not in taken
        if kind or not path.startswith(MISSING):
            answer = client.request(method, path, content=b"{}", headers={"content-type": kind} if kind else {})
            assert answer.status_code == 415, (method, path, answer.text)


def test_a_compressed_body_is_refused_before_its_type_is_looked_at(client: TestClient) -> None:
    for method, path, _ in routes(client):
        answer = client.request(method, path, content=b"{}", headers={"content-encoding": "gzip"})
        assert (answer.status_code, "gzip" in answer.text) == (415, True), (method, path, answer.text)


def test_two_content_types_are_none(client: TestClient) -> None:
    both = [("content-type", "application/json"), ("content-type", "application/json")]
    answer = client.post("/v1/feedback", content=b"{}", headers=both)
    refused(answer, 415, "unsupported_media", "content type")

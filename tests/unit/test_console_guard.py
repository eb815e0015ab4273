"""What stands before the console: names of hosts, origins of actions, and the policy by which pages load."""

from __future__ import annotations

import pytest
from jinja2 import Environment
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route, WebSocketRoute
from starlette.testclient import TestClient
from starlette.websockets import WebSocket, WebSocketDisconnect

from console.guard import Guard, Nonces

HERE = "http://127.0.0.1:3003"


async def answer(request: Request) -> PlainTextResponse:
    return PlainTextResponse(str(request.state.nonce))


async def talk(socket: WebSocket) -> None:
    await socket.accept()
    await socket.send_text("in")
    await socket.close()


@pytest.fixture
def client() -> TestClient:
    routes = [
        Route("/", answer, methods=["GET", "POST"]),
        Route("/_nicegui_ws/socket.io/", answer),
        WebSocketRoute("/_nicegui_ws/", talk),
    ]
    return TestClient(Guard(Starlette(routes=routes), ["console.example.org"]), base_url=HERE)


@pytest.mark.parametrize("host", ["127.0.0.1:3003", "localhost", "[::1]:3003", "console.example.org", "LOCALHOST:1"])
def test_a_page_is_given_to_whoever_asks_by_a_name_of_ours(client: TestClient, host: str) -> None:
    assert client.get("/", headers={"host": host}).status_code == 200


@pytest.mark.parametrize("host", ["evil.example", "127.0.0.1.evil.example", "evil.example:3003", "localhost.", ""])
def test_another_name_is_refused_whatever_it_points_to(client: TestClient, host: str) -> None:
    refused = client.get("/", headers={"host": host})
    assert refused.status_code == 403
    assert "[console] names" in refused.text


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"origin": "null"},
        {"origin": "http://evil.example"},
        {"origin": "http://127.0.0.1:3000"},
        {"origin": "http://127.0.0.1:3003.evil.example"},
        {"sec-fetch-site": "cross-site"},
        {"sec-fetch-site": "same-site"},
    ],
)
def test_only_a_page_of_this_origin_may_act(client: TestClient, headers: dict[str, str]) -> None:
    assert client.post("/", headers=headers).status_code == 403
    assert client.get("/_nicegui_ws/socket.io/", headers=headers).status_code == 403
    with pytest.raises(WebSocketDisconnect), client.websocket_connect("/_nicegui_ws/", headers=headers):
        pass


def test_a_page_of_this_origin_acts(client: TestClient) -> None:
    own = {"origin": HERE, "host": "127.0.0.1:3003"}
    assert client.post("/", headers=own).status_code == 200
    assert client.get("/_nicegui_ws/socket.io/", headers={"sec-fetch-site": "same-origin"}).status_code == 200
    with client.websocket_connect("/_nicegui_ws/", headers=own) as socket:
        assert socket.receive_text() == "in"


def test_every_answer_has_a_policy_with_a_nonce_of_its_own(client: TestClient) -> None:
    first, second = client.get("/"), client.get("/")
    assert first.text != second.text
    for each in (first, second):
        policy = each.headers["content-security-policy"]
        assert f"'nonce-{each.text}'" in policy
        assert "default-src 'none'" in policy and "frame-ancestors 'none'" in policy
        assert "http:" not in policy and "https:" not in policy and "*" not in policy
        script = next(part for part in policy.split("; ") if part.startswith("script-src"))
        assert "unsafe-inline" not in script
        assert each.headers["cache-control"] == "no-store"


def test_scripts_of_a_template_get_the_nonce_and_those_in_data_do_not() -> None:
    environment = Environment(autoescape=True)
    environment.add_extension(Nonces)
    made = environment.from_string("<script>own()</script>{{ data | safe }}")
    request = type("R", (), {"state": type("S", (), {"nonce": "n1"})()})()
    assert made.render(request=request, data="<script>evil()</script>") == (
        '<script nonce="n1">own()</script><script>evil()</script>'
    )

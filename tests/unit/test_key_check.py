"""The key check: what is open, which headers open the rest, and what a refusal looks like."""

import asyncio
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route, WebSocketRoute
from starlette.testclient import TestClient, WebSocketDenialResponse
from starlette.websockets import WebSocket, WebSocketDisconnect

from serve_app.api.edge.edge import Edge
from serve_app.api.edge.key_check import sent_keys
from serve_app.api.edge.state import RequestState
from tests.unit.asgi import asked, edge_parts, http_scope

KEY = "open-sesame"


async def who(request: Request) -> JSONResponse:
    """The name of the request's key."""
    return JSONResponse({"key": RequestState.of(request.scope).key_name})


async def echo(websocket: WebSocket) -> None:
    await websocket.accept()
    await websocket.send_text(RequestState.of(websocket.scope).key_name)
    await websocket.close()


def application(key: str | None = KEY, header: str = "X-API-Key") -> Starlette:
    """A small application behind the edge."""
    methods = ["GET", "HEAD", "POST"]
    paths = ["/", "/health", "/readyz", "/transcribe", "/docs"]
    routes = [Route(path, who, methods=methods) for path in paths]
    app = Starlette(routes=[*routes, WebSocketRoute("/live", echo)])
    app.add_middleware(Edge, **edge_parts(key=key, key_header=header))
    return app


@pytest.fixture
def client() -> Iterator[TestClient]:
    with TestClient(application()) as testing:
        yield testing


@pytest.mark.parametrize("method", ["GET", "HEAD"])
@pytest.mark.parametrize("path", ["/", "/health", "/readyz"])
def test_status_paths_may_be_read_without_a_key(client: TestClient, method: str, path: str) -> None:
    assert client.request(method, path).status_code == 200


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "/"),
        ("POST", "/health"),
        ("OPTIONS", "/transcribe"),
        ("GET", "/transcribe"),
        ("GET", "/docs"),
        ("GET", "/docs/"),
        ("GET", "/health/x"),
        ("GET", "//health"),
        ("GET", "/HEALTH"),
        ("GET", "/health%2f..%2ftranscribe"),
        ("GET", "/nothing/here"),
    ],
)
def test_everything_else_is_closed(client: TestClient, method: str, path: str) -> None:
    response = client.request(method, f"http://testserver{path}")
    assert response.status_code == 401


@pytest.mark.parametrize(
    "headers",
    [
        {"X-API-Key": KEY},
        {"x-api-key": f"Bearer {KEY}"},
        {"Authorization": f"Bearer {KEY}"},
        {"Authorization": f"bearer  {KEY} "},
        {"Authorization": f"Token {KEY}"},
        {"api-key": KEY},
        {"xi-api-key": KEY},
        {"Ocp-Apim-Subscription-Key": KEY},
        {"X-API-Key": "dummy", "Authorization": f"Bearer {KEY}"},
    ],
)
def test_a_key_opens_in_each_of_its_forms(client: TestClient, headers: dict[str, str]) -> None:
    assert client.post("/transcribe", headers=headers).json() == {"key": "default"}


@pytest.mark.parametrize(
    ("query", "status"),
    [
        (f"Ocp-Apim-Subscription-Key={KEY}", 200),
        (f"token={KEY}", 200),
        (f"language=de-CH&ocp-apim-subscription-key={KEY}", 200),
        (f"Ocp-Apim-Subscription-Key=wrong&Ocp-Apim-Subscription-Key={KEY}", 401),
        (f"X-API-Key={KEY}", 401),
    ],
)
def test_a_key_opens_in_a_query(client: TestClient, query: str, status: int) -> None:
    assert client.post(f"/transcribe?{query}").status_code == status


@pytest.mark.parametrize(
    "query",
    [
        b"max_new_tokens=200&initial_prompt=Z%C3%BCrich",
        "max_new_tokens=200&initial_prompt=Zürich".encode(),
        b"max_new_tokens=%FF%&initial_prompt=\xff%zz%",
        b"token=%E4%B8%AD&token=%FF",
    ],
    ids=["percent-encoded", "raw-utf-8", "broken-escapes", "wrong-keys"],
)
def test_any_text_may_stand_in_a_query_beside_a_key(query: bytes) -> None:
    scope = http_scope("/transcribe", headers=[("x-api-key", KEY.encode())])
    answer = asked(application(), {**scope, "query_string": query})
    assert (answer.status, answer.body) == (200, b'{"key":"default"}')


@pytest.mark.parametrize(
    "sent", ["ключ".encode(), quote("ключ").encode(), quote("ключ").lower().encode()]
)
def test_a_key_beyond_ascii_opens_in_a_query(sent: bytes) -> None:
    scope = {**http_scope("/transcribe"), "query_string": b"token=" + sent}
    assert asked(application("ключ"), scope).status == 200


def test_a_query_holds_the_bytes_of_a_key() -> None:
    scope = {**http_scope(), "query_string": b"a=%C3%BC&TOKEN=\xff%FE%zz+%&token=other"}
    assert sent_keys(scope, b"") == [b"\xff\xfe%zz %"]


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"X-API-Key": ""},
        {"X-API-Key": "wrong"},
        {"X-API-Key": KEY[:-1]},
        {"X-Other": KEY},
        {"Authorization": KEY},
        {"Authorization": "Bearer"},
        {"Authorization": f"Basic {KEY}"},
        {"Cookie": f"X-API-Key={KEY}"},
    ],
)
def test_a_missing_and_a_wrong_key_get_the_same_answer(
    client: TestClient, headers: dict[str, str]
) -> None:
    response = client.post("/transcribe", headers={"X-Request-ID": "same", **headers})
    assert response.status_code == 401
    assert response.headers["WWW-Authenticate"] == "Bearer"
    assert response.json() == {
        "error": {
            "code": "unauthorized",
            "message": "This needs a valid API key in the header X-API-Key or as "
            "'Authorization: Bearer KEY'.",
            "field": "X-API-Key",
            "request_id": "same",
        }
    }


def test_a_header_sent_twice_is_one_guess(client: TestClient) -> None:
    headers = [("X-API-Key", "wrong"), ("X-API-Key", KEY)]
    assert client.post("/transcribe", headers=headers).status_code == 401


def test_the_configured_header_may_be_authorization_itself() -> None:
    client = TestClient(application(header="Authorization"))
    for value in (KEY, f"Bearer {KEY}"):
        assert client.post("/transcribe", headers={"Authorization": value}).status_code == 200


def test_a_key_beyond_ascii_is_sent_as_utf_8() -> None:
    client = TestClient(application("ключ"))
    headers = {b"X-API-Key": "ключ".encode()}
    assert client.post("/transcribe", headers=headers).status_code == 200


def test_without_a_key_set_everything_is_open() -> None:
    client = TestClient(application(key=None))
    assert client.post("/transcribe").json() == {"key": ""}
    assert client.get("/nothing").status_code == 404


def test_the_status_paths_move_with_the_applications_prefix() -> None:
    client = TestClient(application(), root_path="/speech")
    found = [client.get(path).status_code for path in ("/speech/health", "/speech/transcribe")]
    assert found == [200, 401]


def test_without_a_key_the_answer_comes_before_the_body_is_read() -> None:
    events: list[str] = []

    async def receive() -> Any:
        events.append("read")
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: Any) -> None:
        events.append(str(message.get("status") or message["body"].decode()))

    asyncio.run(application()(http_scope("/transcribe"), receive, send))
    status, error, *rest = events
    assert (status, "unauthorized" in error, rest) == ("401", True, ["read", ""])


def test_a_websocket_without_a_key_is_refused_before_it_is_accepted(client: TestClient) -> None:
    with (
        pytest.raises(WebSocketDenialResponse) as refused,
        client.websocket_connect("/live", headers={"X-API-Key": "wrong"}),
    ):
        pass
    assert refused.value.status_code == 401
    error = refused.value.json()["error"]
    assert error["code"] == "unauthorized"
    assert refused.value.headers["X-Request-ID"] == error["request_id"]
    assert refused.value.headers["WWW-Authenticate"] == "Bearer"


def test_a_server_that_cannot_deny_a_websocket_in_http_closes_it() -> None:
    sent: list[Any] = []

    async def receive() -> Any:
        return {"type": "websocket.connect"}

    async def send(message: Any) -> None:
        sent.append(message)

    scope = {"type": "websocket", "path": "/live", "query_string": b"", "headers": []}
    asyncio.run(application()(scope, receive, send))
    assert sent == [{"type": "websocket.close", "code": 1008, "reason": "unauthorized"}]


@pytest.mark.parametrize(
    "offered", [["realtime", f"openai-insecure-api-key.{KEY}"], ["token", KEY]]
)
def test_a_page_offers_its_key_as_a_subprotocol(client: TestClient, offered: list[str]) -> None:
    with client.websocket_connect("/live", subprotocols=offered) as websocket:
        assert websocket.receive_text() == "default"


@pytest.mark.parametrize("scheme", ["Token", "Bearer"])
def test_a_websocket_with_a_key_is_served(client: TestClient, scheme: str) -> None:
    headers = {"Authorization": f"{scheme} {KEY}"}
    with client.websocket_connect("/live", headers=headers) as websocket:
        assert websocket.receive_text() == "default"
        with pytest.raises(WebSocketDisconnect):
            websocket.receive_text()

"""Errors over HTTP have one form per kind of path, wherever they were raised."""

import asyncio
from typing import Annotated, Any

import httpx
import pytest
from fastapi import FastAPI, Header, HTTPException, Query
from starlette.testclient import TestClient, WebSocketDenialResponse

from serve_app.api.edge.edge import Edge
from serve_app.api.error_answers import install_error_handlers
from serve_app.errors import InvalidOption, Overloaded, Unauthorized
from tests.unit.asgi import edge_parts

OPENAI_PATHS = [
    "/v1/audio/transcriptions",
    "/openai/deployments/w/audio",
    "/v1/models/whisper-1",
    "/v1/realtime",
]
NATIVE_PATHS = ["/transcribe", "/v1/transcribe", "/v1/stream", "/v1/audio", "/openai"]


def application() -> FastAPI:
    app = FastAPI()
    install_error_handlers(app)

    @app.get("/number")
    @app.get("/v1/models/number")
    async def number(value: Annotated[int, Query()], x_size: Annotated[int, Header()] = 0) -> int:
        return value

    @app.get("/raise/{what}")
    @app.get("/v1/audio/raise/{what}")
    async def fail(what: str) -> None:
        raise {
            "unauthorized": Unauthorized("No key.", field="api-key"),
            "overloaded": Overloaded("Full.", retry_after_seconds=2.1),
            "free": Overloaded("Full.", retry_after_seconds=0.0),
            "option": InvalidOption("beam_size: got 99", "task: got 1", field="beam_size"),
            "teapot": HTTPException(418, "short and stout"),
            "bug": LookupError("a secret of the server"),
        }[what]

    app.add_middleware(Edge, **edge_parts())
    return app


def get(path: str, method: str = "GET", **headers: str) -> httpx.Response:
    async def ask() -> httpx.Response:
        transport = httpx.ASGITransport(application())
        async with httpx.AsyncClient(transport=transport, base_url="http://site") as client:
            return await client.request(method, path, headers=headers)

    return asyncio.run(ask())


def error_of(response: httpx.Response | WebSocketDenialResponse) -> dict[str, Any]:
    error: dict[str, Any] = response.json()["error"]
    return error


@pytest.mark.parametrize("path", NATIVE_PATHS)
def test_native_paths_have_the_native_form(path: str) -> None:
    error = error_of(get(path, **{"X-Request-ID": "call-17"}))
    assert set(error) == {"code", "message", "field", "request_id"}
    assert (error["code"], error["request_id"]) == ("not_found", "call-17")


@pytest.mark.parametrize("path", OPENAI_PATHS)
def test_openai_paths_have_openais_form(path: str) -> None:
    error = error_of(get(path))
    assert set(error) == {"message", "type", "param", "code"}
    assert (error["type"], error["code"]) == ("invalid_request_error", "not_found")


@pytest.mark.parametrize(
    ("what", "status", "kind", "code", "param"),
    [
        ("unauthorized", 401, "invalid_request_error", "invalid_api_key", "api-key"),
        ("overloaded", 429, "rate_limit_error", "rate_limit_exceeded", None),
        ("option", 400, "invalid_request_error", "invalid_option", "beam_size"),
        ("bug", 500, "server_error", "internal_error", None),
    ],
)
def test_openais_form_has_openais_words(
    what: str, status: int, kind: str, code: str, param: str | None
) -> None:
    response = get(f"/v1/audio/raise/{what}")
    error = error_of(response)
    assert response.status_code == status
    assert (error["type"], error["code"], error["param"]) == (kind, code, param)
    assert "secret" not in response.text


@pytest.mark.parametrize(
    ("path", "field", "message"),
    [
        (
            "/raise/option",
            "generate_kwargs.beam_size",
            "generate_kwargs.beam_size: got 99. generate_kwargs.task: got 1",
        ),
        ("/v1/audio/raise/option", "beam_size", "beam_size: got 99. task: got 1"),
    ],
)
def test_options_are_named_as_callers_of_the_path_write_them(
    path: str, field: str, message: str
) -> None:
    error = error_of(get(path))
    assert error.get("field", error.get("param")) == field
    assert error["message"] == message


@pytest.mark.parametrize(("what", "seconds"), [("overloaded", "3"), ("free", "1")])
def test_a_retry_is_told_in_whole_seconds(what: str, seconds: str) -> None:
    assert get(f"/raise/{what}").headers["Retry-After"] == seconds


@pytest.mark.parametrize("path", ["/number", "/v1/models/number"])
@pytest.mark.parametrize("query", ["", "?value=ten", "?value="])
def test_a_parameter_of_the_wrong_form_is_named(path: str, query: str) -> None:
    response = get(path + query)
    error = error_of(response)
    status = 422 if path.startswith("/number") else 400  # OpenAI's API has no 422
    assert (response.status_code, error["code"]) == (status, "invalid_request")
    assert error.get("field", error.get("param")) == "value"
    assert error["message"].startswith("value: ")


def test_a_wrong_method_is_told_which_are_right() -> None:
    response = get("/number", "DELETE")
    assert (response.status_code, error_of(response)["code"]) == (405, "method_not_allowed")
    assert response.headers["Allow"] == "GET"


@pytest.mark.parametrize("path", ["/nothing-here", "/number", "/v1/models/nothing-here"])
def test_a_web_socket_that_does_not_exist_is_not_found(path: str) -> None:
    client = TestClient(application())
    with pytest.raises(WebSocketDenialResponse) as refused, client.websocket_connect(path):
        pass
    error = error_of(refused.value)
    assert (refused.value.status_code, error["code"]) == (404, "not_found")
    assert error["message"].startswith(f"{path}: ")


def test_an_exception_of_the_framework_has_the_form_too() -> None:
    response = get("/raise/teapot")
    assert (response.status_code, error_of(response)["code"]) == (418, "http_error")


@pytest.mark.parametrize("host", ["[::1", "a b", "x:port", ""])
def test_a_malformed_host_header_breaks_nothing(host: str) -> None:
    assert get("/nothing-here", Host=host).status_code == 404


def test_a_message_shows_a_path_on_one_short_line() -> None:
    message = error_of(get("/a%0Ab%00" + "c" * 5_000))["message"]
    assert message.isprintable()
    assert "/a?b?" in message
    assert len(message) < 300

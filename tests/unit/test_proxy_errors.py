"""What a caller receives when Ray Serve answers instead of the application."""

import json
import logging
from importlib import import_module
from typing import Any

import pytest
from ray.serve._private.http_util import validate_http_proxy_callback_return
from starlette.middleware import Middleware
from starlette.responses import JSONResponse, PlainTextResponse, StreamingResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from serve_app.environment import SET_BY_EVERY_SERVER
from serve_app.serving.proxy_errors import ProxyErrors, middlewares
from tests.unit.asgi import Answer, asked, http_scope
from tests.unit.conftest import Printed


def through(app: ASGIApp, path: str = "/transcribe", **headers: bytes) -> Answer:
    """An answer of ``app`` behind the middleware, which Serve builds as it is built here."""
    outer = Middleware(ProxyErrors)
    named = [(name.replace("_", "-"), value) for name, value in headers.items()]
    return asked(outer.cls(app, *outer.args, **outer.kwargs), http_scope(path, headers=named))


async def silent(scope: Scope, receive: Receive, send: Send) -> None:
    """As Serve's Python proxy when a replica dies: it sends nothing."""


async def echoing(scope: Scope, receive: Receive, send: Send) -> None:
    names = {name.decode(): value.decode("latin-1") for name, value in scope["headers"]}
    await JSONResponse(names)(scope, receive, send)


@pytest.mark.parametrize(
    ("status", "code"),
    [
        (404, "not_found"),
        (408, "request_timeout"),
        (429, "overloaded"),
        (500, "internal_error"),
        (503, "not_ready"),
    ],
)
def test_serves_own_errors_become_json(status: int, code: str) -> None:
    answer = through(PlainTextResponse("Serve's words", status), x_request_id=b"call-17")
    assert (answer.status, answer.error["code"]) == (status, code)
    assert set(answer.error) == {"code", "message", "field", "request_id"}
    assert answer.error["request_id"] == answer.headers["x-request-id"] == "call-17"
    assert b"Serve's words" not in answer.body
    assert len(answer.sent) == 2


def test_serves_own_errors_have_openais_form_on_its_paths() -> None:
    answer = through(PlainTextResponse("busy", 503), "/v1/audio/transcriptions")
    assert (answer.error["type"], answer.error["code"]) == ("server_error", "not_ready")


@pytest.mark.parametrize("status", [429, 503])
@pytest.mark.parametrize(("serves", "told"), [("", "5"), ("17", "17"), ("0", "1"), ("soon", "5")])
def test_a_refusal_says_when_to_come_back(status: int, serves: str, told: str) -> None:
    busy = PlainTextResponse("busy", status, {"Retry-After": serves} if serves else {})
    assert through(busy).headers["retry-after"] == told


def test_a_replica_that_dies_without_an_answer_is_reported() -> None:
    answer = through(silent, x_request_id=b"call-17")
    assert (answer.status, answer.error["code"]) == (503, "not_ready")
    assert answer.error["request_id"] == answer.headers["x-request-id"] == "call-17"
    assert int(answer.headers["retry-after"]) > 0


def test_an_exception_of_serve_is_answered_without_detail() -> None:
    async def failing(scope: Scope, receive: Receive, send: Send) -> None:
        raise LookupError("a secret of Serve")

    answer = through(failing)
    assert (answer.status, answer.error["code"]) == (500, "internal_error")
    assert b"secret" not in answer.body


def test_half_an_answer_breaks_off() -> None:
    async def failing(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        raise LookupError("in mid-answer")

    with pytest.raises(LookupError):
        through(failing)


def test_a_client_that_has_left_is_sent_nothing() -> None:
    async def waiting(scope: Scope, receive: Receive, send: Send) -> None:
        while (await receive())["type"] != "http.disconnect":
            pass

    assert asked(ProxyErrors(waiting), http_scope(), [b"x", None]).sent == []


@pytest.mark.parametrize("status", [200, 404, 408, 429, 500, 503])
def test_answers_of_the_application_pass_untouched(status: int) -> None:
    error = JSONResponse({"error": {"code": "ours"}}, status, {"Retry-After": "9"})
    answer = through(error)
    assert (answer.status, answer.error) == (status, {"code": "ours"})
    assert answer.headers["retry-after"] == "9"


def test_answers_pass_piece_by_piece() -> None:
    answer = through(StreamingResponse(iter(["one", "two"]), media_type="text/plain"))
    assert [message.get("body") for message in answer.sent[1:]] == [b"one", b"two", b""]


@pytest.mark.parametrize("path", ["/-/healthz", "/-/routes"])
def test_what_serve_asks_itself_stays_as_it_is(path: str) -> None:
    assert through(PlainTextResponse("DRAINING", 503), path).body == b"DRAINING"


@pytest.mark.parametrize("sent", [b"a b", b"x\xff", b"y" * 129, b"", b'"<script>"'])
def test_a_request_id_that_is_unsafe_is_replaced_everywhere(sent: bytes) -> None:
    seen = json.loads(through(echoing, x_request_id=sent).body)["x-request-id"]
    assert seen.isalnum()
    assert len(seen) == 32


def test_a_callers_request_id_is_kept() -> None:
    assert json.loads(through(echoing, x_request_id=b"call-17").body)["x-request-id"] == "call-17"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("x-request-timeout-seconds", b"0.001"),
        ("x-request-disconnect-disabled", b"?1"),
        ("serve_multiplexed_model_id", b"other"),
        ("serve-multiplexed-model-id", b"other"),
        ("x-session-id", b"\xff"),
        ("traceparent", b"\xff"),
    ],
)
def test_headers_that_only_serve_may_set_are_kept_out(name: str, value: bytes) -> None:
    headers: list[Any] = [(name, value), ("x-other", b"kept")]
    seen = json.loads(asked(ProxyErrors(echoing), http_scope(headers=headers)).body)
    assert set(seen) == {"x-request-id", "x-other"}


def test_serve_takes_what_the_callback_returns(printed: Printed) -> None:
    path = SET_BY_EVERY_SERVER["RAY_SERVE_HTTP_PROXY_CALLBACK_IMPORT_PATH"]
    module, _, callback = path.partition(":")
    wrapped = validate_http_proxy_callback_return(getattr(import_module(module), callback)())
    assert [middleware.cls for middleware in wrapped] == [ProxyErrors]


def test_a_proxy_logs_as_the_application_does(
    printed: Printed, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LOG_FORMAT", "json")
    middlewares()
    monkeypatch.setenv("LOG_FORMAT", "text")
    middlewares()  # as in a replica, which has set up its log by then
    logging.getLogger("whisper_ox.proxy").warning("gone")
    assert json.loads(printed())["message"] == "gone"

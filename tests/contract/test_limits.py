"""Hostile and slow requests on the wire."""

import json
import socket
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import httpx
import pytest

from loadtest.server import Server
from tests.conditions import eventually
from tests.contract.conftest import (
    API_KEY,
    API_KEY_HEADER,
    MAX_HEADER_BYTES,
    MAX_HELD_BYTES,
)
from tests.contract.test_bad_requests import error_of
from tests.contract.test_logs import ANSWERED, events
from tests.contract.wire import post, silence, words_of

CLAIMED_BYTES = 1_000_000
FORM = b'--x\r\nContent-Disposition: form-data; name="file"; filename="a.wav"\r\n\r\n'
KEY = {API_KEY_HEADER: API_KEY}


@contextmanager
def upload(server: Server, **headers: str) -> Iterator[socket.socket]:
    """A connection on which the head of a form of ``CLAIMED_BYTES`` has been sent."""
    url = httpx.URL(server.url)
    lines = {"Host": url.host, "Content-Length": str(CLAIMED_BYTES), **KEY}
    lines |= {name.replace("_", "-"): value for name, value in headers.items()}
    head = "POST /transcribe HTTP/1.1\r\nContent-Type: multipart/form-data; boundary=x\r\n"
    head += "".join(f"{name}: {value}\r\n" for name, value in lines.items())
    with socket.create_connection((url.host, url.port or 80), timeout=60) as connection:
        connection.sendall(head.encode() + b"\r\n")
        yield connection


def answer(connection: socket.socket) -> tuple[int, dict[str, Any]]:
    """Status and error of an answer whose body is short."""
    received = b""
    while b"}}" not in received:
        piece = connection.recv(65_536)
        assert piece, received
        received += piece
    head, _, body = received.partition(b"\r\n\r\n")
    error: dict[str, Any] = json.loads(body)["error"]
    assert f"x-request-id: {error['request_id']}" in head.decode().lower()
    return int(head.split()[1]), error


def outcome(connection: socket.socket) -> tuple[int, str]:
    status, error = answer(connection)
    return status, error["code"]


def test_uploads_together_may_hold_only_so_much(guarded: Server, hello: bytes) -> None:
    most = b"y" * (MAX_HELD_BYTES // 2)
    with upload(guarded, Content_Length="1900000") as first:
        first.sendall(FORM.replace(b'"file"', b'"other"') + most)
        with upload(guarded, Content_Length="1900000") as second:
            second.sendall(FORM.replace(b'"file"', b'"other"') + most)
            assert outcome(second) == (429, "overloaded")
        assert outcome(first) == (408, "upload_timeout")  # it was not cut off, it has stopped
    assert words_of(post(f"{guarded.url}/transcribe", hello, headers=KEY)) == "hello world"


def test_a_client_that_leaves_in_the_middle_of_its_body_is_forgotten(guarded: Server) -> None:
    most = b"y" * (MAX_HELD_BYTES // 2)
    for number in range(4):  # of which two would be too much at once
        with upload(guarded, X_Request_ID=f"left-{number}", Content_Length="1900000") as leaving:
            leaving.sendall(FORM.replace(b'"file"', b'"other"') + most)
        told = eventually(partial(events, guarded, f"left-{number}"))
        assert told[ANSWERED]["status"] in (400, 499)


@pytest.mark.parametrize(
    ("server", "headers", "expected"),
    [
        ("guarded", {API_KEY_HEADER: "wrong"}, (401, "unauthorized")),
        ("guarded", {"Content_Length": "2000001"}, (413, "body_too_large")),
        ("tiny_en", {"Content_Length": f"{2**40}"}, (413, "body_too_large")),
    ],
    ids=["guarded-wrong-key", "guarded-too-large", "tiny_en-much-too-large"],
)
def test_who_asks_before_sending_a_body_is_refused_without_it(
    server: str,
    headers: dict[str, str],
    expected: tuple[int, str],
    request: pytest.FixtureRequest,
) -> None:
    with upload(request.getfixturevalue(server), Expect="100-continue", **headers) as connection:
        assert outcome(connection) == expected  # as the first answer: there was no 100


def test_who_asks_before_sending_a_body_is_told_to_go_on(tiny_en: Server, hello: bytes) -> None:
    form = FORM + hello + b"\r\n--x--\r\n"
    with upload(tiny_en, Expect="100-continue", Content_Length=f"{len(form)}") as connection:
        assert connection.recv(65_536).startswith(b"HTTP/1.1 100 Continue\r\n")
        connection.sendall(form)
        assert connection.recv(65_536).startswith(b"HTTP/1.1 200 ")


def test_http_1_0_is_answered_without_chunks(tiny_en: Server, hello: bytes) -> None:
    form = FORM + hello + b"\r\n--x--\r\n"
    head = b"POST /transcribe HTTP/1.0\r\nContent-Type: multipart/form-data; boundary=x\r\n"
    head += b"Content-Length: %d\r\n\r\n" % len(form)
    answered, _, body = all_of(tiny_en, head + form).partition(b"\r\n\r\n")
    assert answered.split()[1] == b"200"
    assert b"transfer-encoding" not in answered.lower()
    assert json.loads(body)["segments"][0]["text"].strip().lower().startswith("hello world")


def test_a_length_beside_chunks_hides_no_second_request(tiny_en: Server) -> None:
    hidden = b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n"
    head = b"POST /transcribe HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\n"
    head += b"Transfer-Encoding: chunked\r\nContent-Type: multipart/form-data; boundary=x\r\n\r\n"
    answers = all_of(tiny_en, head + b"0\r\n\r\n" + hidden)
    assert answers.startswith(b"HTTP/1.1 400 ")
    assert answers.count(b"HTTP/1.1 ") == 1


def all_of(server: Server, sent: bytes) -> bytes:
    """Everything that is answered until the server closes the connection."""
    url = httpx.URL(server.url)
    with socket.create_connection((url.host, url.port or 80), timeout=60) as connection:
        connection.sendall(sent)
        return b"".join(iter(lambda: connection.recv(65_536), b""))


def test_a_body_that_stops_is_given_up(guarded: Server) -> None:
    with upload(guarded, X_Request_ID="call-17") as connection:
        connection.sendall(FORM)
        status, error = answer(connection)
        assert (status, error["code"]) == (408, "upload_timeout")
        assert error["request_id"] == "call-17"
        connection.sendall(b"too late")
        assert connection.recv(65_536) == b""


@pytest.mark.parametrize("start", [b"", b"POST /transcribe HTTP/1.1\r\nHost: x"])
def test_a_head_that_stops_is_given_up(guarded: Server, start: bytes) -> None:
    url = httpx.URL(guarded.url)
    with socket.create_connection((url.host, url.port or 80), timeout=60) as connection:
        connection.sendall(start)
        ended = b"".join(iter(lambda: connection.recv(65_536), b""))
    assert ended.startswith(b"HTTP/1.1 408 ")


def test_a_head_over_the_limit_is_refused(guarded: Server) -> None:
    headers = {**KEY, "X-Filler": "y" * MAX_HEADER_BYTES}
    response = httpx.get(guarded.url, headers=headers)
    assert (response.status_code, error_of(response)["code"]) == (431, "headers_too_large")


def test_a_head_over_the_default_limit_is_refused(tiny_en: Server) -> None:
    response = httpx.get(tiny_en.url, headers={"X-Filler": "y" * 33_000})
    assert (response.status_code, error_of(response)["code"]) == (431, "headers_too_large")


@pytest.mark.parametrize(
    "header",
    [
        {"X_Filler": "y" * 100_000},  # without an end, for all that HAProxy knows
        {f"X-{number}": "y" for number in range(200)},
        {"Content_Length": "-1"},
        {"Content_Length": "ten"},
        {"Content_Length": "1_000"},
    ],
    ids=lambda header: next(iter(header)),
)
def test_a_head_that_haproxy_does_not_take_is_refused_at_once(
    tiny_en: Server, header: dict[str, str]
) -> None:
    with upload(tiny_en, **header) as connection:
        assert connection.recv(65_536).startswith(b"HTTP/1.1 400 ")


def test_a_wav_that_claims_too_much_is_refused_before_it_has_come(tiny_en: Server) -> None:
    start = bytearray(silence(1.0))
    start[40:44] = struct.pack("<I", 5 * 3_600 * 32_000)
    with upload(tiny_en) as connection:
        connection.sendall(FORM + start)
        assert outcome(connection) == (413, "audio_too_large")


def test_what_is_no_audio_is_refused_before_it_has_come(tiny_en: Server) -> None:
    with upload(tiny_en) as connection:
        connection.sendall(FORM + b"PK\x03\x04" + bytes(20_000))
        assert outcome(connection) == (415, "unsupported_audio")


def test_too_long_a_text_field_is_named(tiny_en: Server, hello: bytes) -> None:
    response = post(f"{tiny_en.url}/transcribe", hello, " " * 300_000)
    error = error_of(response)
    assert (response.status_code, error["code"]) == (413, "form_too_large")
    assert error["field"] == "generate_kwargs"


@pytest.mark.parametrize("server", ["tiny_en", "guarded"])
def test_a_caller_cannot_shorten_serves_own_time_limit(
    server: str, hello: bytes, request: pytest.FixtureRequest
) -> None:
    running: Server = request.getfixturevalue(server)
    headers = {**KEY, "X-Request-Timeout-Seconds": "0.001"}
    response = post(f"{running.url}/transcribe", hello, headers=headers)
    assert words_of(response) == "hello world"


@pytest.mark.parametrize("server", ["tiny_en", "guarded"])
@pytest.mark.parametrize("sent", ["a b", "caf\xe9", "y" * 129])
def test_an_unsafe_request_id_is_replaced(
    server: str, sent: str, request: pytest.FixtureRequest
) -> None:
    running: Server = request.getfixturevalue(server)
    headers = httpx.Headers({**KEY, "X-Request-ID": sent}, encoding="latin-1")
    response = httpx.get(f"{running.url}/nothing-here", headers=headers)
    assert error_of(response)["request_id"] != sent


def test_a_session_id_that_is_no_text_breaks_nothing(tiny_en: Server) -> None:
    headers = httpx.Headers({"X-Session-ID": "caf\xe9"}, encoding="latin-1")
    assert httpx.get(tiny_en.url, headers=headers).status_code == 200


@pytest.mark.parametrize("path", ["/v1/audio/nothing-here", "/v1/models", "/openai/v1/models"])
def test_openais_paths_have_openais_errors(guarded: Server, path: str) -> None:
    unknown = httpx.post(guarded.url + path, headers=KEY)
    assert unknown.status_code in (404, 405)
    assert set(unknown.json()["error"]) == {"message", "type", "param", "code"}
    refused = httpx.post(guarded.url + path)
    assert (refused.status_code, refused.json()["error"]["code"]) == (401, "invalid_api_key")

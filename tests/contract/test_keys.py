"""Keys of a real server: what they open, their quotas, and a changed keys file."""

import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from loadtest.server import Server
from tests.conditions import eventually
from tests.contract.conftest import (
    API_KEY,
    API_KEY_HEADER,
    HASHED_KEY,
    ONE_AT_A_TIME_KEY,
    TWO_WINDOWS_KEY,
)
from tests.contract.test_bad_requests import error_of
from tests.contract.wire import post, words_of

DOCS = ("/docs", "/openapi.json", "/static-offline-docs/swagger-ui.css")
HANDSHAKE = {
    "Connection": "Upgrade",
    "Upgrade": "websocket",
    "Sec-WebSocket-Version": "13",
    "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
}


def status_with(server: Server, key: str) -> int:
    return httpx.get(f"{server.url}/docs", headers={API_KEY_HEADER: key}).status_code


@pytest.mark.parametrize(
    "headers",
    [
        {API_KEY_HEADER: HASHED_KEY},
        {"Authorization": f"Token {HASHED_KEY}"},
        {"api-key": ONE_AT_A_TIME_KEY},
    ],
)
def test_a_key_of_the_file_opens(guarded: Server, hello: bytes, headers: dict[str, str]) -> None:
    response = post(f"{guarded.url}/transcribe", hello, headers=headers)
    assert words_of(response) == "hello world"


@pytest.mark.parametrize("path", [*DOCS, "/no/such/path"])
def test_documentation_and_unknown_paths_are_closed(guarded: Server, path: str) -> None:
    refused = httpx.get(guarded.url + path)
    assert (refused.status_code, error_of(refused)["code"]) == (401, "unauthorized")
    assert refused.headers["WWW-Authenticate"] == "Bearer"
    opened = httpx.get(guarded.url + path, headers={API_KEY_HEADER: API_KEY})
    assert opened.status_code == (200 if path in DOCS else 404)


def test_the_handshake_of_a_websocket_without_a_key_is_refused(guarded: Server) -> None:
    refused = httpx.get(f"{guarded.url}/transcribe", headers=HANDSHAKE)
    assert (refused.status_code, error_of(refused)["code"]) == (401, "unauthorized")


@contextmanager
def unfinished_upload(server: Server, key: str) -> Iterator[None]:
    """A request whose body has begun and does not go on."""
    url = httpx.URL(server.url)
    head = (
        f"POST /transcribe HTTP/1.1\r\nHost: {url.host}\r\nContent-Length: 1000\r\n"
        f"Content-Type: multipart/form-data; boundary=x\r\n{API_KEY_HEADER}: {key}\r\n\r\n--x\r\n"
    )
    with socket.create_connection((url.host, url.port or 80)) as connection:
        connection.sendall(head.encode())
        yield


def test_a_key_for_one_request_at_a_time_has_429_until_that_is_over(guarded: Server) -> None:
    def status() -> int:
        return status_with(guarded, ONE_AT_A_TIME_KEY)

    with unfinished_upload(guarded, ONE_AT_A_TIME_KEY):
        assert eventually(lambda: status() == 429)
        assert status_with(guarded, API_KEY) == 200
        refused = httpx.get(f"{guarded.url}/docs", headers={API_KEY_HEADER: ONE_AT_A_TIME_KEY})
        assert (error_of(refused)["code"], refused.headers["Retry-After"]) == (
            "quota_exceeded",
            "1",
        )
    assert eventually(lambda: status() == 200)


def test_windows_over_the_quota_of_a_key_are_told_when_to_come_back(
    guarded: Server, hello: bytes
) -> None:
    headers = {API_KEY_HEADER: TWO_WINDOWS_KEY}
    url = f"{guarded.url}/transcribe"
    answers = [post(url, hello, headers=headers) for _ in range(6)]
    refused = next(answer for answer in answers if answer.status_code != 200)
    assert (refused.status_code, error_of(refused)["code"]) == (429, "quota_exceeded")
    assert 1 <= int(refused.headers["Retry-After"]) <= 30  # a window of 8 s at 16 s per minute


def test_a_changed_keys_file_holds_without_a_restart(guarded: Server, keys_file: Path) -> None:
    before = keys_file.read_text()
    try:
        keys_file.write_text(before + "newcomer fresh-key\n")
        assert eventually(lambda: status_with(guarded, "fresh-key") == 200)
        keys_file.write_text(before + "newcomer other-key\n")
        assert eventually(lambda: status_with(guarded, "other-key") == 200)
        assert status_with(guarded, "fresh-key") == 401
    finally:
        keys_file.write_text(before)


def test_a_keys_file_that_breaks_leaves_its_keys_and_is_logged_without_them(
    guarded: Server, keys_file: Path
) -> None:
    before = keys_file.read_text()
    try:
        keys_file.write_text("# broken\nsome-secret\n")
        assert eventually(
            lambda: status_with(guarded, HASHED_KEY) == 200 and "line 2:" in guarded.log.read_text()
        )
        assert "some-secret" not in guarded.log.read_text()
    finally:
        keys_file.write_text(before)

"""Ray's Python proxy, for machines without HAProxy: it serves, and its errors have our form."""

import socket
from collections.abc import Iterator

import httpx
import pytest

from loadtest.server import Server, proxy_environment, start_server
from tests.contract.test_bad_requests import error_of
from tests.contract.test_limits import outcome, upload
from tests.contract.test_stream import plain, session
from tests.contract.wire import post, words_of
from tests.resilience.processes import family, title

pytestmark = pytest.mark.long


@pytest.fixture(scope="module")
def python_server() -> Iterator[Server]:
    with start_server("tiny.en", environment=proxy_environment("python")) as running:
        yield running


def test_it_serves_without_haproxy(python_server: Server, hello: bytes) -> None:
    assert words_of(post(f"{python_server.url}/transcribe", hello)) == "hello world"
    titles = [title(process) for process in family(python_server.process.pid)]
    assert not any("haproxy" in words for words in titles)


def test_people_can_speak_to_it(python_server: Server, hello: bytes) -> None:
    with session(python_server, "partials=false") as client:
        client.speak(hello[44:] + bytes(2 * 16_000))
        assert plain(client.next("final")) == "hello world"
        assert client.finish()[-1]["type"] == "done"


def test_its_errors_are_ours(python_server: Server) -> None:
    response = httpx.get(f"{python_server.url}/nothing", headers={"X-Request-ID": "call-17"})
    error = error_of(response)
    assert (response.status_code, error["code"]) == (404, "not_found")
    assert error["request_id"] == "call-17"


@pytest.mark.parametrize(
    "start", [b"X-Filler: ", b"Transfer-Encoding: chunked\r\n\r\n0\r\nX-Trailer: "]
)
def test_a_head_and_trailers_without_an_end_are_refused(
    python_server: Server, start: bytes
) -> None:
    url = httpx.URL(python_server.url)
    with socket.create_connection((url.host, url.port or 80), timeout=60) as connection:
        connection.sendall(b"POST /transcribe HTTP/1.1\r\nHost: x\r\n" + start)
        with pytest.raises(ConnectionError):
            for _ in range(1_000):
                connection.sendall(b"y" * 65_536)


def test_who_asks_before_sending_too_large_a_body_is_refused_without_it(
    python_server: Server,
) -> None:
    too_large = {"Expect": "100-continue", "Content_Length": f"{2**40}"}
    with upload(python_server, **too_large) as connection:
        assert outcome(connection) == (413, "body_too_large")

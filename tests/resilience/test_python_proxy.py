"""Ray's Python proxy, for machines without HAProxy: it serves, and its errors have our form."""

from collections.abc import Iterator

import httpx
import pytest

from loadtest.server import Server, proxy_environment, start_server
from tests.contract.test_bad_requests import error_of
from tests.contract.wire import post, words_of
from tests.resilience.processes import family, title


@pytest.fixture(scope="module")
def python_server() -> Iterator[Server]:
    with start_server("tiny.en", environment=proxy_environment("python")) as running:
        yield running


def test_it_serves_without_haproxy(python_server: Server, hello: bytes) -> None:
    assert words_of(post(f"{python_server.url}/transcribe", hello)) == "hello world"
    titles = [title(process) for process in family(python_server.process.pid)]
    assert not any("haproxy" in words for words in titles)


def test_its_errors_are_ours(python_server: Server) -> None:
    response = httpx.get(f"{python_server.url}/nothing", headers={"X-Request-ID": "call-17"})
    error = error_of(response)
    assert (response.status_code, error["code"]) == (404, "not_found")
    assert error["request_id"] == "call-17"

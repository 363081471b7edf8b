"""A real server under overload: refused requests learn when to come back, and none hangs."""

import http.client
import json
import select
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from typing import Any

import httpx
import pytest
import yaml

from loadtest.server import Server, start_server
from serve_app.api.call import PRIORITY_HEADER
from serve_app.serving.profile import profile_path
from tests.conditions import eventually
from tests.contract.wire import post, words_of
from tests.resilience.conftest import hellos

BULK = {PRIORITY_HEADER: "bulk"}
BURST = 40


@pytest.fixture(scope="module")
def crowded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server that queues short requests for half a second and bulk ones for two seconds."""
    profile: dict[str, Any] = yaml.safe_load(profile_path("dev").read_text())
    profile["applications"][0]["args"] = {
        "admission": {"max_wait_seconds": 0.5, "bulk_max_wait_seconds": 2.0}
    }
    path = tmp_path_factory.mktemp("profile") / "crowded.yaml"
    path.write_text(yaml.safe_dump(profile))
    with start_server("tiny.en", ["--config", str(path)]) as server:
        yield server


@pytest.fixture(scope="module")
def bulk_file(crowded: Server, hello: bytes) -> Iterator[None]:
    """The server works on a bulk file of 20 minutes, which ends with the tests."""
    options = {"generate_kwargs": json.dumps({"vad_filter": False, "batch_size": 1})}
    file = httpx.Request(
        "POST", f"{crowded.url}/transcribe", files={"file": hellos(1200)}, data=options
    )
    connection = http.client.HTTPConnection(file.url.host, file.url.port or 80)

    def is_in_work() -> bool:
        """Sends the file again if a probe was faster, because then it is refused."""
        if connection.sock is None or select.select([connection.sock], [], [], 0)[0]:
            connection.close()
            try:
                connection.request("POST", file.url.path, file.read(), {**file.headers, **BULK})
            except OSError:  # it was refused before its body was sent
                connection.close()
                return False
        return post(url_of(crowded), hello, headers=BULK).status_code == 429

    with closing(connection):
        eventually(is_in_work)
        yield
    eventually(lambda: post(url_of(crowded), hello, headers=BULK).status_code == 200)


def url_of(server: Server) -> str:
    return f"{server.url}/transcribe"


def assert_overloaded(status: int, headers: Any, body: bytes) -> None:
    assert (status, json.loads(body)["error"]["code"]) == (429, "overloaded")
    assert int(headers["Retry-After"]) >= 1


def test_a_burst_is_answered_or_refused_and_nothing_else(crowded: Server) -> None:
    speech = hellos(15)
    with ThreadPoolExecutor(BURST) as threads:
        answers = list(threads.map(lambda _: post(url_of(crowded), speech), range(BURST)))
    assert {answer.status_code for answer in answers} == {200, 429}
    for answer in answers:
        if answer.status_code == 429:
            assert_overloaded(answer.status_code, answer.headers, answer.content)
    eventually(lambda: post(url_of(crowded), speech).status_code == 200)
    assert [post(url_of(crowded), speech).status_code for _ in range(3)] == [200] * 3


def test_dictation_is_taken_during_a_backlog_of_bulk(
    crowded: Server, bulk_file: None, hello: bytes
) -> None:
    assert words_of(post(url_of(crowded), hello)) == "hello world"
    refused = post(url_of(crowded), hello, headers=BULK)
    assert_overloaded(refused.status_code, refused.headers, refused.content)


def test_what_would_be_refused_is_refused_before_its_body_comes(
    crowded: Server, bulk_file: None
) -> None:
    status, headers, body = eventually(lambda: answer_to_a_head(crowded))
    assert_overloaded(status, headers, body)


def answer_to_a_head(server: Server) -> tuple[int, Any, bytes] | None:
    """The answer that comes before any body; None if none does, because Ingress asks the replicas
    only once a second.
    """
    url = httpx.URL(server.url)
    with closing(http.client.HTTPConnection(url.host, url.port or 80, timeout=5)) as connection:
        connection.putrequest("POST", "/transcribe")
        for name, value in {
            **BULK,
            "Content-Length": "100000000",
            "Content-Type": "multipart/form-data; boundary=x",
        }.items():
            connection.putheader(name, value)
        connection.endheaders()
        try:
            answer = connection.getresponse()
        except TimeoutError:
            return None
        return answer.status, answer.headers, answer.read()

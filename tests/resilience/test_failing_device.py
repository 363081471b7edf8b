"""A device breaks: its replica is replaced, and its requests are still answered."""

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from loadtest.server import Server, run_server
from tests.contract.wire import post, words_of
from tests.resilience.processes import READY, end

pytestmark = pytest.mark.long


@pytest.fixture(scope="module")
def faults() -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as folder:
        yield Path(folder)


@pytest.fixture(scope="module")
def failing(faults: Path) -> Iterator[Server]:
    with run_server("tests.resilience.failing_device", ["--faults", str(faults)]) as running:
        try:
            yield running
        finally:
            end(running.process.pid)


def n_started(server: Server) -> int:
    return server.log.read_text().count(READY)


def test_a_request_on_a_device_that_stalls_is_answered_by_the_next_replica(
    failing: Server, faults: Path, hello: bytes
) -> None:
    lives = n_started(failing)
    (faults / "stall").touch()
    answer = post(f"{failing.url}/transcribe", hello)
    assert (answer.status_code, words_of(answer)) == (200, "hello world")
    assert "a batch has run for" in failing.log.read_text()
    assert n_started(failing) == lives + 1


def test_a_broken_device_costs_as_many_requests_as_it_takes_to_notice(
    failing: Server, faults: Path, hello: bytes
) -> None:
    lives = n_started(failing)
    (faults / "error").touch()
    answers = [post(f"{failing.url}/transcribe", hello) for _ in range(4)]
    assert [answer.status_code for answer in answers] == [503, 503, 200, 200]
    assert answers[0].json()["error"]["code"] == "device_failed"
    assert int(answers[0].headers["Retry-After"]) > 0
    assert words_of(answers[2]) == "hello world"
    assert "failed 3 batches in a row" in failing.log.read_text()
    assert n_started(failing) == lives + 1

"""A process of the server dies: what happens to its requests, and that it comes back."""

from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor

import httpx
import psutil
import pytest

from loadtest.server import Server
from tests.conditions import eventually
from tests.contract.test_stream import plain, session
from tests.contract.wire import post, words_of
from tests.resilience.conftest import TRANSCRIBER, hellos
from tests.resilience.processes import READY, RETRIED, cpu_seconds, family, replica, title
from tests.resilience.test_client_leaves import send_without_waiting

WORK_CPU_SECONDS = 0.5
"""CPU seconds that only requests cost a replica: its probes need a hundredth of this per second."""


@pytest.fixture(scope="module")
def threads() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(4) as pool:
        yield pool


def process_of(server: Server, deployment: str) -> psutil.Process:
    return eventually(lambda: replica(server.process.pid, deployment))


def is_ready(server: Server) -> bool:
    try:
        return httpx.get(f"{server.url}/readyz", timeout=10).status_code == 200
    except httpx.TransportError:
        return False


def n_started(server: Server) -> int:
    """How often a Transcriber has become ready."""
    return server.log.read_text().count(READY)


def n_retried(server: Server) -> int:
    """How often a request was tried once more."""
    return server.log.read_text().count(RETRIED)


def kill_at_work(server: Server, transcription: "Future[httpx.Response]") -> None:
    transcriber = process_of(server, TRANSCRIBER)
    before = cpu_seconds(transcriber)
    eventually(lambda: cpu_seconds(transcriber) > before + WORK_CPU_SECONDS)
    assert not transcription.done()
    transcriber.kill()
    transcriber.wait(10)


def assert_not_ready(response: httpx.Response) -> None:
    error = response.json()["error"]
    assert (response.status_code, error["code"]) == (503, "not_ready")
    assert set(error) == {"code", "message", "field", "request_id"}
    assert "Traceback" not in response.text
    assert int(response.headers["Retry-After"]) > 0


def test_no_final_text_of_a_live_session_is_lost_when_the_model_process_dies(
    server: Server, hello: bytes
) -> None:
    utterance = hello[44:] + bytes(2 * 16_000)
    with session(server, "partials=false") as client:
        client.speak(utterance)
        client.next("final")
        process_of(server, TRANSCRIBER).kill()
        client.speak(2 * utterance)
        finals = [event for event in client.finish() if event["type"] == "final"]
    assert [plain(final) for final in finals] == ["hello world"] * 2
    eventually(lambda: is_ready(server))


def test_every_request_is_answered_when_the_process_of_one_model_dies(
    server: Server, threads: ThreadPoolExecutor, hello: bytes
) -> None:
    url, speech = f"{server.url}/transcribe", hellos(60)
    running = [threads.submit(post, url, speech) for _ in range(4)]
    retried = n_retried(server)
    kill_at_work(server, running[0])
    eventually(lambda: not is_ready(server))  # what it says may be a second old
    assert_not_ready(httpx.get(f"{server.url}/readyz", timeout=10))
    assert httpx.get(f"{server.url}/health").status_code == 200
    assert words_of(post(url, hello, {"model": "base"})) == "hello world"
    answers = [request.result() for request in running]
    for answer in answers:
        if answer.status_code != 200:
            assert_not_ready(answer)
    assert 200 in [answer.status_code for answer in answers]
    assert 0 < n_retried(server) - retried <= len(running)
    eventually(lambda: is_ready(server))
    assert words_of(post(url, hello)) == "hello world"


@pytest.mark.long
def test_a_request_under_which_the_model_process_dies_twice_is_refused(
    server: Server, threads: ThreadPoolExecutor
) -> None:
    eventually(lambda: is_ready(server))
    lives = n_started(server)
    request = threads.submit(post, f"{server.url}/transcribe", hellos(600), {"batch_size": 1})
    kill_at_work(server, request)
    eventually(lambda: n_started(server) > lives)
    kill_at_work(server, request)
    assert_not_ready(request.result())
    assert "died twice" in request.result().text


@pytest.mark.long
def test_a_long_request_is_not_sent_to_a_second_model_process(
    server: Server, threads: ThreadPoolExecutor
) -> None:
    eventually(lambda: is_ready(server))
    retried = n_retried(server)
    request = threads.submit(post, f"{server.url}/transcribe", hellos(1000))
    kill_at_work(server, request)
    assert_not_ready(request.result())
    assert "split it into shorter files" in request.result().text
    assert n_retried(server) == retried


@pytest.mark.long
def test_a_request_whose_client_has_left_is_not_tried_again(server: Server) -> None:
    eventually(lambda: is_ready(server))
    transcriber = process_of(server, TRANSCRIBER)
    before, logged, retried = cpu_seconds(transcriber), n_logged(server), n_retried(server)
    connection = send_without_waiting(server, hellos(600))
    eventually(lambda: cpu_seconds(transcriber) > before + WORK_CPU_SECONDS)
    transcriber.suspend()  # so that it does not learn of the client's leaving
    connection.close()
    eventually(lambda: n_logged(server) > logged)
    transcriber.kill()
    eventually(lambda: is_ready(server))
    assert n_retried(server) == retried


def n_logged(server: Server) -> int:
    """Requests that have ended, answered or not."""
    return server.log.read_text().count("POST /transcribe")


def test_the_http_side_comes_back_by_itself(server: Server, hello: bytes) -> None:
    process_of(server, "Ingress").kill()
    eventually(lambda: is_ready(server))
    assert words_of(post(f"{server.url}/transcribe", hello)) == "hello world"


@pytest.mark.long
def test_a_request_whose_http_replica_dies_is_told_so(
    server: Server, threads: ThreadPoolExecutor
) -> None:
    transcriber = process_of(server, TRANSCRIBER)
    before = cpu_seconds(transcriber)
    headers = {"X-Request-ID": "call-17"}
    request = threads.submit(post, f"{server.url}/transcribe", hellos(600), headers=headers)
    eventually(lambda: cpu_seconds(transcriber) > before + WORK_CPU_SECONDS)
    process_of(server, "Ingress").kill()
    answer = request.result()
    assert_not_ready(answer)
    assert answer.json()["error"]["request_id"] == answer.headers["X-Request-ID"] == "call-17"
    eventually(lambda: is_ready(server))


def test_the_proxy_comes_back_by_itself(server: Server, hello: bytes) -> None:
    eventually(lambda: is_ready(server))
    proxies = [p for p in family(server.process.pid) if "haproxy -" in title(p)]
    assert proxies
    for proxy in proxies:
        proxy.kill()
    eventually(lambda: is_ready(server))
    assert words_of(post(f"{server.url}/transcribe", hello)) == "hello world"

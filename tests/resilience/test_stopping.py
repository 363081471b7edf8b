"""Ctrl-C ends every process of a server, whatever it is doing; SIGTERM lets requests end first.
A server whose Ray has died ends as well.

How Ctrl-C ends a server that is running shows at the end of the fixture ``server``.
"""

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest
import yaml

from loadtest.server import Server, free_port, start_server
from serve_app.serving.profile import profile_path
from tests.conditions import eventually
from tests.contract.wire import post, words_of
from tests.resilience.conftest import hellos
from tests.resilience.processes import (
    STOP_SECONDS,
    assert_gone,
    cpu_seconds,
    ctrl_c,
    end,
    family,
    replica,
    signal_all,
)


def terminate(process: "subprocess.Popen[bytes]") -> None:
    """As Docker and Kubernetes do it, and systemd with ``KillMode=mixed``: to the first process."""
    process.send_signal(signal.SIGTERM)


@contextmanager
def at_work(server: Server) -> Iterator["Future[httpx.Response]"]:
    """A long request that the model is working on."""
    transcriber = eventually(lambda: replica(server.process.pid, "Transcriber"))
    before = cpu_seconds(transcriber)
    with ThreadPoolExecutor(1) as pool:
        # Without fallback, which takes a minute on words that repeat themselves.
        options = {"batch_size": 1, "temperature": 0}
        request = pool.submit(post, f"{server.url}/transcribe", hellos(120), options)
        eventually(lambda: cpu_seconds(transcriber) > before + 0.5)
        assert not request.done()
        yield request


def with_drain(folder: Path, **seconds: float) -> list[str]:
    """Flags for the ``dev`` profile with other times to drain."""
    profile = yaml.safe_load(profile_path("dev").read_text())
    profile["applications"][0]["args"] = {"drain": seconds}
    path = folder / "drain.yaml"
    path.write_text(yaml.safe_dump(profile))
    return ["--config", str(path)]


def test_sigterm_ends_running_requests_and_refuses_new_ones(hello: bytes, tmp_path: Path) -> None:
    flags = with_drain(tmp_path, seconds=600)
    with start_server("tiny.en", flags) as server, at_work(server) as running:
        terminate(server.process)
        eventually(lambda: ready_status(server) == 503)
        refused = post(f"{server.url}/transcribe", hello)
        assert (refused.status_code, refused.json()["error"]["code"]) == (503, "not_ready")
        assert words_of(running.result()).startswith("hello world")
        assert_gone(server)


@pytest.mark.long
def test_sigterm_lets_a_request_end_whose_model_process_has_just_died(tmp_path: Path) -> None:
    flags = with_drain(tmp_path, seconds=600)
    with start_server("tiny.en", flags) as server, at_work(server) as running:
        eventually(lambda: replica(server.process.pid, "Transcriber")).kill()
        eventually(lambda: ready_status(server) == 503)
        terminate(server.process)
        assert words_of(running.result()).startswith("hello world")
        assert_gone(server)


@pytest.mark.long
def test_a_second_signal_does_not_wait_for_running_requests(tmp_path: Path) -> None:
    flags = with_drain(tmp_path, seconds=600)
    with start_server("tiny.en", flags) as server, at_work(server) as running:
        terminate(server.process)
        eventually(lambda: ready_status(server) == 503)
        terminate(server.process)
        assert_gone(server)
        assert isinstance(running.exception(), httpx.TransportError)


@pytest.mark.long
def test_a_leaving_server_serves_until_its_notice_is_over(tmp_path: Path, hello: bytes) -> None:
    with start_server("tiny.en", with_drain(tmp_path, notice_seconds=3600)) as server:
        terminate(server.process)
        eventually(lambda: ready_status(server) == 503)
        assert words_of(post(f"{server.url}/transcribe", hello)) == "hello world"
        terminate(server.process)
        assert_gone(server)


@pytest.mark.parametrize(
    "number", [signal.SIGTERM, pytest.param(signal.SIGHUP, marks=pytest.mark.long)]
)
def test_a_signal_to_every_process_leaves_none_behind(number: int) -> None:
    """systemd sends SIGTERM in this way by default, and a terminal that closes sends SIGHUP."""
    with start_server("tiny.en") as server:
        signal_all(server.process.pid, number)
        assert_gone(server)


@pytest.mark.long
def test_a_sigterm_to_the_first_process_group_leaves_nothing_behind() -> None:
    """timeout(1) sends it in this way. Replicas and HAProxy have groups of their own."""
    with start_server("tiny.en") as server:
        os.killpg(server.process.pid, signal.SIGTERM)
        assert_gone(server)


@pytest.mark.parametrize("name", ["gcs_server", pytest.param("raylet", marks=pytest.mark.long)])
def test_the_server_ends_when_ray_has(name: str) -> None:
    with start_server("tiny.en") as server:
        [process] = [one for one in family(server.process.pid) if one.name() == name]
        process.kill()
        assert server.process.wait(STOP_SECONDS) == 1
        assert family(server.process.pid) == []
        assert f"Ray's {name} process has ended" in server.log.read_text()


def ready_status(server: Server) -> int:
    return httpx.get(f"{server.url}/readyz", timeout=10).status_code


@contextmanager
def starting(folder: Path, *command: str) -> Iterator[Server]:
    """A server that may still be starting; nothing of it outlives the block."""
    port, log = free_port(), folder / "server.log"
    flags = ["--model", "tiny.en", "--port", str(port)]
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, *command, *flags],
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        yield Server(f"http://127.0.0.1:{port}", process, log)
    finally:
        end(process.pid)
        process.wait()


@pytest.fixture
def loading(tmp_path: Path) -> Iterator[Server]:
    """A server whose model process has been halted before it could load the model."""
    with starting(tmp_path, "-m", "serve_app") as server:
        eventually(lambda: replica(server.process.pid, "Transcriber")).suspend()
        yield server


def health(server: Server) -> int:
    try:
        return httpx.get(f"{server.url}/health", timeout=10).status_code
    except httpx.TransportError:
        return 0


@pytest.mark.long
def test_a_loading_server_lives_but_is_not_ready_and_can_be_stopped(loading: Server) -> None:
    eventually(lambda: health(loading) == 200)
    response = httpx.get(f"{loading.url}/readyz", timeout=10)
    assert (response.status_code, response.json()["error"]["code"]) == (503, "not_ready")
    assert "being loaded" in response.json()["error"]["message"]
    ctrl_c(loading.process)
    assert_gone(loading)


@pytest.mark.long
@pytest.mark.parametrize("stop", [ctrl_c, terminate])
def test_a_stop_while_ray_starts_leaves_nothing_behind(
    tmp_path: Path, stop: Callable[["subprocess.Popen[bytes]"], None]
) -> None:
    with starting(tmp_path, "-m", "serve_app") as server:
        eventually(lambda: len(family(server.process.pid)) > 1)
        stop(server.process)
        assert_gone(server)


INTERRUPTED_FORK = """
import os, signal, sys
from serve_app.cli.serve import serve
os.register_at_fork(after_in_parent=lambda: signal.raise_signal(signal.SIGINT))
serve([])
"""


@pytest.mark.long
def test_ctrl_c_that_falls_into_a_fork_is_not_lost(tmp_path: Path) -> None:
    with starting(tmp_path, "-c", INTERRUPTED_FORK) as server:
        assert server.process.wait(60) == 0
        assert "KeyboardInterrupt" in server.log.read_text()  # Python reports what it ignores
        assert_gone(server)

"""A server as a subprocess: ours, or the naive one with which ours is compared."""

import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any

import httpx
import psutil

from serve_app.errors import NotReady

READY_TIMEOUT_SECONDS = 300.0
"""Seconds for Ray to start and the model to load on two busy cores."""
STOP_TIMEOUT_SECONDS = 20.0
POLL_SECONDS = 0.25
LOG_TAIL_CHARACTERS = 4000

PROXIES = ("haproxy", "python")
"""Ray Serve's two proxies. The first one is the default."""


def free_port(host: str = "127.0.0.1") -> int:
    """A TCP port that was free a moment ago."""
    with socket.socket() as probe:
        probe.bind((host, 0))
        port: int = probe.getsockname()[1]
        return port


def proxy_environment(proxy: str) -> dict[str, str]:
    """The environment of a server behind ``proxy``, one of ``PROXIES``."""
    return {"RAY_SERVE_ENABLE_HA_PROXY": "1" if proxy == "haproxy" else "0"}


def transcriber_environment(profile: str) -> dict[str, str]:
    """The environment that a profile adds for its Transcriber's processes."""
    from serve_app.serving.profile import load_profile  # imports Ray, which takes a second

    options = load_profile(profile).deployment_options["Transcriber"]
    actor: dict[str, Any] = options.get("ray_actor_options") or {}
    variables: dict[str, str] = actor.get("runtime_env", {}).get("env_vars", {})
    return variables


@dataclass(frozen=True)
class Server:
    """A running server of ours: its base URL, its process and the file of its log."""

    url: str
    process: subprocess.Popen[bytes]
    log: Path


def processes_of(leader: int) -> Iterator[tuple[str, psutil.Process]]:
    """The command lines and processes of a server, found by the session of its first process."""
    for process in psutil.process_iter():
        with suppress(psutil.Error, ProcessLookupError):
            if os.getsid(process.pid) == leader:
                yield " ".join(process.cmdline()), process


def start_server(
    model: str, flags: Sequence[str] = (), environment: Mapping[str, str] | None = None
) -> AbstractContextManager[Server]:
    """Run our server, ``python -m serve_app``, with ``environment`` added to this process's."""
    return run_server("serve_app", ["--model", model, *flags], environment)


@contextmanager
def server_at(url: str | None, model: str) -> Iterator[str]:
    """``url``, or the URL of a server of ``model`` that runs during the block."""
    if url:
        yield url
        return
    with start_server(model) as server:
        yield server.url


@contextmanager
def naive_server(model: str) -> Iterator[str]:
    """The URL of :mod:`loadtest.baselines.naive_server`, which runs during the block."""
    with run_server("loadtest.baselines.naive_server", ["--model", model]) as server:
        yield server.url


@contextmanager
def run_server(
    module: str, flags: Sequence[str], environment: Mapping[str, str] | None = None
) -> Iterator[Server]:
    """Run ``python -m MODULE --port FREE`` and yield it once it is ready.

    Ready means ``GET /readyz`` answers 200. Raises ``NotReady`` with the end of the server's log
    when it exits or takes longer than ``READY_TIMEOUT_SECONDS``. Leaving the block interrupts the
    server as Ctrl-C would, and kills its process group if that takes too long.
    """
    port = free_port()
    command = [sys.executable, "-m", module, "--port", str(port), *flags]
    with tempfile.NamedTemporaryFile(prefix="whisper-ox-", suffix=".log") as log:
        process = subprocess.Popen(
            command,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            env={**os.environ, **(environment or {})},
        )
        server = Server(f"http://127.0.0.1:{port}", process, Path(log.name))
        try:
            with sigterm_as_exit():
                _wait_until_ready(server)
                yield server
        finally:
            _stop(process)


@contextmanager
def sigterm_as_exit() -> Iterator[None]:
    """In this block, SIGTERM raises ``SystemExit`` with the shell's status for it, in the main
    thread.

    Otherwise a tool that is terminated would leave its server behind, which slows every later
    measurement.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def leave(number: int, frame: FrameType | None) -> None:
        raise SystemExit(128 + number)

    before = signal.signal(signal.SIGTERM, leave)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _wait_until_ready(server: Server) -> None:
    deadline = time.monotonic() + READY_TIMEOUT_SECONDS
    with httpx.Client(timeout=5.0) as client:
        while time.monotonic() < deadline:
            status = server.process.poll()
            if status is not None:
                raise NotReady(f"the server exited with {status}:\n{_tail(server.log)}")
            try:
                if client.get(f"{server.url}/readyz").status_code == 200:
                    return
            except httpx.TransportError:
                pass  # not listening yet
            time.sleep(POLL_SECONDS)
    raise NotReady(
        f"the server is not ready after {READY_TIMEOUT_SECONDS:.0f} s:\n{_tail(server.log)}"
    )


def _stop(process: subprocess.Popen[bytes]) -> None:
    if process.poll() is None:
        process.send_signal(signal.SIGINT)
        try:
            process.wait(STOP_TIMEOUT_SECONDS)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def _tail(log: Path) -> str:
    return log.read_text(encoding="utf-8", errors="replace")[-LOG_TAIL_CHARACTERS:]

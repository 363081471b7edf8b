"""A start that cannot succeed: one clear line on stderr, no traceback, no process left."""

import json
import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

from loadtest.server import Server, free_port
from models import resolve
from tests.resilience.processes import end, family

START_SECONDS = 120.0


@dataclass(frozen=True)
class Outcome:
    """How a start ended: everything that it printed."""

    status: int
    stdout: str
    stderr: str


def start(*flags: str, environment: Mapping[str, str] | None = None) -> Outcome:
    process = subprocess.Popen(
        [sys.executable, "-m", "serve_app", *flags],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
        env={**os.environ, **(environment or {})},
        text=True,
    )
    try:
        stdout, stderr = process.communicate(timeout=START_SECONDS)
        assert family(process.pid) == []
    finally:
        end(process.pid)
    assert "Traceback" not in stdout + stderr
    return Outcome(process.returncode, stdout, stderr)


def assert_refused(outcome: Outcome, *parts: str) -> None:
    """One line, before anything was started."""
    assert (outcome.status, outcome.stdout, outcome.stderr.count("\n")) == (1, "", 1)
    assert outcome.stderr.startswith("whisper-ox: ")
    assert all(part in outcome.stderr for part in parts)


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (["--model", "no-such-model"], ["no-such-model", "tiny.en, base"]),
        (["--config", "no-such-profile"], ["there is no profile", "no-such-profile.yaml"]),
        pytest.param(
            ["--host", "no-such-host.invalid"],
            ["cannot listen on no-such-host.invalid"],
            marks=pytest.mark.long,
        ),
    ],
)
def test_a_wrong_name_is_refused(flags: Sequence[str], said: Sequence[str]) -> None:
    assert_refused(start("--port", str(free_port()), *flags), *said)


def test_the_gpu_image_refuses_to_run_without_a_gpu() -> None:
    image = Path(__file__).parents[2] / "Dockerfile.gpu"
    _, _, command = image.read_text().rpartition("CMD ")
    python, dash_m, module, *flags = json.loads(command)
    assert (python, dash_m, module) == ("python", "-m", "serve_app")
    hidden = {"CUDA_VISIBLE_DEVICES": ""}
    outcome = start(*flags, "--port", str(free_port()), environment=hidden)
    assert_refused(outcome, "engine.device is cuda", "nvidia-smi", "--gpus all")


@pytest.mark.parametrize("port", ["0", "65536", "http"])
def test_what_is_not_a_port_is_refused(port: str) -> None:
    outcome = start("--port", port)
    assert outcome.status == 2
    assert "Invalid value for '--port'" in outcome.stderr


@pytest.mark.long
def test_a_wrong_key_in_a_profile_is_named(tmp_path: Path) -> None:
    profile = tmp_path / "mine.yaml"
    profile.write_text(
        "applications:\n- name: whisper-ox\n"
        "  import_path: serve_app.serving.deployments:build_app\n"
        "  args: {engine: {worker: 2}}\n"
    )
    assert_refused(start("--config", str(profile)), "mine.yaml", "args: engine.worker")


@pytest.mark.long
def test_a_log_level_that_is_none_is_refused_with_those_that_are() -> None:
    outcome = start("--port", str(free_port()), environment={"LOG_LEVEL": "verbose"})
    assert_refused(outcome, "LOG_LEVEL is 'verbose'", "debug, info, warning, error")


def test_a_keys_file_that_is_wrong_is_refused_with_its_line(tmp_path: Path) -> None:
    keys = tmp_path / "keys"
    keys.write_text("alice sesame\nsome-secret\n")
    outcome = start("--port", str(free_port()), environment={"WHISPER_API_KEYS_FILE": str(keys)})
    assert_refused(outcome, f"{keys} (WHISPER_API_KEYS_FILE), line 2: expected a name")
    assert "some-secret" not in outcome.stderr


@pytest.mark.long
def test_a_directory_without_a_model_is_refused(tmp_path: Path) -> None:
    assert_refused(start("--model", str(tmp_path), "--port", str(free_port())), "model.bin")


def test_a_busy_port_is_refused() -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        port = str(listener.getsockname()[1])
        assert_refused(start("--model", "tiny.en", "--port", port), f"port {port}", "in use")


@pytest.mark.long
@pytest.mark.parametrize(
    "variable", ["RAY_SERVE_HAPROXY_METRICS_PORT", "RAY_SERVE_FALLBACK_PROXY_HTTP_PORT"]
)
def test_a_busy_port_that_the_operator_chose_for_haproxy_is_named(variable: str) -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        port = str(listener.getsockname()[1])
        flags = ["--model", "tiny.en", "--port", str(free_port())]
        outcome = start(*flags, environment={variable: port})
    assert_refused(outcome, f"port {port}", "in use", variable)


def test_a_second_server_does_not_share_the_first_ones_port(server: Server) -> None:
    port = str(httpx.URL(server.url).port)
    assert_refused(start("--model", "tiny.en", "--port", port), f"port {port}", "in use")


@pytest.mark.long
def test_damaged_weights_are_named_once_serve_gives_up(tmp_path: Path) -> None:
    damaged = tmp_path / "damaged"
    shutil.copytree(
        resolve("tiny.en").path, damaged, ignore=shutil.ignore_patterns("manifest.json")
    )
    weights = (damaged / "model.bin").read_bytes()
    (damaged / "model.bin").write_bytes(weights[: len(weights) // 2])
    once = {"RAY_SERVE_MAX_PER_REPLICA_RETRY_COUNT": "1"}
    outcome = start("--model", str(damaged), "--port", str(free_port()), environment=once)
    assert outcome.status == 1
    reason = outcome.stderr.splitlines()[-1]
    assert reason.startswith("whisper-ox: ")
    assert f"the model {damaged} cannot be loaded" in reason

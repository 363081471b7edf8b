"""``whisper-ox check``: real faults of a machine, and figures of machines that nobody has here."""

import os
import shlex
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from loadtest.server import free_port
from models import resolve
from serve_app import cgroup
from serve_app.serving.machine import Grade, clock, cores, memory, reserved_cores, threads
from serve_app.serving.profile import load_profile
from serve_app.settings import ModelSettings

COMMAND = [sys.executable, "-c", "from serve_app.cli.main import main; main()", "check"]
LIMIT_BYTES = 900 * 1024 * 1024
DAY = 86_400.0


def can_mount() -> bool:
    probe = ["unshare", "--mount", "mount", "-t", "tmpfs", "tmpfs", "/mnt"]
    return subprocess.run(probe, capture_output=True, check=False).returncode == 0


@pytest.fixture
def small_cgroup() -> Iterator[Path | None]:
    """A control group with little memory, where this process may make one."""
    roots = (cgroup.ROOT / "memory", cgroup.ROOT)  # v1, v2
    root = next((one for one in roots if (one / "cgroup.procs").exists()), cgroup.ROOT)
    group = root / f"whisper-ox-{os.getpid()}"
    try:
        group.mkdir()
        name = "memory.max" if root == cgroup.ROOT else "memory.limit_in_bytes"
        (group / name).write_text(str(LIMIT_BYTES))
    except OSError:
        yield None
        return
    yield group
    group.rmdir()


@pytest.fixture
def cut_model(tmp_path: Path) -> Path:
    """An installed model of which half the weights are missing."""
    installed, copy = resolve("tiny.en", allow_download=False).path, tmp_path / "model"
    copy.mkdir()
    for file in installed.iterdir():
        if file.name != "model.bin":
            shutil.copy(file, copy)
    weights = (installed / "model.bin").read_bytes()
    (copy / "model.bin").write_bytes(weights[: len(weights) // 2])
    return copy


@pytest.mark.skipif(not can_mount(), reason="mounting a small file system needs root")
def test_each_fault_of_a_machine_is_found_at_once(
    tmp_path: Path, cut_model: Path, small_cgroup: Path | None
) -> None:
    (tmp_path / "keys").write_text("alice sesame\nsome-secret\n")
    (tmp_path / "full").mkdir()
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        port = str(listener.getsockname()[1])
        options = ["--config", "gpu-t4", "--host", "127.0.0.1", "--port", port]
        faults = [
            f"echo $$ > {small_cgroup}/cgroup.procs" if small_cgroup else "true",
            "mount -t tmpfs -o size=16m tmpfs /dev/shm",
            f"mount -t tmpfs -o size=1m tmpfs {tmp_path}/full",
            "ulimit -n 4096",
            f"exec taskset -c 0 {shlex.join([*COMMAND, *options, '--model', str(cut_model)])}",
        ]
        done = subprocess.run(
            ["unshare", "--mount", "bash", "-c", " && ".join(faults)],
            env=os.environ
            | {
                "WHISPER_API_KEYS_FILE": f"{tmp_path}/keys",
                "RAY_TMPDIR": f"{tmp_path}/full",
                "CUDA_VISIBLE_DEVICES": "",
            },
            capture_output=True,
            check=False,
            text=True,
            timeout=120,
        )
    assert (done.returncode, done.stderr) == (1, "")
    errors = dict(
        line.removeprefix("error").strip().split(": ", 1)
        for line in done.stdout.splitlines()
        if line.startswith("error")
    )
    told = {
        "port": f"port {port} on 127.0.0.1 is in use",
        "shared memory": "--shm-size=1g",
        "model": "model.bin has",
        "device": "nvidia-smi",
        "cores": "reserves 1.1 cores and this process may use 1",
        "API keys": "line 2",
        "temporary files": "RAY_TMPDIR",
        "open files": "--ulimit nofile=65536",
        **({"memory": "900 MiB may be used"} if small_cgroup else {}),
    }
    assert {subject: told[subject] in text for subject, text in errors.items()} == dict.fromkeys(
        told, True
    )
    assert "some-secret" not in done.stdout


def test_a_sound_machine_passes() -> None:
    done = subprocess.run(
        [*COMMAND, "--model", "tiny.en", "--port", str(free_port())],
        capture_output=True,
        check=False,
        text=True,
        timeout=120,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert "0 errors" in done.stdout


def test_one_core_is_a_warning_and_fewer_than_reserved_an_error() -> None:
    assert cores(2, 0.0).grade is Grade.OK
    assert cores(1, 0.0).grade is Grade.WARNING
    assert cores(1, 1.1).grade is Grade.ERROR


@pytest.mark.parametrize(("profile", "reserved"), [("dev", 0.0), ("gpu-t4", 1.1)])
def test_ray_reserves_what_the_profile_says(profile: str, reserved: float) -> None:
    assert reserved_cores(load_profile(profile).deployment_options) == pytest.approx(reserved)


def test_memory_is_for_the_server_and_its_models() -> None:
    def graded(limit_mib: int, *names: str) -> Grade:
        models = {name: ModelSettings(model=name, device="cpu") for name in names}
        return memory(limit_mib * 2**20, models, dict.fromkeys(names, 1), 2).grade

    assert graded(8000, "base") is Grade.OK
    assert graded(1800, "base") is Grade.WARNING
    assert graded(1800, "base", "tiny.en") is Grade.ERROR
    assert graded(900, "base") is Grade.ERROR


def test_a_low_limit_of_threads_is_an_error() -> None:
    assert threads(None).grade is threads(4096).grade is Grade.OK
    assert threads(100).grade is Grade.ERROR


def test_a_clock_before_the_installation_is_a_warning() -> None:
    assert clock(20 * DAY, 19 * DAY).grade is Grade.OK
    assert clock(0.0, 19 * DAY).grade is Grade.WARNING


def test_the_limits_of_a_container_are_read(tmp_path: Path) -> None:
    (tmp_path / "memory.max").write_text("1000000\n")
    (tmp_path / "pids.max").write_text("max\n")
    assert (cgroup.memory_bytes(tmp_path), cgroup.max_processes(tmp_path)) == (1_000_000, None)
    old = tmp_path / "v1"
    (old / "memory").mkdir(parents=True)
    (old / "memory" / "memory.limit_in_bytes").write_text("2000000\n")
    assert cgroup.memory_bytes(old) == 2_000_000

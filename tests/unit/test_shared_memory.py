"""Audio between processes stays in memory."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from serve_app.errors import NotReady
from serve_app.shared_memory import ENVIRONMENT, require_shared_memory

REPORT = """
import os, resource
from serve_app.shared_memory import keep_audio_off_disk
keep_audio_off_disk()
print(os.environ["RAY_automatic_object_spilling_enabled"])
print(os.environ["RAY_object_spilling_directory"])
print(*resource.getrlimit(resource.RLIMIT_CORE))
"""


def reported(**environment: str) -> list[str]:
    """Spilling, its directory, soft and hard limit of core files."""
    kept = {name: value for name, value in os.environ.items() if name not in ENVIRONMENT}
    answer = subprocess.run(
        [sys.executable, "-c", REPORT], capture_output=True, check=True, env={**kept, **environment}
    )
    return answer.stdout.decode().split()


def test_ray_spills_nothing_and_a_crash_leaves_no_core() -> None:
    assert reported()[:3] == ["0", "/dev/shm", "0"]


def test_an_operator_may_choose_another_directory() -> None:
    assert reported(RAY_object_spilling_directory="/run/memory")[1] == "/run/memory"


def test_too_little_shared_memory_is_refused_with_what_to_do(tmp_path: Path) -> None:
    free = shutil.disk_usage(tmp_path).free
    require_shared_memory(free // 2, tmp_path)
    with pytest.raises(NotReady, match="--shm-size"):
        require_shared_memory(free + 2**40, tmp_path)


def test_where_there_is_no_such_place_nothing_is_refused(tmp_path: Path) -> None:
    require_shared_memory(2**60, tmp_path / "absent")

"""A server without a network works, and the audio that it receives stays in memory."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from typing import Any

import pytest

DISK_BYTES = 8 * 1024 * 1024
"""For logs and Ray's own files while 278 MB of audio come in."""


def namespace() -> Sequence[str]:
    """The command that runs another in a network namespace of its own; skips where none may."""
    unshare = shutil.which("unshare")
    if unshare is None:
        pytest.skip("util-linux's unshare is not here")
    rights = [] if os.geteuid() == 0 else ["--map-root-user"]
    command = [unshare, "--net", *rights]
    if subprocess.run([*command, "true"], capture_output=True, check=False).returncode:
        pytest.skip("this machine allows no network namespaces")
    return command


@pytest.fixture(scope="module")
def observed() -> dict[str, Any]:
    """What a server did without a network; see :func:`tests.resilience.sealed_off.main`."""
    command = [*namespace(), sys.executable, "-m", "tests.resilience.sealed_off"]
    answer = subprocess.run(command, capture_output=True, text=True, timeout=240, check=False)
    assert answer.returncode == 0, answer.stderr
    found: dict[str, Any] = json.loads(answer.stdout.splitlines()[-1])
    return found


def test_it_serves_without_any_network(observed: dict[str, Any]) -> None:
    assert (observed["routes"], observed["refused"]) == (0, "Network is unreachable")
    assert observed["words"] == "hello world"


def test_it_does_not_even_try_to_reach_anybody(observed: dict[str, Any]) -> None:
    assert observed["lookups"] == 0


def test_audio_that_the_object_store_cannot_hold_stays_off_the_disk(
    observed: dict[str, Any],
) -> None:
    assert observed["status"] == 200
    assert observed["disk_bytes"] < DISK_BYTES
    assert observed["leaks"] == []

"""Every profile of k8s/ starts in a real Ray Serve; its model is small and its GPUs are faked."""

import json
import subprocess
import sys

import pytest

from loadtest.server import free_port
from tests.resilience.every_profile import PROFILES, Run
from tests.resilience.processes import end

pytestmark = pytest.mark.long

SECONDS = 240.0


@pytest.fixture(scope="module")
def runs() -> dict[str, Run]:
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.resilience.every_profile", "--port", str(free_port())],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
        text=True,
    )
    try:
        stdout, stderr = process.communicate(timeout=SECONDS)
    finally:
        end(process.pid)
    lines = [json.loads(line) for line in stdout.splitlines() if line.startswith("{")]
    assert len(lines) == len(PROFILES), stderr[-4000:]
    return {line["profile"]: Run(**line) for line in lines}


@pytest.mark.parametrize("profile", PROFILES)
def test_it_transcribes(runs: dict[str, Run], profile: str) -> None:
    assert "hello world" in runs[profile].text.lower()


@pytest.mark.parametrize(
    ("profile", "replicas", "gpus"),
    [
        ("cpu", {"Ingress": 1, "Transcriber": 1}, 0.0),
        ("gpu-t4", {"Ingress": 1, "Transcriber": 1}, 0.5),
        ("gpu-a10g", {"Ingress": 1, "Transcriber": 1}, 0.5),
        ("gpu-a10g-multi", {"Ingress": 2, "Transcriber": 2}, 2.0),
    ],
)
def test_it_has_the_replicas_and_gpus_that_it_asks_for(
    runs: dict[str, Run], profile: str, replicas: dict[str, int], gpus: float
) -> None:
    assert runs[profile].replicas == replicas
    assert runs[profile].gpus == gpus

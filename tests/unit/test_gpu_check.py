"""The check of a GPU, run in its small form on the CPU."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from loadtest.bench.gpu_check import Check

pytestmark = pytest.mark.long


@pytest.fixture(scope="module")
def steps(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What each step found."""
    output = tmp_path_factory.mktemp("gpu_check") / "check.json"
    command = [sys.executable, "-m", "loadtest.bench.gpu_check", "--device", "cpu"]
    subprocess.run([*command, "--output", output], check=True, timeout=240)
    found: dict[str, Any] = json.loads(output.read_text())["steps"]
    return found


def test_every_step_works(steps: dict[str, Any]) -> None:
    assert list(steps) == list(Check("cpu", Path()).steps())
    assert [name for name, found in steps.items() if "error" in str(found)] == []


def test_a_text_equals_itself(steps: dict[str, Any]) -> None:
    found = steps["texts, tiny.en, int8"]
    assert found["as_cpu_int8"] == found["clips"] == 1


def test_sweeps_give_times_and_memory_for_each_batch(steps: dict[str, Any]) -> None:
    rows = steps["sweeps"]
    assert [(row["batch"], row["frames"]) for row in rows] == [
        *((1, 3000), (2, 3000)),
        *((8, 500), (8, 3000)),
    ]
    assert all(min(row.values()) > 0 for row in rows)


def test_batches_that_do_not_fit_are_halved(steps: dict[str, Any]) -> None:
    found = steps["out of memory"]
    assert found["answered"] == 8
    assert found["failed_batches"]
    assert min(found["failed_batches"]) > 2


def test_every_rate_is_positive(steps: dict[str, Any]) -> None:
    rates = [found for name, found in steps.items() if name.startswith("requests per second")]
    assert len(rates) == 4
    assert min(rates) > 0

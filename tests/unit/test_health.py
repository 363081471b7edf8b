"""When an engine is to be replaced."""

import threading
from collections.abc import Hashable, Sequence
from typing import Any

import pytest
from typing_extensions import override

from serve_app.engine.device import Backend
from serve_app.engine.health import MOST_FAILED_BATCHES, PATIENCE, Health
from serve_app.engine.queue import BatchLimits, Hearing, Stage, Step
from serve_app.engine.scheduler import Scheduler
from serve_app.errors import DeviceFailed, NotReady
from tests.conditions import eventually

STALL_SECONDS = 60.0
FAILED = DeviceFailed("broken")


@pytest.fixture
def health() -> Health:
    return Health(STALL_SECONDS)


def serve(health: Health, *outcomes: Any, seconds: float = 1.0) -> None:
    """One batch, from 0.0 to ``seconds``."""
    health.begin(0, len(outcomes), 0.0)
    health.finish(0, outcomes, seconds)


def test_a_device_that_fails_batch_after_batch_is_at_fault(health: Health) -> None:
    for _ in range(MOST_FAILED_BATCHES):
        assert health.fault(0.0) is None
        serve(health, FAILED, FAILED)
    assert "3 batches in a row" in str(health.fault(0.0))


@pytest.mark.parametrize("answer", ["text", ValueError("poison"), NotReady("too heavy")])
def test_a_device_that_answers_in_between_is_not(health: Health, answer: object) -> None:
    for _ in range(3 * MOST_FAILED_BATCHES):
        serve(health, FAILED)
        serve(health, FAILED, answer)
    assert health.fault(0.0) is None


def test_a_batch_that_does_not_end_has_stalled(health: Health) -> None:
    health.begin(1, 8, 0.0)
    assert health.fault(STALL_SECONDS) is None
    assert "has run for 61 s" in str(health.fault(STALL_SECONDS + 1))
    health.finish(1, ["late"] * 8, STALL_SECONDS + 2)
    assert health.fault(STALL_SECONDS + 2) is None


def test_a_slow_machine_gets_more_time_for_large_batches(health: Health) -> None:
    serve(health, "text", seconds=10.0)
    for n_windows in (1, 8):
        health.begin(0, n_windows, 0.0)
        longest = PATIENCE * 10.0 * n_windows
        assert health.fault(longest - 1) is None
        assert health.fault(longest + 1) is not None


def test_one_slow_batch_does_not_hide_a_stall_for_long(health: Health) -> None:
    serve(health, "text", seconds=10_000.0)
    for _ in range(300):
        serve(health, "text", seconds=0.1)
    health.begin(0, 8, 0.0)
    assert health.fault(STALL_SECONDS + 1) is not None


class Broken(Backend):
    """Fails every batch, or stalls while ``gate`` is closed."""

    def __init__(self) -> None:
        self.entered = threading.Event()
        self.gate = threading.Event()

    @override
    def run(
        self, stage: Stage, key: Hashable, payloads: Sequence[Any], *, alone: bool
    ) -> Sequence[Any]:
        self.entered.set()
        self.gate.wait(10)
        raise RuntimeError("CUDA failed with error unspecified launch failure")


def encoding() -> Hearing:
    return (yield Step(Stage.ENCODE, "k", seconds=30.0))


def test_a_scheduler_knows_that_its_device_is_broken() -> None:
    backend = Broken()
    scheduler = Scheduler(backend, BatchLimits(), workers=1, health=Health(1e-9))
    request = scheduler.open_request()
    jobs = [scheduler.hear(request, encoding()) for _ in range(MOST_FAILED_BATCHES)]
    assert backend.entered.wait(10)
    assert "a batch has run" in str(scheduler.fault())
    backend.gate.set()
    for job in jobs:
        with pytest.raises(DeviceFailed):
            job.heard.result(timeout=10)
    assert "in a row" in str(scheduler.fault())
    scheduler.stop()


class Ending(Backend):
    @override
    def run(
        self, stage: Stage, key: Hashable, payloads: Sequence[Any], *, alone: bool
    ) -> Sequence[Any]:
        raise SystemExit  # ends a thread without a word


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_scheduler_knows_that_a_worker_has_ended() -> None:
    scheduler = Scheduler(Ending(), BatchLimits(), workers=1)
    assert scheduler.fault() is None
    scheduler.hear(scheduler.open_request(), encoding())
    assert eventually(scheduler.fault) == "a worker thread has ended"

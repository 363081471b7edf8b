"""The threads around the policy, with arithmetic in place of a neural network."""

import threading
from collections.abc import Hashable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from serve_app.engine.policy import BatchLimits, Stage

from serve_app.engine.admission import Admission, Demand
from serve_app.engine.scheduler import RequestClosed, Scheduler
from serve_app.errors import Overloaded
from serve_app.metrics.catalogue import Histogram, NoMetrics
from serve_app.settings import AdmissionSettings


class BrokenMetrics(NoMetrics):
    """A sink that breaks its promise."""

    def observe(self, metric: Histogram, value: float, **labels: str) -> None:
        raise RuntimeError("no metrics today")


class Doubler:
    """Encodes x to 2x and decodes (2x, y) to 2x + y; refuses what the tests make poisonous."""

    def __init__(self, largest_batch: int = 64) -> None:
        self.largest_batch = largest_batch
        self.batches: list[tuple[Stage, int]] = []
        self.gate = threading.Event()
        self.gate.set()
        self.entered = threading.Semaphore(0)

    def run(
        self, stage: Stage, key: Hashable, payloads: Sequence[Any], *, alone: bool
    ) -> Sequence[Any]:
        self.entered.release()
        self.gate.wait()
        if len(payloads) > self.largest_batch:
            raise MemoryError("out of memory")
        self.batches.append((stage, len(payloads)))
        if stage is Stage.ENCODE:
            return [2 * payload for payload in payloads]
        if any(payload[1] is None for payload in payloads):
            raise ValueError("poison")
        return [encoded + payload for encoded, payload in payloads]


@pytest.fixture
def backend() -> Doubler:
    return Doubler()


@pytest.fixture
def scheduler(backend: Doubler) -> Iterator[Scheduler]:
    scheduler = Scheduler(backend, BatchLimits(decode=8), workers=2)
    yield scheduler
    backend.gate.set()
    scheduler.stop()


def decode(scheduler: Scheduler, x: int, y: int | None, key: str = "k") -> Any:
    request = scheduler.open_request()
    try:
        window = scheduler.encode(request, None, x, seconds=30.0)
        return scheduler.decode(window, Stage.GENERATE, key, y).result(timeout=10)
    finally:
        scheduler.close_request(request)


def test_every_caller_gets_its_own_result(scheduler: Scheduler) -> None:
    with ThreadPoolExecutor(32) as threads:
        results = list(threads.map(lambda n: decode(scheduler, n, 1000 * n), range(200)))
    assert results == [1002 * n for n in range(200)]


def test_metrics_that_fail_cost_no_caller_its_result(backend: Doubler) -> None:
    scheduler = Scheduler(backend, BatchLimits(), workers=1, sink=BrokenMetrics())
    assert [decode(scheduler, n, 1) for n in range(3)] == [1, 3, 5]
    scheduler.stop()


def test_windows_of_different_requests_share_a_batch(
    scheduler: Scheduler, backend: Doubler
) -> None:
    backend.gate.clear()
    with ThreadPoolExecutor(16) as threads:
        running = [threads.submit(decode, scheduler, n, n) for n in range(16)]
        backend.entered.acquire(timeout=10)
        backend.gate.set()
        assert [future.result() for future in running] == [3 * n for n in range(16)]
    assert max(size for stage, size in backend.batches if stage is Stage.GENERATE) > 1


def test_a_poisoned_item_fails_alone(scheduler: Scheduler, backend: Doubler) -> None:
    backend.gate.clear()
    with ThreadPoolExecutor(16) as threads:
        healthy = [threads.submit(decode, scheduler, n, n) for n in range(7)]
        poisoned = threads.submit(decode, scheduler, 7, None)
        backend.gate.set()
        assert [future.result() for future in healthy] == [3 * n for n in range(7)]
        with pytest.raises(ValueError, match="poison"):
            poisoned.result()


def test_a_batch_too_big_for_memory_is_halved() -> None:
    backend = Doubler(largest_batch=2)
    scheduler = Scheduler(backend, BatchLimits(encode=8, decode=8), workers=1)
    request = scheduler.open_request()
    backend.gate.clear()
    windows = [scheduler.encode(request, None, n, seconds=30.0) for n in range(9)]
    backend.gate.set()
    assert [window.encoded.result(timeout=10) for window in windows] == [2 * n for n in range(9)]
    assert {size for _, size in backend.batches} <= {1, 2}
    scheduler.stop()


def test_a_closed_requests_windows_leave_the_queue_at_once(
    scheduler: Scheduler, backend: Doubler
) -> None:
    backend.gate.clear()
    request = scheduler.open_request()
    windows = [scheduler.encode(request, None, n, seconds=30.0) for n in range(10)]
    for _ in range(2):
        assert backend.entered.acquire(timeout=10)
    scheduler.close_request(request)
    assert scheduler.queued_windows == 0
    with pytest.raises(RequestClosed):
        windows[-1].encoded.result(timeout=10)


def test_a_closed_request_cannot_queue_more(scheduler: Scheduler) -> None:
    request = scheduler.open_request()
    window = scheduler.encode(request, None, 1, seconds=30.0)
    assert window.encoded.result(timeout=10) == 2
    scheduler.close_request(request)
    with pytest.raises(RequestClosed):
        scheduler.encode(request, None, 1, seconds=30.0)
    with pytest.raises(RequestClosed):
        scheduler.decode(window, Stage.GENERATE, "k", 1).result(timeout=10)


def test_stopping_fails_what_still_waits(backend: Doubler) -> None:
    scheduler = Scheduler(backend, BatchLimits(), workers=1)
    backend.gate.clear()
    request = scheduler.open_request()
    windows = [scheduler.encode(request, None, n, seconds=30.0) for n in range(3)]
    assert backend.entered.acquire(timeout=10)
    stopping = threading.Thread(target=scheduler.stop)
    stopping.start()
    with pytest.raises(RequestClosed):
        windows[-1].encoded.result(timeout=10)
    backend.gate.set()
    stopping.join(timeout=10)
    assert windows[0].encoded.result(timeout=10) == 0


def test_limits_change_while_it_runs(scheduler: Scheduler, backend: Doubler) -> None:
    scheduler.set_limits(BatchLimits(decode=1))
    with ThreadPoolExecutor(16) as threads:
        list(threads.map(lambda n: decode(scheduler, n, n), range(32)))
    assert {size for stage, size in backend.batches if stage is Stage.GENERATE} == {1}


def test_a_short_requests_next_stage_comes_before_a_waiting_file(
    backend: Doubler, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("serve_app.engine.scheduler.FOLLOW_UP_SECONDS", 10.0)  # for busy machines
    backend.gate.clear()
    scheduler = Scheduler(backend, BatchLimits(), workers=1)
    file, short = scheduler.open_request(), scheduler.open_request()
    for _ in range(4):  # past the minute that a file has in common with short requests
        scheduler.encode(file, None, 1, seconds=30.0)
    window = scheduler.encode(short, None, 2, seconds=30.0)
    detected = scheduler.decode(window, Stage.DETECT, "k", 0)
    generated: list[int] = []

    def pipeline() -> None:
        detected.result(timeout=10)
        scheduler.decode(window, Stage.GENERATE, "k", 0).result(timeout=10)
        generated.append(sum(stage is Stage.ENCODE for stage, _ in backend.batches))
        scheduler.close_request(short)

    thread = threading.Thread(target=pipeline)
    thread.start()
    backend.gate.set()
    thread.join()
    scheduler.stop()
    assert generated[0] < 5  # encodes done by then: its own, and not all of the file's


DICTATION = Demand(audio_seconds=15.0, work_seconds=30.0)


@pytest.fixture
def impatient(backend: Doubler) -> Iterator[Scheduler]:
    """It refuses whoever would wait at all, and has done one request before."""
    admission = Admission(AdmissionSettings(max_wait_seconds=1e-9), 1024, workers=1)
    scheduler = Scheduler(backend, BatchLimits(), workers=1, admission=admission)
    decode(scheduler, 1, 2)
    yield scheduler
    backend.gate.set()
    scheduler.stop()


def test_a_request_that_would_wait_too_long_is_refused(impatient: Scheduler) -> None:
    impatient.open_request(DICTATION)
    with pytest.raises(Overloaded, match="estimated wait"):
        impatient.open_request(DICTATION)


def test_a_request_that_is_closed_makes_room(impatient: Scheduler) -> None:
    impatient.close_request(impatient.open_request(DICTATION))
    impatient.open_request(DICTATION)


def test_the_load_falls_with_every_stage_that_is_done(
    impatient: Scheduler, backend: Doubler
) -> None:
    request = impatient.open_request(DICTATION)
    left = [impatient.load().queued_audio_seconds]
    window = impatient.encode(request, None, 1, seconds=30.0)
    window.encoded.result(timeout=10)
    left.append(impatient.load().queued_audio_seconds)
    impatient.decode(window, Stage.GENERATE, "k", 0).result(timeout=10)
    left.append(impatient.load().queued_audio_seconds)
    impatient.decode(window, Stage.GENERATE, "k", 0).result(timeout=10)  # a fallback
    assert left[0] == 15.0 > left[1] > left[2] == 0.0
    assert impatient.load().queued_audio_seconds == 0.0


def test_pauses_that_were_found_are_not_waited_for(impatient: Scheduler) -> None:
    request = impatient.open_request(Demand(600.0, 600.0))
    impatient.expect(request, 0.0)
    impatient.open_request(DICTATION)


def test_the_load_knows_how_fast_the_engine_is(impatient: Scheduler) -> None:
    load = impatient.load()
    assert (load.open_requests, load.wait_seconds) == (0, 0.0)
    assert load.work_per_second > 0

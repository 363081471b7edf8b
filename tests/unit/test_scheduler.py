"""The threads around the queue, with arithmetic in place of a neural network."""

import threading
from collections.abc import Hashable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from serve_app.caller import Priority
from serve_app.engine.admission import Admission
from serve_app.engine.device import Backend
from serve_app.engine.queue import BatchLimits, Hearing, Stage, Step
from serve_app.engine.request import Demand
from serve_app.engine.scheduler import RequestClosed, Scheduler
from serve_app.errors import Overloaded
from serve_app.metrics import Histogram, Sink
from serve_app.settings import AdmissionSettings


class BrokenMetrics(Sink):
    """A sink that breaks its promise."""

    def observe(self, metric: Histogram, value: float, **labels: str) -> None:
        raise RuntimeError("no metrics today")


class Doubler(Backend):
    """Encodes x as 2x and decodes (2x, y) as 2x + y; refuses what the tests make poisonous."""

    def __init__(self, largest_batch: int = 64) -> None:
        self.largest_batch = largest_batch
        self.batches: list[tuple[Stage, list[Any]]] = []
        self.alone: list[bool] = []
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
        self.batches.append((stage, list(payloads)))
        self.alone.append(alone)
        if stage is Stage.ENCODE:
            return [2 * payload for payload in payloads]
        if any(payload[1] is None for payload in payloads):
            raise ValueError("poison")
        return [encoded + payload for encoded, payload in payloads]

    def sizes(self, stage: Stage) -> list[int]:
        return [len(payloads) for done, payloads in self.batches if done is stage]


def encoding(x: int, seconds: float = 30.0) -> Hearing:
    """A hearing of one step."""
    return (yield Step(Stage.ENCODE, None, x, seconds))


def hearing(x: int, *ys: int | None, stages: Sequence[Stage] = (Stage.GENERATE,)) -> Hearing:
    """A hearing that encodes ``x`` and decodes each of ``ys``; returns the last result."""
    encoded, last = (yield Step(Stage.ENCODE, None, x, 30.0)), None
    for stage, y in zip(stages, ys, strict=True):
        last = yield Step(stage, "k", (encoded, y))
    return last


@pytest.fixture
def backend() -> Doubler:
    return Doubler()


@pytest.fixture
def scheduler(backend: Doubler) -> Iterator[Scheduler]:
    scheduler = Scheduler(backend, BatchLimits(decode=8), workers=2)
    yield scheduler
    backend.gate.set()
    scheduler.stop()


@pytest.fixture
def single(backend: Doubler) -> Iterator[Scheduler]:
    """It has one worker."""
    scheduler = Scheduler(backend, BatchLimits(encode=8, decode=8), workers=1)
    yield scheduler
    backend.gate.set()
    scheduler.stop()


def hear(scheduler: Scheduler, x: int, y: int | None) -> Any:
    request = scheduler.open_request()
    try:
        return scheduler.hear(request, hearing(x, y)).heard.result(timeout=10)
    finally:
        scheduler.close_request(request)


def test_every_caller_gets_its_own_result(scheduler: Scheduler) -> None:
    with ThreadPoolExecutor(32) as threads:
        results = list(threads.map(lambda n: hear(scheduler, n, 1000 * n), range(200)))
    assert results == [1002 * n for n in range(200)]


def test_metrics_that_fail_cost_no_caller_its_result(backend: Doubler) -> None:
    scheduler = Scheduler(backend, BatchLimits(), workers=1, sink=BrokenMetrics())
    assert [hear(scheduler, n, 1) for n in range(3)] == [1, 3, 5]
    scheduler.stop()


def test_windows_of_different_requests_share_a_batch(
    scheduler: Scheduler, backend: Doubler
) -> None:
    backend.gate.clear()
    with ThreadPoolExecutor(16) as threads:
        running = [threads.submit(hear, scheduler, n, n) for n in range(16)]
        backend.entered.acquire(timeout=10)
        backend.gate.set()
        assert [future.result() for future in running] == [3 * n for n in range(16)]
    assert max(backend.sizes(Stage.GENERATE)) > 1


def test_a_poisoned_window_fails_alone(single: Scheduler, backend: Doubler) -> None:
    backend.gate.clear()
    jobs = [single.hear(single.open_request(), hearing(n, None if n == 7 else n)) for n in range(8)]
    backend.gate.set()
    assert [job.heard.result(timeout=10) for job in jobs[:7]] == [3 * n for n in range(7)]
    with pytest.raises(ValueError, match="poison"):
        jobs[7].heard.result(timeout=10)


def test_a_hearing_that_cannot_use_its_result_fails_alone(
    single: Scheduler, backend: Doubler
) -> None:
    def confused() -> Hearing:
        yield Step(Stage.ENCODE, None, 1, 30.0)
        raise LookupError("nothing like it")

    backend.gate.clear()
    request = single.open_request()
    failed, *sound = [single.hear(request, each) for each in (confused(), hearing(1, 1))]
    backend.gate.set()
    with pytest.raises(LookupError, match="nothing like it"):
        failed.heard.result(timeout=10)
    assert [job.heard.result(timeout=10) for job in sound] == [3]


def test_a_hearing_may_go_on_after_a_step_that_failed(single: Scheduler) -> None:
    def patient() -> Hearing:
        encoded = yield Step(Stage.ENCODE, None, 1, 30.0)
        try:
            return (yield Step(Stage.GENERATE, "k", (encoded, None)))
        except ValueError:
            return (yield Step(Stage.GENERATE, "k", (encoded, 5)))

    assert single.hear(single.open_request(), patient()).heard.result(timeout=10) == 7


def test_a_batch_too_big_for_memory_is_halved() -> None:
    backend = Doubler(largest_batch=2)
    scheduler = Scheduler(backend, BatchLimits(encode=8, decode=8), workers=1)
    request = scheduler.open_request()
    backend.gate.clear()
    jobs = [scheduler.hear(request, encoding(n)) for n in range(9)]
    backend.gate.set()
    assert [job.heard.result(timeout=10) for job in jobs] == [2 * n for n in range(9)]
    assert set(backend.sizes(Stage.ENCODE)) <= {1, 2}
    scheduler.stop()


def test_a_closed_requests_windows_leave_the_queue_at_once(
    scheduler: Scheduler, backend: Doubler
) -> None:
    backend.gate.clear()
    request = scheduler.open_request()
    jobs = [scheduler.hear(request, encoding(n)) for n in range(10)]
    for _ in range(2):
        assert backend.entered.acquire(timeout=10)
    scheduler.close_request(request)
    assert scheduler.queued_windows == 0
    with pytest.raises(RequestClosed):
        jobs[-1].heard.result(timeout=10)


def test_a_window_in_service_goes_no_further_once_its_request_is_closed(
    single: Scheduler, backend: Doubler
) -> None:
    backend.gate.clear()
    request = single.open_request()
    job = single.hear(request, hearing(1, 1))
    assert backend.entered.acquire(timeout=10)
    single.close_request(request)
    backend.gate.set()
    with pytest.raises(RequestClosed):
        job.heard.result(timeout=10)
    assert backend.sizes(Stage.GENERATE) == []


def test_a_closed_request_cannot_queue_more(scheduler: Scheduler) -> None:
    request = scheduler.open_request()
    job = scheduler.hear(request, encoding(1))
    assert job.heard.result(timeout=10) == 2
    scheduler.close_request(request)
    for after in (None, job):
        with pytest.raises(RequestClosed):
            scheduler.hear(request, encoding(1), after).heard.result(timeout=10)


def test_closing_a_request_again_does_nothing(scheduler: Scheduler) -> None:
    left, other, _ = (scheduler.open_request() for _ in range(3))
    for _ in range(3):
        scheduler.close_request(left)
    assert scheduler.load().open_requests == 2
    assert scheduler.hear(other, encoding(1)).heard.result(timeout=10) == 2
    assert scheduler.open_request().due_at == 30.0 / 2  # two share the time of 30 s of audio


def test_stopping_fails_what_still_waits(single: Scheduler, backend: Doubler) -> None:
    single.set_limits(BatchLimits(encode=1))
    backend.gate.clear()
    request = single.open_request()
    served, unfinished = (single.hear(request, each) for each in (encoding(1), hearing(2, 2)))
    assert backend.entered.acquire(timeout=10)
    stopping = threading.Thread(target=single.stop)
    stopping.start()
    with pytest.raises(RequestClosed):
        unfinished.heard.result(timeout=10)
    backend.gate.set()
    stopping.join(timeout=10)
    assert served.heard.result(timeout=10) == 2
    with pytest.raises(RequestClosed):
        single.hear(request, encoding(3)).heard.result(timeout=10)


def test_limits_change_while_it_runs(scheduler: Scheduler, backend: Doubler) -> None:
    scheduler.set_limits(BatchLimits(decode=1))
    with ThreadPoolExecutor(16) as threads:
        list(threads.map(lambda n: hear(scheduler, n, n), range(32)))
    assert set(backend.sizes(Stage.GENERATE)) == {1}


BULK = Demand(priority=Priority.BULK)


def test_a_windows_next_step_is_queued_before_a_waiting_bulk_batch_is_taken(
    single: Scheduler, backend: Doubler
) -> None:
    single.set_limits(BatchLimits(encode=1))
    backend.gate.clear()
    file, short = single.open_request(BULK), single.open_request()
    windows = [single.hear(file, encoding(n)) for n in (10, 11, 12)]
    assert backend.entered.acquire(timeout=10)  # the file's first window is in service
    stages = (Stage.DETECT, Stage.GENERATE, Stage.ALIGN)
    chunk = single.hear(short, hearing(1, 0, 0, 0, stages=stages))
    backend.gate.set()
    for job in (chunk, *windows):
        job.heard.result(timeout=10)
    assert backend.batches[1:5] == [
        (Stage.ENCODE, [1]),
        (Stage.DETECT, [(2, 0)]),
        (Stage.GENERATE, [(2, 0)]),
        (Stage.ALIGN, [(2, 0)]),
    ]


def test_a_later_hearing_of_a_window_keeps_its_place_and_is_not_charged(
    single: Scheduler,
) -> None:
    def decoding() -> Hearing:
        return (yield Step(Stage.GENERATE, "k", (2, 3)))

    request = single.open_request()
    first = single.hear(request, encoding(1))
    first.heard.result(timeout=10)
    again = single.hear(request, decoding(), after=first)
    assert again.heard.result(timeout=10) == 5
    assert (again.tag, again.seconds) == (first.tag, 30.0)
    assert request.queued_seconds == request.done_seconds == 30.0


def test_a_part_of_a_window_that_is_heard_again_keeps_its_place_and_is_charged(
    single: Scheduler, backend: Doubler
) -> None:
    backend.gate.clear()  # no time passes between them
    request = single.open_request(BULK)
    first, again, new = (
        single.hear(request, encoding(n), again=again)
        for n, again in enumerate((False, True, False))
    )
    backend.gate.set()
    for job in (first, again, new):
        job.heard.result(timeout=10)
    assert first.tag == again.tag < new.tag
    assert request.queued_seconds == 90.0


def test_a_lone_window_may_use_every_core_at_every_step(
    scheduler: Scheduler, backend: Doubler
) -> None:
    assert hear(scheduler, 1, 1) == 3
    assert backend.alone == [True, True]


def test_a_window_that_comes_beside_another_may_not_use_every_core(
    scheduler: Scheduler, backend: Doubler
) -> None:
    backend.gate.clear()
    jobs = []
    for n in range(2):
        jobs.append(scheduler.hear(scheduler.open_request(), encoding(n)))
        assert backend.entered.acquire(timeout=10)
    backend.gate.set()
    assert [job.heard.result(timeout=10) for job in jobs] == [0, 2]
    assert sorted(backend.alone) == [False, True]  # the first found nothing beside it


DICTATION = Demand(audio_seconds=15.0, work_seconds=30.0)


@pytest.fixture
def impatient(backend: Doubler) -> Iterator[Scheduler]:
    """It refuses whoever would wait at all, and has done one request before."""
    admission = Admission(AdmissionSettings(max_wait_seconds=1e-9), 1024, workers=1)
    scheduler = Scheduler(backend, BatchLimits(), workers=1, admission=admission)
    hear(scheduler, 1, 2)
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


def test_the_load_falls_with_every_stage_that_is_done(impatient: Scheduler) -> None:
    left = [DICTATION.audio_seconds]

    def watched() -> Hearing:
        encoded = yield Step(Stage.ENCODE, None, 1, 30.0)
        for _ in range(2):  # the second is a fallback
            left.append(impatient.load().queued_audio_seconds)
            yield Step(Stage.GENERATE, "k", (encoded, 0))
        left.append(impatient.load().queued_audio_seconds)

    request = impatient.open_request(DICTATION)
    assert impatient.load().queued_audio_seconds == left[0]
    impatient.hear(request, watched()).heard.result(timeout=10)
    assert left[0] > left[1] > left[2] == left[3] == 0.0


@pytest.mark.parametrize(("expected", "waits"), [(0.0, False), (30.0, True)])
def test_only_work_that_is_still_expected_is_waited_for(
    impatient: Scheduler, expected: float, waits: bool
) -> None:
    request = impatient.open_request(Demand(50.0, 60.0))
    impatient.hear(request, hearing(1, 1)).heard.result(timeout=10)
    impatient.expect(request, expected)
    assert (impatient.load().wait_seconds > 0) is waits


def test_the_load_knows_how_fast_the_engine_is(impatient: Scheduler) -> None:
    load = impatient.load()
    assert (load.open_requests, load.wait_seconds) == (0, 0.0)
    assert load.work_per_second > 0

"""Which requests are queued and which are refused, alone and in a simulated server of known
speed."""

import functools
import random
from collections.abc import Sequence

import pytest

from serve_app.caller import Priority
from serve_app.engine.admission import Admission, Load
from serve_app.engine.queue import Job, Stage, Step
from serve_app.engine.request import Demand, Request
from serve_app.errors import Overloaded
from serve_app.settings import AdmissionSettings
from tests.unit.simulation import COST, Arrival, Simulation

WORKERS = 2
TICKS_PER_WINDOW = (COST[Stage.ENCODE] + COST[Stage.GENERATE] / 8) / WORKERS
"""Of the simulated server under load: batches of 8 are decoded."""

BOUND_WINDOWS = 54
"""60 s on two cores on which base does 27 window seconds per second."""

BOUND = BOUND_WINDOWS * TICKS_PER_WINDOW


def never(request: Request) -> bool:
    return False


def loaded(bounds: AdmissionSettings | None = None, max_requests: int = 1024) -> Admission:
    """One worker that is known to do 30 window seconds per second, and nothing queued."""
    admission = Admission(bounds or AdmissionSettings(), max_requests, workers=1)
    admission.throughput.resume(0, 0.0)
    admission.throughput.done(0, 5.0, encoded=300.0)
    admission.throughput.done(0, 10.0, decoded=300.0)
    return admission


def short(work_seconds: float = 30.0) -> Demand:
    return Demand(15.0, work_seconds)


def bulk(seconds: float) -> Demand:
    return Demand(seconds, seconds, Priority.BULK)


def opened(admission: Admission, demand: Demand, queued: float = 0.0, done: float = 0.0) -> Request:
    """A request that has joined, with so many of its window seconds queued and done."""
    request = Request(demand)
    admission.open(request)
    if queued:
        request.queue(queued)
    request.done_seconds += done
    return request


def load_of(admission: Admission) -> Load:
    return admission.load(never, 0.0)


def poisson(load: float, seed: int, n: int = 1_500) -> list[Arrival]:
    """One-window requests that bring ``load`` times what the simulated server can do."""
    chance, time = random.Random(seed), 0.0
    arrivals = []
    for number in range(n):
        time += chance.expovariate(load / TICKS_PER_WINDOW)
        arrivals.append(Arrival(number, int(time), windows=1))
    return arrivals


def simulate(arrivals: list[Arrival], bound: float = BOUND) -> Simulation:
    bounds = AdmissionSettings(max_wait_seconds=bound, bulk_max_wait_seconds=100 * bound)
    return Simulation(arrivals, WORKERS, admission=Admission(bounds, 10_000, WORKERS)).run()


def waits(arrivals: Sequence[Arrival]) -> list[float]:
    return [a.started_at - a.at for a in arrivals if a.started_at is not None]


@functools.cache
def overloaded(seed: int) -> list[Arrival]:
    """One and a half times what the simulated server can do, and what happened to it."""
    arrivals = poisson(1.5, seed)
    simulate(arrivals)
    return arrivals


@pytest.mark.parametrize("seed", range(3))
def test_under_overload_real_waits_stay_near_the_bound(seed: int) -> None:
    arrivals = overloaded(seed)
    accepted = [a for a in arrivals if a.refusal is None]
    assert 0.25 < 1 - len(accepted) / len(arrivals) < 0.4  # a third is too much
    real = sorted(waits(accepted))
    assert real[-1] < 1.1 * BOUND
    assert real[len(real) // 2] > 0.8 * BOUND  # and the bound is made use of


@pytest.mark.parametrize("seed", range(3))
def test_estimated_waits_come_true(seed: int) -> None:
    accepted = [a for a in overloaded(seed) if a.refusal is None]
    errors = sorted(
        abs(real - a.estimated_wait) for a, real in zip(accepted, waits(accepted), strict=True)
    )
    assert errors[int(0.95 * len(errors))] < 0.15 * BOUND


@pytest.mark.parametrize("seed", range(3))
def test_nothing_is_refused_at_eighty_percent(seed: int) -> None:
    arrivals = poisson(0.8, seed)
    simulate(arrivals)
    assert [a.refusal for a in arrivals] == [None] * len(arrivals)


def test_sixteen_clients_that_never_pause_are_never_refused() -> None:
    clients = [Arrival(n, 0, windows=1, reposts=100) for n in range(16)]
    simulation = simulate(clients)
    assert len(simulation.arrivals) == 16 * 101
    assert all(a.refusal is None for a in simulation.arrivals)


@pytest.mark.parametrize("priority", [Priority.AUTO, Priority.BULK])
def test_a_backlog_of_files_refuses_no_dictation(priority: Priority) -> None:
    files = [Arrival(10_000 + n, n, windows=240, priority=priority) for n in range(20)]
    dictation = poisson(0.5, seed=1, n=500)
    simulate([*files, *dictation])
    assert [a.refusal for a in dictation] == [None] * len(dictation)
    assert max(waits(dictation)) < BOUND / 2


def test_files_that_lag_are_part_of_the_estimate() -> None:
    files = [Arrival(10_000 + n, n, windows=240) for n in range(40)]
    dictation = poisson(1.5, seed=1, n=2_000)
    simulate([*files, *dictation])
    assert max(waits(dictation)) < 1.3 * BOUND


def test_nothing_is_refused_where_nothing_waits() -> None:
    admission = loaded(AdmissionSettings(max_wait_seconds=1e-6, bulk_max_wait_seconds=1e-6))
    for demand in (short(), short(1e6), bulk(1e6)):
        admission.check(demand, never)


def test_an_unknown_throughput_refuses_nobody() -> None:
    admission = Admission(AdmissionSettings(max_wait_seconds=1e-6), 1024, workers=1)
    opened(admission, short())
    admission.check(short(), never)


def test_a_batch_of_bulk_in_service_alone_refuses_nobody() -> None:
    admission = loaded(AdmissionSettings(max_wait_seconds=0.5))
    file = opened(admission, bulk(3600.0), queued=240.0)
    step = Step(Stage.GENERATE)
    admission.begin(0, [Job(file, step, seconds=30.0) for _ in range(8)], now=10.0)
    assert load_of(admission).wait_seconds == pytest.approx(4.0)
    admission.check(short(), never)


def test_a_short_request_waits_for_others_and_bulk_for_everything() -> None:
    admission = loaded()
    opened(admission, bulk(3600.0))
    opened(admission, short())
    opened(admission, short())
    assert load_of(admission).wait_seconds == pytest.approx(60 / 30)
    assert load_of(admission).bulk_wait_seconds == pytest.approx(3660 / 30)


def test_long_interactive_audio_is_ahead_with_its_turns_only() -> None:
    admission = loaded()
    opened(admission, Demand(3600.0, 3600.0, Priority.INTERACTIVE))
    assert admission.wait_seconds(short(), never) == pytest.approx(1.0)
    lecture = Demand(600.0, 600.0, Priority.INTERACTIVE)
    assert admission.wait_seconds(lecture, never) == pytest.approx(20.0)


def test_an_overdue_file_is_ahead_of_a_short_request_with_one_turn() -> None:
    admission = loaded()
    opened(admission, bulk(3600.0))
    assert admission.wait_seconds(short(), never) == 0.0
    assert admission.wait_seconds(short(), lambda request: True) == pytest.approx(1.0)


def test_work_that_is_done_is_no_longer_waited_for() -> None:
    admission = loaded()
    request = opened(admission, bulk(600.0), queued=240.0, done=150.0)
    assert load_of(admission).bulk_wait_seconds == pytest.approx(450 / 30)
    assert load_of(admission).queued_audio_seconds == pytest.approx(450.0)
    admission.close(request)
    request.done_seconds += 90.0  # a batch that was in service
    assert load_of(admission).bulk_wait_seconds == load_of(admission).queued_audio_seconds == 0


def test_a_refused_request_is_taken_when_it_was_told_to_come_back() -> None:
    admission = loaded(AdmissionSettings(max_wait_seconds=10.0))
    queued = [opened(admission, short()) for _ in range(14)]
    with pytest.raises(Overloaded, match=r"wait is 14\.0 s.*at most 10 s") as refused:
        admission.check(short(), never)
    assert refused.value.retry_after_seconds == pytest.approx(4.0)
    for request in queued[:4]:  # 4 s later
        admission.close(request)
    admission.check(short(), never)


def test_nobody_is_told_to_come_back_within_a_second() -> None:
    admission = loaded(AdmissionSettings(max_wait_seconds=0.99))
    opened(admission, short())
    with pytest.raises(Overloaded) as refused:
        admission.check(short(), never)
    assert refused.value.retry_after_seconds == 1.0


def test_bulk_leaves_places_for_short_requests() -> None:
    admission = loaded(max_requests=8)
    for _ in range(6):
        opened(admission, Demand(1.0, 30.0, Priority.BULK))
    with pytest.raises(Overloaded, match="6 requests"):
        admission.check(Demand(1.0, 30.0, Priority.BULK), never)
    admission.check(short(), never)
    for _ in range(2):
        opened(admission, short())
    with pytest.raises(Overloaded, match="8 requests"):
        admission.check(short(), never)


def test_no_more_audio_is_held_than_memory_is_meant_for() -> None:
    admission = loaded(AdmissionSettings(max_queued_audio_seconds=7200.0))
    lecture = Demand(200.0, 200.0, Priority.INTERACTIVE)
    opened(admission, bulk(5_400.0))
    for _ in range(9):
        admission.check(lecture, never)
        opened(admission, lecture)
    with pytest.raises(Overloaded, match=r"7200 s of audio.*more than 7200 s"):
        admission.check(short(), never)


def test_one_file_of_any_length_is_taken_beside_dictation_and_locks_none_out() -> None:
    admission = loaded(AdmissionSettings(max_queued_audio_seconds=7200.0))
    opened(admission, short())
    admission.check(bulk(14_400.0), never)
    opened(admission, bulk(14_400.0))
    admission.check(short(), never)


def test_files_hold_three_quarters_of_the_audio() -> None:
    admission = loaded(AdmissionSettings(max_queued_audio_seconds=7200.0))
    opened(admission, bulk(5_000.0))
    admission.check(bulk(400.0), never)
    with pytest.raises(Overloaded, match="more than 5400 s"):
        admission.check(bulk(401.0), never)


def test_held_audio_is_let_go_of_when_requests_end() -> None:
    admission = loaded(AdmissionSettings(max_queued_audio_seconds=4_800.0))
    admission.close(opened(admission, Demand(30.0, 30.0), queued=30.0, done=30.0))
    opened(admission, bulk(600.0))
    opened(admission, bulk(3_000.0))
    with pytest.raises(Overloaded) as one_must_end:
        admission.check(bulk(1.0), never)
    with pytest.raises(Overloaded) as both_must_end:
        admission.check(bulk(700.0), never)
    # In turns, 30 window seconds per second: the shorter one after 1200 s of work, both after 3600.
    assert one_must_end.value.retry_after_seconds == pytest.approx(1_200 / 30)
    assert both_must_end.value.retry_after_seconds == pytest.approx(3_600 / 30)


def test_work_that_turns_out_to_be_less_is_not_waited_for() -> None:
    admission = loaded()
    request = opened(admission, bulk(600.0))
    request.expected_seconds = 300.0  # half of it was silence
    assert load_of(admission).bulk_wait_seconds == pytest.approx(300 / 30)
    request.queue(300.0)
    request.done_seconds = 300.0
    assert load_of(admission).queued_audio_seconds == 0.0


def test_what_is_heard_again_is_waited_for() -> None:
    admission = loaded()
    request = opened(admission, bulk(600.0))
    request.queue(600.0)
    request.queue(150.0, expected=False)
    assert load_of(admission).bulk_wait_seconds == pytest.approx(750 / 30)


def test_the_load_says_what_newcomers_would_be_told() -> None:
    admission = loaded(AdmissionSettings(max_wait_seconds=10.0, bulk_max_wait_seconds=20.0))
    assert (load_of(admission).refusal, load_of(admission).bulk_refusal) == (None, None)
    for _ in range(14):
        opened(admission, short())
    refusal = load_of(admission).refusal
    assert refusal is not None and refusal.retry_after_seconds == pytest.approx(4.0)
    assert load_of(admission).bulk_refusal is None


def test_rtfx_counts_audio_and_not_its_padding() -> None:
    admission = loaded()
    for _ in range(20):
        admission.close(opened(admission, short(), queued=30.0, done=30.0))
    assert load_of(admission).rtfx == pytest.approx(15.0)

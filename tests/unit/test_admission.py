"""Who is queued and who is refused, alone and in a simulated server of known throughput."""

import functools
import random
from collections.abc import Sequence

import pytest
from serve_app.engine.policy import Stage

from serve_app.caller import Priority
from serve_app.engine.admission import Admission, Demand, Load
from serve_app.errors import Overloaded
from serve_app.settings import AdmissionSettings
from tests.unit.simulation import COST, Request, Simulation

WORKERS = 2
TICKS_PER_WINDOW = (COST[Stage.ENCODE] + COST[Stage.GENERATE] / 8) / WORKERS
"""Of the simulated server under load: batches of 8 are decoded."""

BOUND_WINDOWS = 54
"""60 s on the two cores on which base does 27 window seconds per second (docs/benchmarks.md)."""

BOUND = BOUND_WINDOWS * TICKS_PER_WINDOW


def never(request: int) -> bool:
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


def load_of(admission: Admission) -> Load:
    return admission.load(never)


def poisson(load: float, seed: int, n: int = 1_500) -> list[Request]:
    """One-window requests that bring ``load`` times what the simulated server can do."""
    chance, time = random.Random(seed), 0.0
    requests = []
    for number in range(n):
        time += chance.expovariate(load / TICKS_PER_WINDOW)
        requests.append(Request(number, int(time), windows=1))
    return requests


def simulate(requests: list[Request], bound: float = BOUND) -> Simulation:
    bounds = AdmissionSettings(max_wait_seconds=bound, bulk_max_wait_seconds=100 * bound)
    return Simulation(requests, WORKERS, admission=Admission(bounds, 10_000, WORKERS)).run()


def waits(requests: Sequence[Request]) -> list[float]:
    return [r.started_at - r.arrival for r in requests if r.started_at is not None]


@functools.cache
def overloaded(seed: int) -> list[Request]:
    """Half as much again as the simulated server can do, and what became of it."""
    requests = poisson(1.5, seed)
    simulate(requests)
    return requests


@pytest.mark.parametrize("seed", range(3))
def test_under_overload_real_waits_stay_near_the_bound(seed: int) -> None:
    requests = overloaded(seed)
    accepted = [r for r in requests if r.refusal is None]
    assert 0.25 < 1 - len(accepted) / len(requests) < 0.4  # a third is too much
    real = sorted(waits(accepted))
    assert real[-1] < 1.1 * BOUND
    assert real[len(real) // 2] > 0.8 * BOUND  # and the bound is made use of


@pytest.mark.parametrize("seed", range(3))
def test_estimated_waits_come_true(seed: int) -> None:
    accepted = [r for r in overloaded(seed) if r.refusal is None]
    errors = sorted(
        abs(real - r.estimated_wait) for r, real in zip(accepted, waits(accepted), strict=True)
    )
    assert errors[int(0.95 * len(errors))] < 0.15 * BOUND


@pytest.mark.parametrize("seed", range(3))
def test_nothing_is_refused_at_eighty_percent(seed: int) -> None:
    requests = poisson(0.8, seed)
    simulate(requests)
    assert [r.refusal for r in requests] == [None] * len(requests)


def test_sixteen_clients_that_never_pause_are_never_refused() -> None:
    clients = [Request(n, 0, windows=1, reposts=100) for n in range(16)]
    simulation = simulate(clients)
    assert len(simulation.requests) == 16 * 101
    assert all(r.refusal is None for r in simulation.requests)


@pytest.mark.parametrize("priority", [Priority.AUTO, Priority.BULK])
def test_a_backlog_of_files_refuses_no_dictation(priority: Priority) -> None:
    files = [Request(10_000 + n, n, windows=240, priority=priority) for n in range(20)]
    dictation = poisson(0.5, seed=1, n=500)
    simulate([*files, *dictation])
    assert [r.refusal for r in dictation] == [None] * len(dictation)
    assert max(waits(dictation)) < BOUND / 2


def test_files_that_lag_are_part_of_the_estimate() -> None:
    files = [Request(10_000 + n, n, windows=240) for n in range(40)]
    dictation = poisson(1.5, seed=1, n=2_000)
    simulate([*files, *dictation])
    assert max(waits(dictation)) < 1.3 * BOUND


def test_nothing_is_refused_where_nothing_waits() -> None:
    admission = loaded(AdmissionSettings(max_wait_seconds=1e-6, bulk_max_wait_seconds=1e-6))
    for demand in (short(), short(1e6), bulk(1e6)):
        admission.check(demand, never)


def test_an_unknown_throughput_refuses_nobody() -> None:
    admission = Admission(AdmissionSettings(max_wait_seconds=1e-6), 1024, workers=1)
    admission.open(1, short())
    admission.check(short(), never)


def test_a_batch_of_bulk_in_service_alone_refuses_nobody() -> None:
    admission = loaded(AdmissionSettings(max_wait_seconds=0.5))
    admission.open(1, bulk(3600.0))
    admission.charge(1, 240.0)
    admission.serve(240.0)
    assert load_of(admission).wait_seconds == pytest.approx(4.0)
    admission.check(short(), never)


def test_a_short_request_waits_for_others_and_bulk_for_everything() -> None:
    admission = loaded()
    admission.open(1, bulk(3600.0))
    admission.open(2, short())
    admission.open(3, short())
    assert load_of(admission).wait_seconds == pytest.approx(60 / 30)
    assert load_of(admission).bulk_wait_seconds == pytest.approx(3660 / 30)


def test_long_interactive_audio_is_ahead_with_its_turns_only() -> None:
    admission = loaded()
    admission.open(1, Demand(3600.0, 3600.0, Priority.INTERACTIVE))
    assert admission.wait_seconds(short(), never) == pytest.approx(1.0)
    lecture = Demand(600.0, 600.0, Priority.INTERACTIVE)
    assert admission.wait_seconds(lecture, never) == pytest.approx(20.0)


def test_an_overdue_file_is_ahead_of_a_short_request_with_one_turn() -> None:
    admission = loaded()
    admission.open(1, bulk(3600.0))
    assert admission.wait_seconds(short(), never) == 0.0
    assert admission.wait_seconds(short(), lambda request: True) == pytest.approx(1.0)


def test_work_that_is_done_is_no_longer_waited_for() -> None:
    admission = loaded()
    admission.open(1, bulk(600.0))
    admission.charge(1, 240.0)
    admission.finish(1, 150.0)
    assert load_of(admission).bulk_wait_seconds == pytest.approx(450 / 30)
    assert load_of(admission).queued_audio_seconds == pytest.approx(450.0)
    admission.close(1)
    admission.close(1)
    admission.finish(1, 90.0)
    assert load_of(admission).bulk_wait_seconds == load_of(admission).queued_audio_seconds == 0


def test_pauses_that_were_found_shorten_the_wait() -> None:
    admission = loaded()
    admission.open(1, bulk(600.0))
    admission.charge(1, 30.0)
    admission.expect(1, 300.0)
    assert load_of(admission).bulk_wait_seconds == pytest.approx(330 / 30)


def test_a_refused_request_is_taken_when_it_was_told_to_come_back() -> None:
    admission = loaded(AdmissionSettings(max_wait_seconds=10.0))
    for number in range(14):
        admission.open(number, short())
    with pytest.raises(Overloaded, match=r"wait is 14\.0 s.*at most 10 s") as refused:
        admission.check(short(), never)
    assert refused.value.retry_after_seconds == pytest.approx(4.0)
    for number in range(4):  # 4 s later
        admission.close(number)
    admission.check(short(), never)


def test_nobody_is_told_to_come_back_within_a_second() -> None:
    admission = loaded(AdmissionSettings(max_wait_seconds=0.99))
    admission.open(1, short())
    with pytest.raises(Overloaded) as refused:
        admission.check(short(), never)
    assert refused.value.retry_after_seconds == 1.0


def test_bulk_leaves_places_for_short_requests() -> None:
    admission = loaded(max_requests=8)
    for number in range(6):
        admission.open(number, Demand(1.0, 30.0, Priority.BULK))
    with pytest.raises(Overloaded, match="6 requests"):
        admission.check(Demand(1.0, 30.0, Priority.BULK), never)
    admission.check(short(), never)
    for number in (6, 7):
        admission.open(number, short())
    with pytest.raises(Overloaded, match="8 requests"):
        admission.check(short(), never)


def test_no_more_audio_is_held_than_memory_is_meant_for() -> None:
    admission = loaded(AdmissionSettings(max_queued_audio_seconds=7200.0))
    lecture = Demand(200.0, 210.0, Priority.INTERACTIVE)
    admission.open(1, bulk(5_400.0))
    for number in range(2, 11):
        admission.check(lecture, never)
        admission.open(number, lecture)
    with pytest.raises(Overloaded, match=r"7200 s of audio.*more than 7200 s"):
        admission.check(short(), never)


def test_one_file_of_any_length_is_taken_beside_dictation_and_locks_none_out() -> None:
    admission = loaded(AdmissionSettings(max_queued_audio_seconds=7200.0))
    admission.open(1, short())
    admission.check(bulk(14_400.0), never)
    admission.open(2, bulk(14_400.0))
    admission.check(short(), never)


def test_files_hold_three_quarters_of_the_audio() -> None:
    admission = loaded(AdmissionSettings(max_queued_audio_seconds=7200.0))
    admission.open(1, bulk(5_000.0))
    admission.check(bulk(400.0), never)
    with pytest.raises(Overloaded, match="more than 5400 s"):
        admission.check(bulk(401.0), never)


def test_held_audio_is_let_go_of_when_requests_end() -> None:
    admission = loaded(AdmissionSettings(max_queued_audio_seconds=4_800.0))
    known = Demand(30.0, 30.0)
    admission.open(0, known)
    admission.charge(0, 30.0)
    admission.finish(0, 30.0)
    admission.close(0)
    admission.open(1, bulk(600.0))
    admission.open(2, bulk(3_000.0))
    with pytest.raises(Overloaded) as one_must_end:
        admission.check(bulk(1.0), never)
    with pytest.raises(Overloaded) as both_must_end:
        admission.check(bulk(700.0), never)
    # In turns, 30 window seconds per second: the shorter one after 1200 s of work, both after 3600.
    assert one_must_end.value.retry_after_seconds == pytest.approx(1_200 / 30)
    assert both_must_end.value.retry_after_seconds == pytest.approx(3_600 / 30)


def test_padding_that_is_not_encoded_is_not_waited_for() -> None:
    admission = loaded()
    admission.open(1, bulk(600.0))
    for _ in range(10):  # half of each window was padding
        admission.charge(1, 15.0)
    assert load_of(admission).bulk_wait_seconds == pytest.approx(450 / 30)
    for _ in range(10):
        admission.charge(1, 15.0)
    admission.finish(1, 300.0)
    assert load_of(admission).queued_audio_seconds == 0.0


def test_the_load_says_what_newcomers_would_be_told() -> None:
    admission = loaded(AdmissionSettings(max_wait_seconds=10.0, bulk_max_wait_seconds=20.0))
    assert (load_of(admission).refusal, load_of(admission).bulk_refusal) == (None, None)
    for number in range(14):
        admission.open(number, short())
    refusal = load_of(admission).refusal
    assert refusal is not None and refusal.retry_after_seconds == pytest.approx(4.0)
    assert load_of(admission).bulk_refusal is None


def test_rtfx_counts_audio_and_not_its_padding() -> None:
    admission = loaded()
    for number in range(20):
        admission.open(number, short())
        admission.charge(number, 30.0)
        admission.finish(number, 30.0)
        admission.close(number)
    assert load_of(admission).rtfx == pytest.approx(15.0)

"""Throughput under load, told apart from how little was asked for."""

import pytest

from serve_app.engine.throughput import ENOUGH_SECONDS, MEMORY_SECONDS, FadingRate, Throughput


def work(throughput: Throughput, worker: int, now: float, work_seconds: float) -> None:
    """Encoding is half of the work as long as nothing is decoded."""
    throughput.done(worker, now, encoded=2 * work_seconds)


def fill(throughput: Throughput, since: float, seconds: float, rate_of_each: float) -> float:
    """Two workers at work without pause, in turns of two seconds; returns the time of the end."""
    for worker in (0, 1):
        throughput.resume(worker, since)
    now = since
    while now < since + seconds:
        now += 1.0
        worker = int(now) % 2
        work(throughput, worker, now, rate_of_each * (2.0 if now > since + 1 else 1.0))
    for worker in (0, 1):
        throughput.rest(worker, now)
    return now


def lone(throughput: Throughput, since: float, work_seconds: float) -> float:
    """One worker serves one short request; returns the time of the end."""
    throughput.resume(0, since)
    work(throughput, 0, since + 1.0, work_seconds)
    throughput.rest(0, since + 1.0)
    return since + 1.0


def test_nothing_is_known_before_the_first_work() -> None:
    assert Throughput(workers=2).work_per_second == 0.0


def test_the_first_lone_request_stands_in_for_what_is_not_known() -> None:
    throughput = Throughput(workers=2)
    lone(throughput, 100.0, work_seconds=30.0)
    assert throughput.work_per_second == pytest.approx(30.0)


def test_the_rate_is_that_of_all_workers_together() -> None:
    throughput = Throughput(workers=2)
    fill(throughput, 0.0, 100.0, rate_of_each=15.0)
    assert throughput.work_per_second == pytest.approx(30.0, rel=0.05)


def test_idle_time_does_not_count() -> None:
    throughput = Throughput(workers=2)
    now = fill(throughput, 0.0, 50.0, rate_of_each=15.0)
    fill(throughput, now + 3600.0, 50.0, rate_of_each=15.0)
    assert throughput.work_per_second == pytest.approx(30.0, rel=0.05)


def test_lone_requests_do_not_change_what_load_has_shown() -> None:
    throughput = Throughput(workers=2)
    now = fill(throughput, 0.0, 50.0, rate_of_each=15.0)
    before = throughput.work_per_second
    for _ in range(1_000):
        now = lone(throughput, now + 10.0, work_seconds=1.0)
    assert throughput.work_per_second == before


def test_eight_windows_under_load_replace_what_was_assumed() -> None:
    throughput = Throughput(workers=2)
    now = lone(throughput, 0.0, work_seconds=1.0)
    fill(throughput, now, ENOUGH_SECONDS / 30.0 + 2, rate_of_each=15.0)
    assert throughput.work_per_second == pytest.approx(30.0, rel=0.1)


def test_work_that_began_before_the_other_worker_came_counts_in_part() -> None:
    throughput = Throughput(workers=2)
    throughput.resume(0, 0.0)
    throughput.resume(1, 5.0)
    for worker in (0, 1):
        work(throughput, worker, 15.0, 300.0 if worker == 0 else 200.0)
    assert throughput.work_per_second == pytest.approx(40.0)  # 20 a second each, for 10 seconds


def test_a_burst_shows_its_rate_while_it_is_encoded_and_while_it_is_decoded() -> None:
    throughput = Throughput(workers=1)
    throughput.resume(0, 0.0)
    now, rates = 0.0, []
    for _ in range(10):  # a window costs 0.9 s of encoding and 0.1 s of decoding
        for _ in range(8):
            now += 0.9
            throughput.done(0, now, encoded=30.0)
            rates.append(throughput.work_per_second)
        now += 0.8
        throughput.done(0, now, decoded=240.0)
        rates.append(throughput.work_per_second)
    assert throughput.encoding_share == pytest.approx(0.9)
    assert rates[-20:] == pytest.approx([30.0] * 20, rel=0.1)


def test_a_machine_that_has_become_slower_is_found_out() -> None:
    throughput = Throughput(workers=2)
    now = fill(throughput, 0.0, 500.0, rate_of_each=15.0)
    fill(throughput, now, 3 * MEMORY_SECONDS / 10.0, rate_of_each=5.0)
    assert throughput.work_per_second == pytest.approx(10.0, rel=0.1)


def test_a_fading_rate_may_fade_by_another_amount() -> None:
    rate = FadingRate()
    rate.add(10.0, 30.0, fading=30.0)
    rate.add(0.0, MEMORY_SECONDS, fading=MEMORY_SECONDS)
    assert (rate.amount, rate.per) == (0.0, MEMORY_SECONDS)

"""The scheduling policy by simulation: thousands of random arrivals, then its promises."""

import random
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from serve_app.engine.policy import BatchLimits, FairQueue, Stage
from tests.unit.simulation import COST, STAGES, Request, Simulation

STAGE_PLANS = st.sampled_from([STAGES[::2], STAGES, (Stage.ENCODE,), STAGES[:3]])


@st.composite
def traffic(draw: st.DrawFn) -> list[Request]:
    n_requests = draw(st.integers(1, 30))
    return [
        Request(
            identity=n,
            arrival=draw(st.integers(0, 400)),
            windows=draw(st.integers(1, 8)),
            seconds=draw(st.sampled_from([1.0, 15.0, 30.0])),
            parallel=draw(st.integers(1, 8)),
            weight=draw(st.sampled_from([0.5, 1.0, 4.0])),
            key=draw(st.sampled_from("abc")),
            stages=draw(STAGE_PLANS),
            cancel_at=draw(st.none() | st.integers(401, 800)),
        )
        for n in range(n_requests)
    ]


LIMITS = st.builds(
    BatchLimits,
    encode=st.integers(1, 4),
    decode=st.integers(1, 16),
    slack_seconds=st.sampled_from([0.0, 15.0, 60.0]),
)


@settings(max_examples=60, deadline=None)
@given(traffic(), st.integers(1, 8), LIMITS)
def test_no_window_is_lost_or_done_twice(
    requests: list[Request], workers: int, limits: BatchLimits
) -> None:
    simulation = Simulation(requests, workers, limits).run()
    done = Counter(item.sequence for _, batch in simulation.batches for item in batch)
    assert set(done.values()) <= {1}
    for request in requests:
        if request.identity not in simulation.cancelled:
            assert request.finished == request.windows


@settings(max_examples=60, deadline=None)
@given(traffic(), st.integers(1, 8), LIMITS)
def test_a_batch_is_of_one_kind_and_within_its_limit(
    requests: list[Request], workers: int, limits: BatchLimits
) -> None:
    for _, batch in Simulation(requests, workers, limits).run().batches:
        assert len({(item.stage, item.key) for item in batch}) == 1
        assert 1 <= len(batch) <= limits.of(batch[0].stage)


@settings(max_examples=60, deadline=None)
@given(traffic(), st.integers(1, 8), LIMITS)
def test_work_of_a_cancelled_request_is_never_started_afterwards(
    requests: list[Request], workers: int, limits: BatchLimits
) -> None:
    simulation = Simulation(requests, workers, limits).run()
    cancel_times = {r.identity: r.cancel_at for r in requests if r.identity in simulation.cancelled}
    for time, batch in simulation.batches:
        for item in batch:
            cancelled_at = cancel_times.get(item.request)
            assert cancelled_at is None or time < cancelled_at


@pytest.mark.parametrize("workers", [1, 2, 4])
@pytest.mark.parametrize("backlog", [1, 3, 20])
def test_a_newcomer_is_served_before_a_long_files_next_window(workers: int, backlog: int) -> None:
    files = [Request(n, arrival=0, windows=240, parallel=8) for n in range(backlog)]
    newcomer = Request(99, arrival=5_000, windows=1, seconds=5.0)
    simulation = Simulation([*files, newcomer], workers).run(until=10_000)
    after = [batch for time, batch in simulation.batches if time >= newcomer.arrival]
    first = next(n for n, batch in enumerate(after) if any(i.request == 99 for i in batch))
    assert first == 0


@pytest.mark.parametrize("workers", [1, 2])
def test_a_two_hour_file_delays_a_dictation_chunk_by_one_batch_in_service(workers: int) -> None:
    def latency(with_file: bool) -> int:
        requests = [Request(n, arrival=1_000 * (n + 1), windows=1, seconds=5.0) for n in range(20)]
        if with_file:
            requests.append(Request(99, arrival=0, windows=240))
        Simulation(requests, workers).run()
        return max((r.finished_at or 0) - r.arrival for r in requests if r.identity != 99)

    in_service = max(COST.values())
    # One batch in service when it arrives, and one more before each of its two stages.
    assert latency(with_file=True) <= latency(with_file=False) + 2 * in_service


@settings(max_examples=30, deadline=None)
@given(
    st.lists(st.sampled_from([0.5, 1.0, 2.0, 3.0]), min_size=2, max_size=6),
    st.sampled_from([5.0, 15.0, 30.0]),
    st.integers(1, 4),
)
def test_service_is_shared_by_weight_in_audio_seconds(
    weights: list[float], other_seconds: float, workers: int
) -> None:
    requests = [
        Request(n, 0, 10_000, 30.0 if n else other_seconds, parallel=50, weight=weight)
        for n, weight in enumerate(weights)
    ]
    horizon = 2_000
    simulation = Simulation(requests, workers).run(until=horizon)
    shares = [simulation.served_seconds(r.identity, horizon) / r.weight for r in requests]
    assert max(shares) <= min(shares) * 1.1 + 50 * 30 / min(weights)


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 8), st.integers(1, 4))
def test_no_request_starves_under_a_stream_of_newcomers(parallel: int, workers: int) -> None:
    patient = Request(0, arrival=0, windows=20, parallel=parallel)
    # Nine tenths of what the workers can take, for as long as the patient one needs.
    stream = [Request(n, 20 * n // workers, windows=1, seconds=5.0) for n in range(1, 400)]
    Simulation([patient, *stream], workers).run(until=400 * 20 // workers)
    assert patient.finished == patient.windows


@pytest.mark.parametrize("parallel", [1, 8])
@pytest.mark.parametrize("workers", [1, 2])
def test_a_file_keeps_its_share_beside_clients_that_never_pause(
    workers: int, parallel: int
) -> None:
    file = Request(0, arrival=0, windows=1_000, parallel=parallel)
    clients = [Request(n, 0, windows=1, reposts=10_000) for n in range(1, 9)]
    horizon = 20_000
    simulation = Simulation([file, *clients], workers).run(until=horizon)
    served = sum(simulation.served_seconds(r.identity, horizon) for r in simulation.requests)
    assert simulation.served_seconds(0, horizon) >= 0.8 * served / 9


def test_thousands_of_arrivals_are_all_served() -> None:
    chance = random.Random(20261121)
    requests = [
        Request(
            n,
            arrival=chance.randrange(30_000),
            windows=chance.choice([1, 1, 1, 1, 2, 3, 20]),
            seconds=chance.choice([5.0, 15.0, 30.0]),
            key=chance.choice("ab"),
            cancel_at=chance.choice([None, None, None, chance.randrange(45_000)]),
        )
        for n in range(2_000)
    ]
    simulation = Simulation(requests, workers=4).run()
    left = [r for r in requests if r.identity not in simulation.cancelled]
    assert all(r.finished == r.windows for r in left)
    assert len(left) + len(simulation.cancelled) == 2_000


def test_decode_batches_grow_across_requests() -> None:
    requests = [Request(n, arrival=0, windows=1, seconds=15.0) for n in range(16)]
    simulation = Simulation(requests, workers=2).run()
    sizes = [len(b) for _, b in simulation.batches if b[0].stage is Stage.GENERATE]
    assert sum(sizes) == 16
    assert sum(sizes) / len(sizes) >= 4


def test_idle_workers_share_what_is_ready() -> None:
    queue = FairQueue(BatchLimits(decode=8))
    for request in range(4):
        queue.open(request)
        queue.add(request, Stage.GENERATE, "k", queue.charge(request, 15.0), 15.0)
    assert [len(queue.take(idle)) for idle in (2, 1)] == [2, 2]


def test_a_long_file_is_decoded_in_small_batches_only_while_short_requests_come_in() -> None:
    file = Request(0, arrival=0, windows=400, parallel=8)
    dictation = [Request(n, 1_000 + 100 * n, windows=1, seconds=5.0) for n in range(1, 11)]
    simulation = Simulation([file, *dictation], workers=1, limits=BatchLimits(bulk_decode=2)).run()
    sizes = [
        (time, len(batch))
        for time, batch in simulation.batches
        if batch[0].request == 0 and batch[0].stage is Stage.GENERATE
    ]
    assert max(size for time, size in sizes if time < 1_000) == 8
    assert max(size for time, size in sizes if 1_200 <= time < 2_000) == 2
    assert max(size for time, size in sizes if time > 2_500) == 8


def test_a_lone_long_file_is_decoded_in_full_batches_from_the_start() -> None:
    limits = BatchLimits(bulk_decode=2)
    simulation = Simulation([Request(0, 0, windows=80)], workers=1, limits=limits).run()
    decodes = [batch for _, batch in simulation.batches if batch[0].stage is Stage.GENERATE]
    assert {len(batch) for batch in decodes} == {8}

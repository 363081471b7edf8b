"""The order of work by simulation: thousands of random arrivals, then what the queue promises."""

import random
from collections import Counter

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from serve_app.caller import Priority
from serve_app.engine.queue import (
    HEAD_START_SECONDS,
    QUICK,
    QUIET_SECONDS,
    BatchLimits,
    FairQueue,
    Job,
    Stage,
    Step,
)
from serve_app.engine.request import Demand, Request
from tests.unit.simulation import COST, STAGES, Arrival, Simulation

PRIORITIES = st.sampled_from(Priority)
STAGE_PLANS = st.sampled_from([STAGES[::2], STAGES, (Stage.ENCODE,), STAGES[:3]])


@st.composite
def traffic(draw: st.DrawFn) -> list[Arrival]:
    n_arrivals = draw(st.integers(1, 30))
    return [
        Arrival(
            identity=n,
            at=draw(st.integers(0, 400)),
            windows=draw(st.integers(1, 8)),
            seconds=draw(st.sampled_from([1.0, 15.0, 30.0])),
            parallel=draw(st.integers(1, 8)),
            key=draw(st.sampled_from("abc")),
            priority=draw(PRIORITIES),
            stages=draw(STAGE_PLANS),
            cancel_at=draw(st.none() | st.integers(401, 800)),
        )
        for n in range(n_arrivals)
    ]


LIMITS = st.builds(
    BatchLimits,
    encode=st.integers(1, 4),
    decode=st.integers(1, 16),
    spread=st.booleans(),
    slack_seconds=st.sampled_from([0.0, 15.0, 60.0]),
)


def no_window_is_lost_or_done_twice(simulation: Simulation) -> bool:
    done = Counter((id(one.window), one.stage) for _, batch in simulation.batches for one in batch)
    served = [a for a in simulation.arrivals if a.identity not in simulation.cancelled]
    return set(done.values()) <= {1} and all(a.finished == a.windows for a in served)


def batches_are_of_one_kind_and_within_their_limit(simulation: Simulation) -> bool:
    return all(
        len({(one.stage, one.key) for one in batch}) == 1
        and 1 <= len(batch) <= simulation.limits.of(batch[0].stage)
        for _, batch in simulation.batches
    )


def work_of_cancelled_requests_is_never_started_afterwards(simulation: Simulation) -> bool:
    times = {a.identity: a.cancel_at for a in simulation.arrivals}
    return all(
        one.identity not in simulation.cancelled or time < (times[one.identity] or 0)
        for time, batch in simulation.batches
        for one in batch
    )


@given(traffic(), st.integers(1, 8), LIMITS)
def test_whatever_the_traffic(arrivals: list[Arrival], workers: int, limits: BatchLimits) -> None:
    simulation = Simulation(arrivals, workers, limits).run()
    assert no_window_is_lost_or_done_twice(simulation)
    assert batches_are_of_one_kind_and_within_their_limit(simulation)
    assert work_of_cancelled_requests_is_never_started_afterwards(simulation)


@pytest.mark.parametrize("workers", [1, 2, 4])
@pytest.mark.parametrize("backlog", [1, 3, 20])
def test_a_newcomer_is_served_before_a_long_files_next_window(workers: int, backlog: int) -> None:
    files = [Arrival(n, at=0, windows=240, parallel=8) for n in range(backlog)]
    newcomer = Arrival(99, at=5_000, windows=1, seconds=5.0)
    simulation = Simulation([*files, newcomer], workers).run(until=10_000)
    after = [batch for time, batch in simulation.batches if time >= newcomer.at]
    assert any(one.identity == 99 for one in after[0])


@pytest.mark.parametrize("workers", [1, 2])
def test_a_two_hour_file_delays_a_dictation_chunk_by_one_batch_in_service(workers: int) -> None:
    def latency(with_file: bool) -> int:
        arrivals = [Arrival(n, at=1_000 * (n + 1), windows=1, seconds=5.0) for n in range(20)]
        if with_file:
            arrivals.append(Arrival(99, at=0, windows=240))
        Simulation(arrivals, workers).run()
        return max((a.finished_at or 0) - a.at for a in arrivals if a.identity != 99)

    in_service = max(COST.values())
    # Its next step is queued before a worker looks for other work, so it waits only once.
    assert latency(with_file=True) <= latency(with_file=False) + in_service


@given(
    st.lists(st.sampled_from([5.0, 15.0, 30.0]), min_size=2, max_size=6),
    st.integers(1, 4),
)
def test_service_is_shared_evenly_in_audio_seconds(lengths: list[float], workers: int) -> None:
    arrivals = [Arrival(n, 0, 10_000, seconds, parallel=50) for n, seconds in enumerate(lengths)]
    horizon = 2_000
    served = Simulation(arrivals, workers).run(until=horizon).served_seconds(horizon)
    shares = [served[a.identity] for a in arrivals]
    assert max(shares) <= min(shares) * 1.1 + 50 * 30


@given(st.integers(1, 8), st.integers(1, 4))
def test_no_request_starves_under_a_stream_of_newcomers(parallel: int, workers: int) -> None:
    patient = Arrival(0, at=0, windows=20, parallel=parallel)
    # Nine tenths of what the workers can take, for as long as the patient one needs.
    stream = [Arrival(n, 20 * n // workers, windows=1, seconds=5.0) for n in range(1, 400)]
    Simulation([patient, *stream], workers).run(until=400 * 20 // workers)
    assert patient.finished == patient.windows


@pytest.mark.parametrize("parallel", [1, 8])
@pytest.mark.parametrize("workers", [1, 2])
def test_a_file_keeps_its_share_beside_clients_that_never_pause(
    workers: int, parallel: int
) -> None:
    file = Arrival(0, at=0, windows=1_000, parallel=parallel)
    clients = [Arrival(n, 0, windows=1, reposts=10_000) for n in range(1, 9)]
    horizon = 20_000
    served = Simulation([file, *clients], workers).run(until=horizon).served_seconds(horizon)
    assert served[0] >= 0.8 * sum(served.values()) / 9


@given(st.lists(PRIORITIES, min_size=2, max_size=6), st.integers(1, 4))
def test_priority_is_a_head_start_and_not_a_bigger_share(
    priorities: list[Priority], workers: int
) -> None:
    arrivals = [
        Arrival(n, 0, 10_000, parallel=10, priority=priority)
        for n, priority in enumerate(priorities)
    ]
    horizon = 4_000
    served = Simulation(arrivals, workers).run(until=horizon).served_seconds(horizon)
    shares = [served[a.identity] for a in arrivals]
    queued_at_once = 10 * 30
    assert max(shares) <= min(shares) * 1.1 + HEAD_START_SECONDS + queued_at_once


@pytest.mark.parametrize("priority", [Priority.AUTO, Priority.BULK])
def test_a_file_keeps_its_share_beside_interactive_requests_that_never_end(
    priority: Priority,
) -> None:
    file = Arrival(0, at=0, windows=1_000, priority=priority)
    others = [
        Arrival(n, 0, windows=3, reposts=10_000, priority=Priority.INTERACTIVE) for n in range(1, 5)
    ]
    horizon = 10_000
    served = Simulation([file, *others], workers=2).run(until=horizon).served_seconds(horizon)
    assert served[0] >= 0.8 * sum(served.values()) / 5


@pytest.mark.parametrize("workers", [1, 2])
def test_a_bulk_request_is_passed_however_short_it_is(workers: int) -> None:
    bulk = [Arrival(n, 0, windows=1, priority=Priority.BULK) for n in range(200)]
    newcomer = Arrival(999, at=500, windows=1)
    simulation = Simulation([*bulk, newcomer], workers).run(until=5_000)
    after = [batch for time, batch in simulation.batches if time >= newcomer.at]
    assert any(one.identity == 999 for one in after[0])


def dictation_beside_a_file() -> tuple[FairQueue, Request, Request]:
    """A queue of a machine with two workers that has served a chunk, and then has two windows of a
    file; the chunk's client and the file.
    """
    queue = FairQueue(BatchLimits(bulk_workers=1, decode=1))
    client, file = Request(), Request(Demand(priority=Priority.BULK))
    queue.open(client)
    queue.open(file)
    chunk = queued(queue, client)
    queue.finish(queue.take() or [chunk])
    for _ in range(2):
        queued(queue, file)
    return queue, client, file


def test_a_file_leaves_one_worker_to_dictation() -> None:
    queue, client, file = dictation_beside_a_file()
    first = queue.take(2)
    assert [job.request for job in first] == [file]
    assert queue.take(1) == []
    chunk = queued(queue, client)
    assert queue.take(1) == [chunk]
    queue.finish(first)
    assert [job.request for job in queue.take(1)] == [file]


def test_a_file_has_every_worker_once_no_dictation_has_come_for_a_while() -> None:
    queue, _, file = dictation_beside_a_file()
    served = 0.0
    while served < QUIET_SECONDS:
        batch = queue.take(2)
        served += batch[0].seconds
        queued(queue, file)
        queue.finish(batch)
    assert queue.take(2)
    assert queue.take(1)


def test_an_interactive_file_goes_ahead_of_bulk_beyond_its_first_minute() -> None:
    def latency(priority: Priority) -> int:
        files = [Arrival(n, 0, windows=100, priority=Priority.BULK) for n in range(5)]
        meeting = Arrival(99, at=2_000, windows=10, priority=priority)
        Simulation([*files, meeting], workers=1).run(until=20_000)
        return (meeting.finished_at or 20_000) - meeting.at

    assert latency(Priority.INTERACTIVE) < latency(Priority.AUTO) / 2


@pytest.mark.parametrize(
    ("priority", "after_a_minute", "beyond"),
    [
        (Priority.AUTO, True, False),
        (Priority.INTERACTIVE, True, True),
        (Priority.BULK, False, False),
    ],
)
def test_a_request_is_interactive_as_far_as_its_priority_says(
    priority: Priority, after_a_minute: bool, beyond: bool
) -> None:
    request = Request(Demand(audio_seconds=3600.0, priority=priority))
    request.queue(60.0)
    assert request.is_interactive is after_a_minute
    request.queue(1.0)
    assert request.is_interactive is beyond


def test_a_short_request_stays_interactive_however_many_windows_it_takes() -> None:
    request = Request(Demand(audio_seconds=50.0, work_seconds=52.0))
    request.queue(52.0)
    request.queue(200.0, expected=False)  # encoded in full, sampled, heard again
    assert request.is_interactive
    assert request.has_head_start
    assert request.left_with_head_start == request.left_seconds == 252.0


def test_nobody_waits_for_a_request_that_is_closed() -> None:
    queue, request = FairQueue(BatchLimits()), Request()
    queue.open(request)
    assert request.is_interactive
    queue.close(request)
    assert not request.is_interactive


def test_thousands_of_arrivals_are_all_served() -> None:
    chance = random.Random(20261121)
    arrivals = [
        Arrival(
            n,
            at=chance.randrange(30_000),
            windows=chance.choice([1, 1, 1, 1, 2, 3, 20]),
            seconds=chance.choice([5.0, 15.0, 30.0]),
            key=chance.choice("ab"),
            cancel_at=chance.choice([None, None, None, chance.randrange(45_000)]),
        )
        for n in range(2_000)
    ]
    simulation = Simulation(arrivals, workers=4).run()
    left = [a for a in arrivals if a.identity not in simulation.cancelled]
    assert all(a.finished == a.windows for a in left)
    assert len(left) + len(simulation.cancelled) == 2_000


def test_decode_batches_grow_across_requests() -> None:
    arrivals = [Arrival(n, at=0, windows=1, seconds=15.0) for n in range(16)]
    simulation = Simulation(arrivals, workers=2).run()
    sizes = [len(b) for _, b in simulation.batches if b[0].stage is Stage.GENERATE]
    assert sum(sizes) == 16
    assert sum(sizes) / len(sizes) >= 4


def test_idle_workers_share_what_is_ready() -> None:
    queue = FairQueue(BatchLimits(decode=8))
    for _ in range(4):
        request = Request()
        queue.open(request)
        queue.add(Job(request, Step(Stage.GENERATE, "k")))
    assert [len(queue.take(idle)) for idle in (2, 1)] == [2, 2]


@pytest.mark.parametrize(("spread", "batches"), [(True, [4, 4, 4, 4]), (False, [8, 8])])
def test_on_a_gpu_idle_workers_do_not_make_half_batches(spread: bool, batches: list[int]) -> None:
    limits = BatchLimits(encode=8, decode=8, spread=spread)
    simulation = Simulation([Arrival(n, at=0, windows=1) for n in range(8)], 2, limits).run()
    assert [len(batch) for _, batch in simulation.batches] == batches


def queued(queue: FairQueue, request: Request, seconds: float = 15.0) -> Job:
    """A window of a request, which waits to be encoded."""
    job = Job(request, Step(Stage.ENCODE, seconds=seconds))
    queue.add(job)
    return job


def go_on(queue: FairQueue, job: Job, stage: Stage, seconds: float = 0.0) -> None:
    """Serve a job that waits, and queue its next step."""
    assert job in queue.take()
    job.step = Step(stage, "k", seconds=seconds)
    queue.add(job)


@pytest.mark.parametrize(
    ("stage", "seconds"), [(Stage.ENCODE, 30.0), (Stage.GENERATE, 7.5), (Stage.GENERATE, 0.0)]
)
def test_what_a_window_asks_for_again_is_charged_again(stage: Stage, seconds: float) -> None:
    queue, request = FairQueue(BatchLimits()), Request(Demand(work_seconds=15.0))
    queue.open(request)
    job = queued(queue, request, 15.0)
    go_on(queue, job, Stage.GENERATE)
    assert request.queued_seconds == request.total_seconds == 15.0
    go_on(queue, job, stage, seconds)
    # Nobody expected it: the request becomes so much longer.
    assert request.queued_seconds == request.total_seconds == 15.0 + seconds
    assert request.due_at == 15.0 + seconds


def test_windows_that_were_expected_do_not_make_a_request_longer() -> None:
    queue, request = FairQueue(BatchLimits()), Request(Demand(work_seconds=60.0))
    queue.open(request)
    for _ in range(2):
        queued(queue, request, 30.0)
        assert request.total_seconds == 60.0
    queued(queue, request, 30.0)
    assert request.total_seconds == 90.0


def test_a_further_decoding_costs_the_next_windows_of_its_request_their_place() -> None:
    queue = FairQueue(BatchLimits(slack_seconds=0.0))
    costly, cheap = (Request(Demand(priority=Priority.BULK)) for _ in range(2))
    for request in (costly, cheap):
        queue.open(request)
    first = queued(queue, costly)
    go_on(queue, first, Stage.GENERATE, 15.0)
    queue.take()
    queued(queue, costly)
    other = queued(queue, cheap)
    assert queue.take() == [other]


def test_what_is_heard_again_is_work_that_nobody_expected() -> None:
    queue, request = FairQueue(BatchLimits()), Request(Demand(work_seconds=3600.0))
    queue.open(request)
    queued(queue, request, 30.0)
    queue.add(Job(request, Step(Stage.ENCODE, seconds=9.0), is_again=True))
    assert request.total_seconds == 3609.0


@given(
    st.lists(st.tuples(st.sampled_from(Stage), st.sampled_from([0.0, 7.5, 30.0])), max_size=6),
    st.integers(0, 5),
    PRIORITIES,
)
def test_a_window_keeps_its_place_whatever_it_asks_for(
    steps: list[tuple[Stage, float]], n_others: int, priority: Priority
) -> None:
    queue, request = FairQueue(BatchLimits()), Request(Demand(priority=priority))
    queue.open(request)
    job = queued(queue, request)
    place = job.tag
    for stage, seconds in steps:
        queue.jobs.remove(job)
        for _ in range(n_others):
            queued(queue, request)
        job.step = Step(stage, "k", seconds=seconds)
        queue.add(job)
        assert job.tag == place
        assert all(other.tag >= place for other in queue.jobs)


@pytest.mark.parametrize("quick", sorted(QUICK))
@pytest.mark.parametrize("others", [Stage.ENCODE, Stage.GENERATE])
def test_what_is_quick_goes_first(quick: Stage, others: Stage) -> None:
    limits = BatchLimits(decode=4)
    queue, request = FairQueue(limits), Request()
    queue.open(request)
    for _ in range(limits.decode):  # a full batch
        queue.add(Job(request, Step(others, "k")))
    last = Job(request, Step(quick, "k"))
    queue.add(last)
    assert queue.take() == [last]


def test_what_is_quick_does_not_pass_a_request_that_is_due_before_it() -> None:
    queue = FairQueue(BatchLimits(slack_seconds=15.0))
    file, chunk = Request(Demand(priority=Priority.BULK)), Request()
    for request in (file, chunk):
        queue.open(request)
    go_on(queue, queued(queue, file), Stage.ALIGN)
    due = queued(queue, chunk)
    assert queue.take() == [due]


@example(encode=4, decode=2)
@given(encode=st.integers(1, 4), decode=st.integers(1, 16))
def test_a_window_that_is_due_lets_only_so_many_batches_pass(encode: int, decode: int) -> None:
    queue, request = FairQueue(BatchLimits(encode=encode, decode=decode)), Request()
    queue.open(request)
    due = queued(queue, request)
    go_on(queue, due, Stage.GENERATE)
    for _ in range(encode * (decode + 1)):
        queued(queue, request)
    passed = 0
    while due not in queue.take():
        passed += 1
    # A batch of one is full at once.
    assert passed == (max(1, decode // encode) if decode > 1 else 0)


def test_what_waits_for_a_fuller_batch_may_wait_as_long_at_its_next_step() -> None:
    queue, request = FairQueue(BatchLimits(encode=1, decode=2)), Request()
    queue.open(request)
    due = queued(queue, request)
    for _ in range(2):
        go_on(queue, due, Stage.GENERATE)
        for _ in range(3):
            queued(queue, request)
        assert [due in queue.take() for _ in range(2)] == [False, False]


@pytest.mark.parametrize(("is_again", "goes_first"), [(True, "again"), (False, "other")])
def test_what_is_heard_again_is_not_passed_by_what_came_meanwhile(
    is_again: bool, goes_first: str
) -> None:
    queue = FairQueue(BatchLimits(slack_seconds=0.0))
    request, newcomer = (Request(Demand(priority=Priority.BULK)) for _ in range(2))
    queue.open(request)
    queued(queue, request)
    queue.take()
    queue.open(newcomer)
    jobs = {
        "other": queued(queue, newcomer),
        "again": Job(request, Step(Stage.ENCODE, seconds=15.0), is_again=is_again),
    }
    queue.add(jobs["again"])
    assert queue.take() == [jobs[goes_first]]


@given(st.integers(1, 8), st.integers(1, 8), PRIORITIES)
def test_what_is_heard_again_has_the_place_of_the_latest_window_and_is_charged(
    n_windows: int, n_again: int, priority: Priority
) -> None:
    queue, request = FairQueue(BatchLimits()), Request(Demand(priority=priority))
    queue.open(request)
    latest = [queued(queue, request) for _ in range(n_windows)][-1]
    for _ in range(n_again):
        again = Job(request, Step(Stage.ENCODE, seconds=15.0), is_again=True)
        queue.add(again)
        assert again.tag == latest.tag
    assert request.queued_seconds == request.due_at == 15.0 * (n_windows + n_again)


def test_a_long_file_is_decoded_in_small_batches_only_while_short_requests_come_in() -> None:
    file = Arrival(0, at=0, windows=400, parallel=8)
    dictation = [Arrival(n, 1_000 + 100 * n, windows=1, seconds=5.0) for n in range(1, 11)]
    simulation = Simulation([file, *dictation], workers=1, limits=BatchLimits(bulk_decode=2)).run()
    sizes = [
        (time, len(batch))
        for time, batch in simulation.batches
        if batch[0].identity == 0 and batch[0].stage is Stage.GENERATE
    ]
    assert max(size for time, size in sizes if time < 1_000) == 8
    assert max(size for time, size in sizes if 1_200 <= time < 2_000) == 2
    assert max(size for time, size in sizes if time > 2_500) == 8


def test_a_lone_long_file_is_decoded_in_full_batches_from_the_start() -> None:
    limits = BatchLimits(bulk_decode=2)
    simulation = Simulation([Arrival(0, 0, windows=80)], workers=1, limits=limits).run()
    decodes = [batch for _, batch in simulation.batches if batch[0].stage is Stage.GENERATE]
    assert {len(batch) for batch in decodes} == {8}

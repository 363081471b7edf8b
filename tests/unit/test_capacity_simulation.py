"""The simulation against what queueing theory has in closed form, and against the real rules."""

import itertools
from collections.abc import Iterator, Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from loadtest.capacity.cluster import Cluster, Result, served_rtfx
from loadtest.capacity.cores import Cores
from loadtest.capacity.probe import simulated_rtfx
from loadtest.capacity.profile import Call, DecodeCost, MachineProfile, Recipe
from loadtest.capacity.replica import Bounds
from loadtest.capacity.work import PIPELINE_WINDOWS, Workload
from loadtest.dictation import Piece, strangers
from serve_app.settings import AdmissionSettings
from tests.unit.machines import ENCODE, GENERATE, exponential_recipes, machine

SERVICE_SECONDS = 1.0
CHUNK_SECONDS = 15.0


def poisson(profile: MachineProfile, load: float, seed: int = 0, requests: int = 3_000) -> Result:
    """Open-loop arrivals at ``load`` times the rate of one worker."""
    rate = load / SERVICE_SECONDS
    pieces = strangers(60 * rate, CHUNK_SECONDS, seed)
    return Cluster(profile).run(pieces, until=requests / rate)


def mean_wait(profile: MachineProfile, load: float) -> float:
    """Over several runs."""
    latencies = [own for seed in range(6) for own in poisson(profile, load, seed).latencies]
    return sum(latencies) / len(latencies) - SERVICE_SECONDS


def endless() -> Iterator[Piece]:
    return (Piece(0.0, CHUNK_SECONDS, pick) for pick in itertools.count())


def at(*dues: float, seconds: float = CHUNK_SECONDS) -> list[Piece]:
    return [Piece(due, seconds, pick=0) for due in dues]


@pytest.mark.parametrize("load", [0.3, 0.6])
def test_constant_service_waits_as_in_m_d_1(load: float) -> None:
    profile = machine(calls=[[ENCODE]], encode=SERVICE_SECONDS)
    expected = SERVICE_SECONDS * load / (2 * (1 - load))  # Pollaczek-Khinchine
    assert mean_wait(profile, load) == pytest.approx(expected, rel=0.08)


@pytest.mark.parametrize("load", [0.3, 0.6])
def test_exponential_service_waits_as_in_m_m_1(load: float) -> None:
    profile = machine(
        calls=exponential_recipes(mean_tokens=1_000, count=1_000),
        decode=DecodeCost(step=SERVICE_SECONDS / 1_000),
        decode_batch=1,
    )
    expected = SERVICE_SECONDS * load / (1 - load)
    assert mean_wait(profile, load) == pytest.approx(expected, rel=0.1)


@pytest.mark.parametrize("workers", [1, 2, 5])
def test_saturation_is_workers_over_service_time(workers: int) -> None:
    profile = machine(calls=[[ENCODE]], encode=SERVICE_SECONDS, workers=workers)
    found = Cluster(profile).closed_loop(4 * workers, endless(), until=200.0)
    expected = workers * CHUNK_SECONDS / SERVICE_SECONDS
    assert served_rtfx(found, 20.0) == pytest.approx(expected, rel=0.03)


def test_batches_raise_saturation_as_their_costs_say() -> None:
    decode = DecodeCost(call=0.8, window=0.1)
    profile = machine(decode=decode, decode_batch=8)
    found = Cluster(profile).closed_loop(64, endless(), until=400.0)
    assert found.decode_batch == pytest.approx(8, abs=0.2)
    assert served_rtfx(found, 20.0) == pytest.approx(8 * CHUNK_SECONDS / 1.6, rel=0.05)


def test_a_lone_request_takes_the_sum_of_its_calls() -> None:
    decode = DecodeCost(call=0.5, step=0.01, token=0.01)
    calls = [[ENCODE, Call(stage="generate", tokens=20)]]
    found = Cluster(machine(calls=calls, encode=2.0, decode=decode)).run(at(1.0), until=10.0)
    assert found.latencies == [pytest.approx(2.0 + 0.5 + 0.4, abs=0.01)]


def test_everything_that_is_sent_is_answered() -> None:
    profile = machine(encode=0.2, decode=DecodeCost(call=0.3), workers=2)
    found = poisson(profile, 1.5, requests=500)
    assert all(request.ended is not None for request in found.requests)
    assert len(found.latencies) == len(found.requests)


def test_a_long_file_lets_a_short_request_pass() -> None:
    profile = machine(encode=1.0, decode=DecodeCost(call=1.0, window=0.1))
    file = Piece(0.0, 1200.0, pick=0)
    found = Cluster(profile).run([file, Piece(20.0, 15.0, pick=0)], until=100.0)
    long, short = (request.ended for request in found.requests)
    assert long is not None and short is not None
    assert short - 20.0 < 10.0 < long


def test_a_full_replica_refuses_and_those_within_are_quick() -> None:
    profile = machine(calls=[[ENCODE, GENERATE]], encode=0.5, decode=DecodeCost(call=0.5))
    bounds = Bounds(AdmissionSettings(max_wait_seconds=3.0))
    pieces = list(itertools.takewhile(lambda p: p.due < 600, strangers(180, 15.0, seed=1)))
    free = Cluster(profile).run(pieces, until=600)
    bounded = Cluster(profile, bounds=bounds).run(pieces, until=600)
    assert 0.2 < bounded.refused_share < 1.0
    assert bounded.percentiles["p95"] < free.percentiles["p95"] / 5


def test_two_replicas_share_the_load() -> None:
    profile = machine(calls=[[ENCODE]], encode=SERVICE_SECONDS)
    pieces = list(itertools.takewhile(lambda p: p.due < 2000, strangers(72, 15.0, seed=1)))
    one, two = (Cluster(profile, replicas).run(pieces, until=2000) for replicas in (1, 2))
    assert two.percentiles["p95"] < 5 < one.percentiles["p95"]


def test_threads_beyond_the_cores_share_them_evenly() -> None:
    cores = Cores(2)
    for name in range(4):
        cores.add(name, 1.0, now=0.0)
    assert cores.next_end(0.0) == pytest.approx(2.0)


@pytest.mark.parametrize(("jobs", "core_seconds"), [(1, 1.0), (2, 2.0), (4, 4.0)])
def test_core_seconds_are_what_jobs_have_had(jobs: int, core_seconds: float) -> None:
    cores = Cores(2)
    for name in range(jobs):
        cores.add(name, 1.0, now=0.0)
    end = cores.next_end(0.0)
    assert end is not None
    assert len(cores.ended(end)) == jobs
    assert cores.core_seconds == pytest.approx(core_seconds)


def test_a_lone_thread_runs_at_its_own_speed() -> None:
    cores = Cores(2, solo_speed=1.25)
    cores.add("one", 1.0, now=0.0)
    assert cores.next_end(0.0) == pytest.approx(0.8)
    cores.add("two", 1.0, now=0.4)
    assert cores.next_end(0.4) == pytest.approx(0.9)
    assert cores.ended(0.9) == ["one"]


@pytest.mark.parametrize(
    ("seconds", "tokens"), [(15.0, [10, 20, 10, 20, 10]), (15.2, [10, 20, 30, 10, 20])]
)
def test_recipes_of_the_very_length_are_taken_in_the_order_of_picks(
    seconds: float, tokens: list[int]
) -> None:
    recipes = [
        Recipe(audio_seconds=length, calls=(Call(stage="generate", tokens=tokens),))
        for length, tokens in ((15.0, 10), (15.0, 20), (15.4, 30))
    ]
    taken = [Workload(recipes).windows(seconds, pick)[0][0] for pick in range(5)]
    assert [step.payload for step in taken] == pytest.approx(tokens, rel=0.02)


def test_a_request_that_fell_back_goes_another_way_each_time_that_it_comes_round() -> None:
    lucky, unlucky = ((Call(stage="generate", tokens=tokens),) for tokens in (10, 200))
    recipes = [
        Recipe(audio_seconds=15.0, calls=lucky, again=(unlucky,)),
        Recipe(audio_seconds=15.0, calls=(Call(stage="generate", tokens=20),)),
    ]
    taken = [Workload(recipes).windows(15.0, pick)[0][0].payload for pick in range(6)]
    assert taken == [10, 20, 200, 20, 10, 20]


def test_a_machine_of_half_the_speed_takes_twice_as_long_for_everything() -> None:
    profile = machine(encode=0.5, decode=DecodeCost(call=0.1, step=0.01), decode_batch=1)
    slow = profile.at_speed(0.5)
    assert slow.loaded.encode.seconds(1) == 1.0
    assert slow.loaded.decode.seconds([20]) == pytest.approx(0.6)
    assert slow.recipes == profile.recipes


def test_without_fallback_only_first_attempts_are_left() -> None:
    profile = machine(calls=[[ENCODE, GENERATE, ENCODE, GENERATE, GENERATE], [ENCODE]])
    first, silent = profile.without_fallback().recipes
    assert (first.calls, silent.calls) == ((ENCODE, GENERATE), (ENCODE,))


def test_without_fallback_nothing_is_left_to_chance() -> None:
    recipe = Recipe(
        audio_seconds=15.0, calls=(ENCODE, GENERATE), again=((ENCODE, GENERATE, GENERATE),)
    )
    profile = machine().model_copy(update={"recipes": (recipe,)}).without_fallback()
    assert profile.recipes[0].told == ((ENCODE, GENERATE),)


def test_the_probe_of_a_simulated_machine_is_as_fast_as_the_machine() -> None:
    profile = machine(encode=0.5, decode=DecodeCost(window=0.25), decode_batch=1, workers=2)
    expected = 2 * 15.0 / 0.75
    assert simulated_rtfx(profile, clients=4) == pytest.approx(expected, rel=0.05)
    assert simulated_rtfx(profile.at_speed(0.5), clients=4) == pytest.approx(expected / 2, rel=0.05)


@settings(max_examples=50, deadline=None)
@given(st.floats(0.5, 4000), st.integers(0, 100))
def test_every_window_of_a_request_takes_every_step_of_its_recipe(
    seconds: float, pick: int
) -> None:
    recipes = [[ENCODE, GENERATE], [ENCODE, GENERATE, GENERATE]]
    windows = Workload(machine(calls=recipes).recipes).windows(seconds, pick)
    n_windows = max(1, -(-int(seconds * 1000) // 30_000))
    assert len(windows) == n_windows or seconds % 30 < 1e-2
    for number, steps in enumerate(windows):
        stages = [step.stage.name.lower() for step in steps]
        assert stages == [call.stage for call in recipes[(pick + number) % 2]]
        assert [step.seconds for step in steps] == [30.0] + [0.0] * (len(steps) - 1)


def file_seconds(tokens: Sequence[int]) -> float:
    """How long a file takes whose windows have texts of so many tokens, of 0.01 s each."""
    profile = machine(
        calls=[[ENCODE, Call(stage="generate", tokens=count)] for count in tokens],
        decode=DecodeCost(step=0.01),
        decode_batch=1,
        workers=len(tokens),
        audio_seconds=30.0,
    )
    found = Cluster(profile).run(at(0.0, seconds=30.0 * len(tokens)), until=1.0)
    [latency] = found.latencies
    return latency


def test_a_request_has_so_many_windows_in_flight() -> None:
    assert file_seconds([100] * PIPELINE_WINDOWS) == pytest.approx(1.0)
    assert file_seconds([100] * 2 * PIPELINE_WINDOWS) == pytest.approx(2.0)


def test_the_next_window_begins_when_any_of_those_ends() -> None:
    assert file_seconds([1_000, *[100] * (2 * PIPELINE_WINDOWS - 1)]) == pytest.approx(10.0)

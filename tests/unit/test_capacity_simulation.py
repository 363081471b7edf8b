"""The simulation compared with closed forms of queueing theory and with the real rules."""

import itertools
from collections.abc import Iterator, Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loadtest.capacity.cluster import Cluster, Result, served_rtfx
from loadtest.capacity.cores import Cores
from loadtest.capacity.probe import simulated_rtfx
from loadtest.capacity.profile import Call, CallCost, MachineProfile, Recipe, StageCosts
from loadtest.capacity.replica import Bounds
from loadtest.capacity.work import PIPELINE_WINDOWS, Workload
from loadtest.dictation import Piece, strangers
from serve_app.settings import AdmissionSettings
from tests.unit.machines import ENCODE, GENERATE, exponential_recipes, machine, recipe

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


@pytest.mark.parametrize("load", [pytest.param(0.3, marks=pytest.mark.long), 0.6])
def test_constant_service_waits_as_in_m_d_1(load: float) -> None:
    profile = machine(calls=[[ENCODE]], encode=SERVICE_SECONDS)
    expected = SERVICE_SECONDS * load / (2 * (1 - load))  # Pollaczek-Khinchine
    assert mean_wait(profile, load) == pytest.approx(expected, rel=0.08)


@pytest.mark.parametrize("load", [pytest.param(0.3, marks=pytest.mark.long), 0.6])
def test_exponential_service_waits_as_in_m_m_1(load: float) -> None:
    profile = machine(
        calls=exponential_recipes(mean_tokens=1_000, count=1_000),
        decode=CallCost(step=SERVICE_SECONDS / 1_000),
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
    decode = CallCost(call=0.8, window=0.1)
    profile = machine(decode=decode, decode_batch=8)
    found = Cluster(profile).closed_loop(64, endless(), until=400.0)
    assert found.decode_batch == pytest.approx(8, abs=0.2)
    assert served_rtfx(found, 20.0) == pytest.approx(8 * CHUNK_SECONDS / 1.6, rel=0.05)


def test_a_lone_request_takes_the_sum_of_its_calls() -> None:
    decode = CallCost(call=0.5, step=0.01, token=0.01)
    calls = [[ENCODE, Call(stage="generate", tokens=20)]]
    found = Cluster(machine(calls=calls, encode=2.0, decode=decode)).run(at(1.0), until=10.0)
    assert found.latencies == [pytest.approx(2.0 + 0.5 + 0.4, abs=0.01)]


def test_everything_that_is_sent_is_answered() -> None:
    profile = machine(encode=0.2, decode=CallCost(call=0.3), workers=2)
    found = poisson(profile, 1.5, requests=500)
    assert all(request.ended is not None for request in found.requests)
    assert len(found.latencies) == len(found.requests)


def test_a_long_file_lets_a_short_request_pass() -> None:
    profile = machine(encode=1.0, decode=CallCost(call=1.0, window=0.1))
    file = Piece(0.0, 1200.0, pick=0)
    found = Cluster(profile).run([file, Piece(20.0, 15.0, pick=0)], until=100.0)
    long, short = (request.ended for request in found.requests)
    assert long is not None and short is not None
    assert short - 20.0 < 10.0 < long


def test_a_full_replica_refuses_and_those_within_are_quick() -> None:
    profile = machine(calls=[[ENCODE, GENERATE]], encode=0.5, decode=CallCost(call=0.5))
    bounds = Bounds(AdmissionSettings(max_wait_seconds=3.0))
    pieces = list(itertools.takewhile(lambda p: p.due < 200, strangers(180, 15.0, seed=1)))
    free = Cluster(profile).run(pieces, until=200)
    bounded = Cluster(profile, bounds=bounds).run(pieces, until=200)
    assert 0.2 < bounded.refused_share < 1.0
    assert bounded.percentiles["p95"] < free.percentiles["p95"] / 5


def test_two_replicas_share_the_load() -> None:
    profile = machine(calls=[[ENCODE]], encode=SERVICE_SECONDS)
    pieces = list(itertools.takewhile(lambda p: p.due < 500, strangers(72, 15.0, seed=1)))
    one, two = (Cluster(profile, replicas).run(pieces, until=500) for replicas in (1, 2))
    assert two.percentiles["p95"] < 5 < one.percentiles["p95"]


def test_threads_beyond_the_cores_share_them_evenly() -> None:
    cores = Cores(2)
    for name in range(4):
        cores.add(name, 1.0, now=0.0)
    assert cores.next_end(0.0) == pytest.approx(2.0)


@pytest.mark.parametrize(
    ("seconds", "tokens"), [(15.0, [10, 20, 10, 20, 10]), (15.2, [10, 20, 30, 10, 20])]
)
def test_recipes_of_the_very_length_are_taken_in_the_order_of_picks(
    seconds: float, tokens: list[int]
) -> None:
    recipes = [
        recipe(length, [Call(stage="generate", tokens=tokens)])
        for length, tokens in ((15.0, 10), (15.0, 20), (15.4, 30))
    ]
    assert tokens_by_pick(recipes, seconds, 5) == pytest.approx(tokens, rel=0.02)


def tokens_by_pick(recipes: Sequence[Recipe], seconds: float, picks: int) -> list[float]:
    """Of the first call of each request."""
    workload = Workload(recipes)
    return [workload.rounds(seconds, pick)[0][0][0].payload.tokens for pick in range(picks)]


def test_a_machine_of_half_the_speed_takes_twice_as_long_for_everything() -> None:
    profile = machine(encode=0.5, decode=CallCost(call=0.1, step=0.01), decode_batch=1)
    slow = profile.at_speed(0.5)
    assert slow.loaded.encode.seconds([0]) == 1.0
    assert slow.loaded.generate.seconds([20]) == pytest.approx(0.6)
    assert slow.recipes == profile.recipes


def test_the_probe_of_a_simulated_machine_is_as_fast_as_the_machine() -> None:
    profile = machine(encode=0.5, decode=CallCost(window=0.25), decode_batch=1, workers=2)
    expected = 2 * 15.0 / 0.75
    assert simulated_rtfx(profile, clients=4) == pytest.approx(expected, rel=0.05)
    assert simulated_rtfx(profile.at_speed(0.5), clients=4) == pytest.approx(expected / 2, rel=0.05)


@given(st.floats(0.5, 4000), st.integers(0, 100))
def test_every_window_of_a_request_takes_every_step_of_its_recipe(
    seconds: float, pick: int
) -> None:
    recipes = [[ENCODE, GENERATE], [ENCODE, GENERATE, GENERATE]]
    [windows] = Workload(machine(calls=recipes).recipes).rounds(seconds, pick)
    n_windows = max(1, -(-int(seconds * 1000) // 30_000))
    assert len(windows) == n_windows or seconds % 30 < 1e-2
    for number, steps in enumerate(windows):
        assert [step.payload for step in steps] == recipes[(pick + number) % 2]
        assert [step.seconds for step in steps] == [30.0] + [0.0] * (len(steps) - 1)


def test_a_stage_costs_what_its_context_does() -> None:
    costs = StageCosts(
        encode=CallCost(second=0.1),
        generate=CallCost(second=0.01, token_second=0.001),
        align=CallCost(window=0.5),
    )
    calls = (
        Call(stage="encode", context_seconds=10, charged_seconds=10),
        Call(stage="generate", context_seconds=10, tokens=20),
        Call(stage="align", context_seconds=10, tokens=20),
    )
    profile = machine(calls=[calls]).model_copy(update={"loaded": costs})
    found = Cluster(profile).run(at(0.0), until=1.0)
    assert found.latencies == [pytest.approx(1.0 + 0.1 + 0.2 + 0.5)]


def test_windows_of_different_options_or_contexts_share_no_batch() -> None:
    calls = [[ENCODE, Call(stage="generate", key=key)] for key in (0, 1)]
    pieces = [Piece(0.0, CHUNK_SECONDS, pick) for pick in (0, 1)]
    alike, apart = (
        Cluster(machine(calls=own, decode=CallCost(call=1.0))).run(pieces, until=1.0)
        for own in ([calls[0]], calls)
    )
    assert max(alike.latencies) == pytest.approx(1.0)
    assert max(apart.latencies) == pytest.approx(2.0)


def test_lost_speech_is_heard_again_in_parallel_once_all_windows_are_heard() -> None:
    slow, quick = ((ENCODE, Call(stage="generate", tokens=tokens)) for tokens in (100, 50))
    profile = machine(decode=CallCost(step=0.01), decode_batch=1, workers=2)
    rounds = ((slow, quick), (quick, quick), (quick,))
    recovered = Recipe(15.0, rounds)
    found = Cluster(profile.model_copy(update={"recipes": (recovered,)})).run(at(0.0), until=1.0)
    assert found.latencies == [pytest.approx(1.0 + 0.5 + 0.5)]


def test_a_request_is_charged_for_all_that_it_asks_of_the_model() -> None:
    short = Call(stage="encode", context_seconds=10, charged_seconds=10)
    again = Call(stage="generate", context_seconds=10, charged_seconds=5)
    rounds = (((short, GENERATE, again),), ((short, GENERATE),))
    recovered = Recipe(15.0, rounds)
    profile = machine(decode=CallCost(call=1.0)).model_copy(update={"recipes": (recovered,)})
    [request] = Cluster(profile).run(at(0.0), until=1.0).requests
    assert request.account.demand.work_seconds == 10
    assert request.account.queued_seconds == request.account.expected_seconds == 25


def test_a_lone_batch_takes_as_long_as_every_core_needs() -> None:
    profile = machine(encode=1.0, decode=CallCost(call=1.0), workers=2)
    quick = profile.model_copy(update={"alone": {"encode": 0.6}})
    assert Cluster(quick).run(at(0.0), until=1.0).latencies == [pytest.approx(1.6)]


def file_seconds(tokens: Sequence[int]) -> float:
    """How long a file takes whose windows have texts of so many tokens, of 0.01 s each."""
    profile = machine(
        calls=[[ENCODE, Call(stage="generate", tokens=count)] for count in tokens],
        decode=CallCost(step=0.01),
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

"""Quotas of a key: requests at once, and audio per minute, on a clock that the tests move."""

import asyncio
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from serve_app.api.quota import QuotaCore, Quotas
from serve_app.audio.clip import AudioClip
from serve_app.caller import Caller
from serve_app.errors import NotReady, Overloaded, QuotaExceeded
from serve_app.options import ModelFacts, TranscribeOptions
from serve_app.settings import QuotaSettings
from serve_app.transcript import Transcript


class Bench:
    """Quotas alike for every key, and their clock."""

    def __init__(self, *, concurrent: int | None = None, audio: float | None = None) -> None:
        self.now = 1000.0
        self.bounds = QuotaSettings(concurrent_requests=concurrent, audio_seconds_per_minute=audio)
        self.quotas = Quotas(lambda name: self.bounds, lambda: self.now)

    def wait_for(self, seconds: float, key: str = "alice") -> float:
        """How long a clip of ``seconds`` is told to wait; 0.0: it is taken."""
        try:
            self.quotas.charge(key, seconds)
        except QuotaExceeded as exceeded:
            assert exceeded.retry_after_seconds is not None
            return exceeded.retry_after_seconds
        return 0.0


def test_requests_at_once_are_bounded_per_key() -> None:
    quotas = Bench(concurrent=2).quotas
    for key in ("alice", "alice", "bob"):
        quotas.begin(key)
    with pytest.raises(QuotaExceeded, match="at most 2") as raised:
        quotas.begin("alice")
    assert (raised.value.status, raised.value.retry_after_seconds) == (429, 1.0)
    quotas.begin("bob")


def test_a_request_that_ends_makes_room_and_a_refused_one_takes_none() -> None:
    quotas = Bench(concurrent=1).quotas
    quotas.begin("alice")
    for _ in range(3):
        with pytest.raises(QuotaExceeded):
            quotas.begin("alice")
    quotas.end("alice")
    quotas.begin("alice")


def test_without_bounds_nothing_is_refused() -> None:
    bench = Bench()
    for _ in range(1000):
        bench.quotas.begin("alice")
        assert bench.wait_for(3600) == 0


def test_a_minutes_audio_may_come_at_once_and_then_as_it_flows_in() -> None:
    bench = Bench(audio=120)
    assert [bench.wait_for(40) for _ in range(4)] == [0, 0, 0, 20]
    bench.now += 19
    assert bench.wait_for(40) == pytest.approx(1)
    bench.now += 1
    assert bench.wait_for(40) == 0


def test_keys_do_not_share_their_minutes() -> None:
    bench = Bench(audio=60)
    assert bench.wait_for(60, "alice") == bench.wait_for(60, "bob") == 0
    assert bench.wait_for(1, "alice") == pytest.approx(1)


def test_audio_longer_than_the_bound_is_taken_when_nothing_was_used_and_paid_off_after() -> None:
    bench = Bench(audio=60)
    assert bench.wait_for(1) == 0
    assert bench.wait_for(600) == pytest.approx(1)
    bench.now += 1
    assert bench.wait_for(600) == 0
    assert bench.wait_for(60) == pytest.approx(600)
    assert bench.wait_for(1) == pytest.approx(541)


def test_what_was_refunded_can_be_used_again() -> None:
    bench = Bench(audio=60)
    cost = bench.quotas.charge("alice", 60)
    bench.now += 10
    bench.quotas.refund("alice", cost)
    assert bench.wait_for(60) == 0


def test_a_changed_bound_holds_from_then_on() -> None:
    bench = Bench(audio=60)
    assert bench.wait_for(60) == 0
    bench.bounds = QuotaSettings(audio_seconds_per_minute=None)
    assert bench.wait_for(600) == 0
    bench.bounds = QuotaSettings(audio_seconds_per_minute=600)
    bench.now += 30
    assert bench.wait_for(301) == pytest.approx(0.1)


@given(
    bound=st.floats(0.1, 10_000),
    clips=st.lists(st.tuples(st.floats(0, 20_000), st.floats(0, 100)), max_size=40),
)
def test_who_waits_as_told_is_taken_and_the_bound_holds(
    bound: float, clips: list[tuple[float, float]]
) -> None:
    bench = Bench(audio=bound)
    taken = 0.0
    for seconds, pause in clips:
        bench.now += pause
        if wait := bench.wait_for(seconds):
            bench.now += math.ceil(wait)
            assert bench.wait_for(seconds) == 0
        taken += seconds
        flowed_in = bound * (bench.now - 1000) / 60
        assert taken <= (max(bound, seconds) + flowed_in) * 1.000_1


class DeafCore:
    """Hears nothing in any audio; where it was given an ``error`` it raises that instead."""

    def __init__(self, error: Exception | None = None) -> None:
        self.error = error
        self.callers: list[Caller] = []

    async def admit(self, caller: Caller, body_bytes: int | None) -> None:
        if self.error:
            raise self.error

    async def transcribe(
        self, clip: AudioClip, options: TranscribeOptions, caller: Caller
    ) -> Transcript:
        self.callers.append(caller)
        if self.error:
            raise self.error
        return Transcript((), "en", 1.0, clip.received_seconds, 0.0)

    async def model(self) -> ModelFacts:
        raise NotReady("deaf")


def send(core: QuotaCore, seconds: float, key: str = "alice") -> Transcript:
    clip = AudioClip(np.zeros(160, np.int16), received_seconds=seconds)
    return asyncio.run(core.transcribe(clip, TranscribeOptions(), Caller("id", key)))


def test_audio_over_the_quota_does_not_reach_the_core() -> None:
    deaf = DeafCore()
    core = QuotaCore(deaf, Bench(audio=60).quotas)
    assert send(core, 45).duration_seconds == 45
    with pytest.raises(QuotaExceeded, match=r"60 s of audio a minute.*again in \d+ s") as raised:
        send(core, 45)
    assert raised.value.retry_after_seconds == pytest.approx(30)
    assert len(deaf.callers) == 1


def test_without_keys_there_is_no_quota() -> None:
    core = QuotaCore(DeafCore(), Bench(audio=60).quotas)
    assert [send(core, 3600, key="").duration_seconds for _ in range(2)] == [3600, 3600]


@pytest.mark.parametrize("error", [Overloaded("full"), RuntimeError("out of memory")])
def test_audio_that_gets_an_error_costs_nothing(error: Exception) -> None:
    deaf = DeafCore(error)
    core = QuotaCore(deaf, Bench(audio=60).quotas)
    for _ in range(2):
        with pytest.raises(type(error)):
            send(core, 60)
    deaf.error = None
    assert send(core, 60).duration_seconds == 60


def test_who_pays_off_audio_is_refused_before_more_of_it_comes() -> None:
    bench = Bench(audio=60)
    core = QuotaCore(DeafCore(), bench.quotas)
    asyncio.run(core.admit(Caller("id", "alice"), None))
    send(core, 90)
    with pytest.raises(QuotaExceeded) as raised:
        asyncio.run(core.admit(Caller("id", "alice"), None))
    assert raised.value.retry_after_seconds == pytest.approx(30)
    bench.now += 30
    asyncio.run(core.admit(Caller("id", "alice"), None))
    asyncio.run(core.admit(Caller("id", ""), None))


def test_the_model_is_the_cores() -> None:
    with pytest.raises(NotReady, match="deaf"):
        asyncio.run(QuotaCore(DeafCore(), Bench().quotas).model())

"""What the HTTP side makes of the model processes' answers, without Ray."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import numpy as np
import pytest
from ray.exceptions import RayActorError
from ray.serve.exceptions import BackPressureError

from serve_app import metrics
from serve_app.audio.clip import AudioClip
from serve_app.caller import Caller, Priority
from serve_app.engine.admission import Admission, Load
from serve_app.errors import NotReady, Overloaded
from serve_app.options import TranscribeOptions
from serve_app.serving import ray_internals
from serve_app.serving.remote_service import RemoteService
from serve_app.settings import AdmissionSettings


class Replicas:
    """A handle whose calls end as ``answer`` does."""

    deployment_name = "Transcriber"

    def __init__(self, answer: Callable[[], Awaitable[Any]]) -> None:
        self._answer = answer
        self.describe = self.transcribe = self

    def remote(self, *_: Any) -> Awaitable[Any]:
        return self._answer()

    def broadcast(self, method: str) -> "Replicas":
        assert method == "load"
        return self

    async def results_async(self, **_: Any) -> list[Any]:
        return [await self._answer()]


@pytest.fixture(autouse=True)
def plain_handles(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ray_internals, "inside_the_call", lambda handle: handle)


def service(answer: Callable[[], Awaitable[Any]]) -> RemoteService:
    return RemoteService("tiny.en", Replicas(answer), metrics.NO_METRICS)


def test_a_full_queue_is_told_as_overload_before_the_body_is_read() -> None:
    async def full() -> None:
        raise BackPressureError(128, 128)

    with pytest.raises(Overloaded):
        asyncio.run(service(full).model())


def test_probes_and_handshakes_that_come_together_ask_a_replica_once() -> None:
    n_asked = 0

    async def describe() -> str:
        nonlocal n_asked
        n_asked += 1
        await asyncio.sleep(0.01)
        return "facts"

    async def asked() -> list[Any]:
        model = service(describe)
        return [*await asyncio.gather(*(model.model() for _ in range(100))), await model.model()]

    assert (asyncio.run(asked()), n_asked) == (["facts"] * 101, 1)


def test_after_a_death_the_replicas_are_asked_anew_whether_one_lives() -> None:
    answers = ["facts", RayActorError(), RayActorError(), "facts"]

    async def answer() -> Any:
        given = answers.pop(0)
        if isinstance(given, Exception):
            raise given
        return given

    async def scene() -> None:
        model, caller = service(answer), Caller("id", "", Priority.AUTO)
        clip = AudioClip.of(np.zeros(16_000, np.int16))
        await model.admit(caller, None)
        with pytest.raises(NotReady, match="died twice"):
            await model.transcribe(clip, TranscribeOptions(), caller)
        await model.admit(caller, None)

    asyncio.run(scene())
    assert not answers


def test_everybody_who_asks_at_once_gets_the_same_fresh_live_load() -> None:
    admission = Admission(AdmissionSettings(), 8, 1)

    async def load() -> Load:
        await asyncio.sleep(0.01)
        load = admission.load(lambda _: False, 0.0)
        return Load(**{**vars(load), "live_sessions": frozenset("a"), "live_capacity": 3.0})

    async def asked() -> list[Any]:
        model = service(load)
        return await asyncio.gather(*(model.live_load() for _ in range(4)))

    loads = asyncio.run(asked())
    assert {(one.sessions, one.capacity) for one in loads} == {(frozenset("a"), 3.0)}

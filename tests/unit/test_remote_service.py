"""What the HTTP side makes of the model processes' answers, without Ray."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from ray.serve.exceptions import BackPressureError

from serve_app import metrics
from serve_app.engine.admission import Admission, Load
from serve_app.errors import Overloaded
from serve_app.serving import ray_internals
from serve_app.serving.remote_service import RemoteService
from serve_app.settings import AdmissionSettings


class Replicas:
    """A handle whose calls end as ``answer`` does."""

    deployment_name = "Transcriber"

    def __init__(self, answer: Callable[[], Awaitable[Any]]) -> None:
        self._answer = answer
        self.describe = self

    def remote(self) -> Awaitable[Any]:
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

"""What a model process does with a request whose device fails, without Ray."""

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest

from serve_app.caller import Caller
from serve_app.engine.health import MOST_FAILED_BATCHES, Health
from serve_app.errors import DeviceFailed
from serve_app.options import TranscribeOptions
from serve_app.serving import deployments
from serve_app.serving.deployments import Transcriber
from tests.unit.clips import clip_of, sentences
from tests.unit.virtual_time import run_at_once

FAILED = DeviceFailed("The device failed.")


@pytest.mark.parametrize("recovers_after", [0.0, 5.0])
def test_a_request_whose_device_failed_ends_once_the_device_works_again(
    recovers_after: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    health = Health(stall_seconds=60)

    def work(outcome: Any) -> None:
        health.begin(0, 1, 0.0)
        health.finish(0, [outcome], 0.0)

    async def failing(*_: Any, **__: Any) -> None:
        for _n in range(MOST_FAILED_BATCHES):
            work(FAILED)
        asyncio.get_running_loop().call_later(recovers_after, work, None)
        raise FAILED

    monkeypatch.setattr(deployments, "transcribe", failing)
    monkeypatch.setattr(deployments, "check_against_model", lambda options, _: options)
    monkeypatch.setattr(deployments, "log_call", lambda *_: None)
    scheduler = SimpleNamespace(fault=lambda: health.fault(0.0))
    replica = object.__new__(Transcriber)
    vars(replica).update(_received=0, _engine=SimpleNamespace(scheduler=scheduler, facts=None))

    async def asked() -> float:
        with pytest.raises(DeviceFailed):
            await replica.transcribe(
                clip_of(sentences(["en"])[0]), TranscribeOptions(), Caller("1")
            )
        return asyncio.get_running_loop().time()

    assert recovers_after <= run_at_once(asked()) <= recovers_after + 2

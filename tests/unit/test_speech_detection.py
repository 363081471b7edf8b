"""Speech detection without a transcript: off the model's queue, and over once nobody waits."""

import asyncio
from typing import Any

import numpy as np
import pytest

from serve_app.audio.clip import SAMPLE_RATE_HZ, AudioClip
from serve_app.caller import Priority
from serve_app.engine.engine import Engine
from serve_app.engine.speech_detection import detect_speech
from serve_app.options import VadParameters
from tests.unit.clips import clip_of, sentences


def test_stretches_are_ascending_apart_and_inside_of_the_clip(tiny_en: Engine) -> None:
    clip = clip_of(np.concatenate(sentences(["en"])[:3]))
    speech = asyncio.run(detect_speech(tiny_en, clip, VadParameters()))
    edges = [edge for stretch in speech for edge in stretch]
    assert edges == sorted(set(edges))
    assert edges and edges[-1] <= len(clip.samples)


def test_a_search_that_nobody_waits_for_ends(tiny_en: Engine) -> None:
    seconds = 8 * 3_600.0  # for which a core would work for a minute
    clip = AudioClip(np.zeros(round(seconds * SAMPLE_RATE_HZ), np.int16), seconds)

    async def run() -> None:
        search = asyncio.create_task(detect_speech(tiny_en, clip, VadParameters()))
        await asyncio.sleep(0)  # the search begins in a thread
        search.cancel()
        with pytest.raises(asyncio.CancelledError):
            await search
        await tiny_en.prepare(len, clip.samples, bulk=True)  # by the next thread that is free

    asyncio.run(asyncio.wait_for(run(), 20))


@pytest.mark.parametrize("priority", Priority)
def test_long_audio_is_searched_beside_short_work_however_urgent_it_is(
    tiny_en: Engine, priority: Priority, monkeypatch: pytest.MonkeyPatch
) -> None:
    bulk: list[bool] = []
    prepare = tiny_en.prepare

    async def noting(*arguments: Any, **given: Any) -> Any:
        bulk.append(given["bulk"])
        return await prepare(*arguments, **given)

    monkeypatch.setattr(tiny_en, "prepare", noting)
    for seconds in (1.0, 61.0):
        clip = AudioClip(np.zeros(round(seconds * SAMPLE_RATE_HZ), np.int16), seconds)
        asyncio.run(detect_speech(tiny_en, clip, VadParameters(), priority))
    assert bulk == [priority is Priority.BULK, True]

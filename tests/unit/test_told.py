"""Segments on their way to a caller who is told them one by one."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from serve_app.errors import NotReady
from serve_app.service import as_told
from serve_app.serving.remote_service import _Telling
from serve_app.transcript import Segment, Tell, Transcript


def segment(number: int) -> Segment:
    return Segment(number, number + 1, f" {number}", -0.2, 0.0, 1.0, 0.0, 0, (), None)


SEGMENTS = tuple(map(segment, range(3)))
WHOLE = Transcript(SEGMENTS, "en", 1.0, 3.0, 3.0)


async def transcribe(tell: Tell) -> Transcript:
    for one in SEGMENTS:
        tell(one)
        await asyncio.sleep(0)
    return WHOLE


def test_segments_come_one_by_one_and_the_transcript_last() -> None:
    async def run() -> list[Segment | Transcript]:
        return [one async for one in as_told(transcribe)]

    assert asyncio.run(run()) == [*SEGMENTS, WHOLE]


def test_what_goes_wrong_is_raised_after_what_was_told() -> None:
    async def fail(tell: Tell) -> Transcript:
        tell(SEGMENTS[0])
        raise NotReady("gone")

    async def run() -> None:
        told = as_told(fail)
        assert await anext(told) == SEGMENTS[0]
        with pytest.raises(NotReady):
            await anext(told)

    asyncio.run(run())


def test_a_listener_who_leaves_ends_the_work() -> None:
    ended = asyncio.Event()

    async def work(tell: Tell) -> Transcript:
        tell(SEGMENTS[0])
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()
        raise AssertionError

    async def run() -> None:
        told: Any = as_told(work)
        await anext(told)
        await told.aclose()
        await asyncio.wait_for(ended.wait(), 5)

    asyncio.run(run())


def test_a_request_that_is_sent_again_tells_no_segment_twice() -> None:
    async def sent(*items: Segment | Transcript) -> AsyncIterator[Segment | Transcript]:
        for item in items:
            yield item
        if WHOLE not in items:
            raise NotReady("the process died")

    async def run() -> tuple[list[Segment], Transcript]:
        told: list[Segment] = []
        telling = _Telling(told.append)
        with pytest.raises(NotReady):
            await telling.listen(sent(*SEGMENTS[:2]))
        return told, await telling.listen(sent(*SEGMENTS, WHOLE))

    assert asyncio.run(run()) == ([*SEGMENTS], WHOLE)

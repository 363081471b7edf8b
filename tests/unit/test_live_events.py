"""Events are numbered, kept for those who come back, and never an outdated partial."""

import asyncio
from collections.abc import Callable, Coroutine

from serve_app.live.events import (
    MOST_KEPT,
    EventLog,
    Final,
    Partial,
    SpeechEnded,
    SpeechStarted,
)
from serve_app.transcript import Word


def partial(text: str) -> Partial:
    return Partial(0, 0.0, 1.0, (Word(0.0, 1.0, text, 0.9),), 0, "en", 1.0, 0.0)


def final(text: str) -> Final:
    return Final(0, 0.0, 1.0, text, (), "en", 1.0, False, False, 0.0)


async def numbers(log: EventLog, after: int) -> list[int]:
    return [number async for number, _ in log.since(after)]


def run(scene: Callable[[], Coroutine[None, None, None]]) -> None:
    asyncio.run(scene())


def test_a_reader_gets_what_came_before_and_what_comes_later() -> None:
    async def scene() -> None:
        log = EventLog()
        log.add(SpeechStarted(0.0))
        reading = asyncio.create_task(numbers(log, 0))
        await asyncio.sleep(0)
        log.add(SpeechEnded(1.0))
        log.close()
        assert await reading == [1, 2]

    run(scene)


def test_a_partial_is_gone_once_there_is_a_newer_text() -> None:
    async def scene() -> None:
        log = EventLog()
        for event in (SpeechStarted(0.0), partial("a"), partial("ab"), final("abc")):
            log.add(event)
        log.close()
        assert await numbers(log, 0) == [1, 4]

    run(scene)


def test_who_comes_back_gets_the_events_after_the_last_one_seen() -> None:
    async def scene() -> None:
        log = EventLog()
        for _ in range(3):
            log.add(final("a"))
        log.close()
        assert await numbers(log, 2) == [3]

    run(scene)


def test_the_log_says_when_it_has_forgotten_something() -> None:
    async def scene() -> None:
        log = EventLog()
        for _ in range(MOST_KEPT + 1):
            log.add(final("a"))
        assert not log.keeps_all_since(0)
        assert log.keeps_all_since(1)
        assert not log.keeps_all_since(MOST_KEPT + 2)  # a number that it has not given yet

    run(scene)

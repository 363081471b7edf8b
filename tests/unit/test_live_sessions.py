"""The places of live sessions: how many there are, and who may come back to one."""

import asyncio
from collections.abc import Callable, Coroutine

import pytest

from serve_app.errors import Overloaded, QuotaExceeded, SessionGone
from serve_app.live.sessions import Place, Sessions
from serve_app.service import LiveLoad
from serve_app.settings import LiveSettings
from tests.unit.virtual_time import run_at_once

UNKNOWN = LiveLoad()


class Held:
    def __init__(self) -> None:
        self.is_closed = False

    async def close(self) -> None:
        self.is_closed = True


def scene(act: Callable[[], Coroutine[None, None, None]]) -> None:
    run_at_once(act())


def opened(sessions: Sessions, name: str, key: str = "") -> Place[Held]:
    sessions.check(key, UNKNOWN)
    return sessions.open(name, key, Held())


def test_there_are_so_many_places_and_no_more() -> None:
    async def act() -> None:
        sessions = Sessions(LiveSettings(sessions=1))
        opened(sessions, "a")
        with pytest.raises(Overloaded):
            sessions.check("", UNKNOWN)

    scene(act)


def test_a_key_has_its_own_share_of_the_places() -> None:
    async def act() -> None:
        sessions = Sessions(LiveSettings(sessions_per_key=1))
        opened(sessions, "a", key="reception")
        sessions.check("ward", UNKNOWN)
        with pytest.raises(QuotaExceeded):
            sessions.check("reception", UNKNOWN)

    scene(act)


@pytest.mark.parametrize(
    ("load", "is_taken"),
    [(LiveLoad(frozenset("xyz"), 4.2), True), (LiveLoad(frozenset("wxyz"), 4.2), False)],
)
def test_a_session_that_the_model_could_not_follow_is_refused(
    load: LiveLoad, is_taken: bool
) -> None:
    async def act() -> None:
        sessions = Sessions(LiveSettings())
        if is_taken:
            sessions.check("", load)
        else:
            with pytest.raises(Overloaded) as refusal:
                sessions.check("", load)
            assert refusal.value.retry_after_seconds

    scene(act)


def test_only_sessions_that_have_sent_audio_lately_count_for_the_model() -> None:
    async def act() -> None:
        sessions, two = Sessions(LiveSettings()), LiveLoad(capacity=2.0)
        opened(sessions, "a")
        opened(sessions, "b")
        await asyncio.sleep(29)
        with pytest.raises(Overloaded):
            sessions.check("", two)
        sessions.hear("a")
        await asyncio.sleep(2)
        sessions.check("", two)
        sessions.hear("b")
        with pytest.raises(Overloaded):
            sessions.check("", two)

    scene(act)


def test_a_session_that_the_model_still_hears_counts() -> None:
    async def act() -> None:
        sessions = Sessions(LiveSettings())
        opened(sessions, "a")
        await asyncio.sleep(31)
        sessions.check("", LiveLoad(frozenset(), 1.0))
        with pytest.raises(Overloaded):
            sessions.check("", LiveLoad(frozenset("a"), 1.0))

    scene(act)


def test_a_session_that_has_ended_here_makes_room_before_the_model_knows() -> None:
    async def act() -> None:
        sessions = Sessions(LiveSettings())
        full = LiveLoad(frozenset("ab"), 2.0)
        place = opened(sessions, "a")
        with pytest.raises(Overloaded):
            sessions.check("", full)
        await sessions.end(place)
        sessions.check("", full)

    scene(act)


def test_one_person_may_always_speak() -> None:
    async def act() -> None:
        Sessions(LiveSettings()).check("", LiveLoad(capacity=0.5))

    scene(act)


def test_a_session_waits_for_its_client_and_ends_if_nobody_comes() -> None:
    async def act() -> None:
        sessions = Sessions(LiveSettings(resume_seconds=30))
        place = opened(sessions, "a")
        sessions.leave(place)
        await asyncio.sleep(29)
        again = sessions.resume("a", "", Held, UNKNOWN)
        assert again.held is place.held
        sessions.leave(again)
        await asyncio.sleep(31)
        assert place.held.is_closed
        with pytest.raises(SessionGone):
            sessions.resume("a", "", Held, UNKNOWN)

    scene(act)


@pytest.mark.parametrize(
    ("limits", "load"),
    [
        (LiveSettings(sessions_per_key=1), UNKNOWN),
        (LiveSettings(sessions=2), LiveLoad(capacity=1.0)),
    ],
)
def test_a_session_whose_place_others_have_taken_waits_on(
    limits: LiveSettings, load: LiveLoad
) -> None:
    async def act() -> None:
        sessions = Sessions(limits)
        sessions.leave(opened(sessions, "a", key="reception"))
        other = opened(sessions, "b", key="reception")
        with pytest.raises((Overloaded, QuotaExceeded)):
            sessions.resume("a", "reception", Held, load)
        await sessions.end(other)
        sessions.resume("a", "reception", Held, load)

    scene(act)


def test_a_session_is_taken_over_however_many_there_are() -> None:
    async def act() -> None:
        sessions = Sessions(LiveSettings(sessions=2))
        opened(sessions, "a")
        opened(sessions, "b")
        sessions.resume("a", "", Held, LiveLoad(frozenset("ab"), 1.0))

    scene(act)


def test_who_waits_for_a_client_makes_room_for_a_new_one() -> None:
    async def act() -> None:
        sessions = Sessions(LiveSettings(sessions=2))
        first, second = opened(sessions, "a"), opened(sessions, "b")
        sessions.leave(first)
        await asyncio.sleep(1)
        sessions.leave(second)
        opened(sessions, "c")
        await asyncio.sleep(0)
        assert (first.held.is_closed, second.held.is_closed) == (True, False)

    scene(act)


def test_a_connection_that_was_replaced_cannot_end_the_session() -> None:
    async def act() -> None:
        sessions = Sessions(LiveSettings(resume_seconds=1))
        old = opened(sessions, "a")
        new = sessions.resume("a", "", Held, UNKNOWN)
        assert old.taken_over.is_set()
        sessions.leave(old)
        await sessions.end(old)
        await asyncio.sleep(2)
        assert not new.held.is_closed
        await sessions.end(new)
        assert new.held.is_closed

    scene(act)


def test_nobody_resumes_the_session_of_another_key() -> None:
    async def act() -> None:
        sessions = Sessions(LiveSettings())
        opened(sessions, "a", key="reception")
        with pytest.raises(SessionGone):
            sessions.resume("a", "ward", Held, UNKNOWN)

    scene(act)

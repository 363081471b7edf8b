"""An answer that many ask for is fetched once a second, and so is an error."""

import asyncio

import pytest

from serve_app.errors import NotReady
from serve_app.fresh import FRESH_SECONDS, Fresh


class Clerk:
    """Answers with the number of times that it was asked, by a clock that only the test moves."""

    def __init__(self) -> None:
        self.n_asked = 0
        self.now = 1_000.0
        self.is_ready = True
        self.fresh = Fresh(self.ask, lambda: self.now)

    async def ask(self) -> int:
        self.n_asked += 1
        if not self.is_ready:
            raise NotReady(f"number {self.n_asked}")
        return self.n_asked

    def told(self) -> int:
        return asyncio.run(self.fresh.get())


def test_an_answer_lasts_a_second() -> None:
    clerk = Clerk()
    assert [clerk.told(), clerk.told()] == [1, 1]
    clerk.now += FRESH_SECONDS + 0.1
    assert [clerk.told(), clerk.told()] == [2, 2]


def test_an_error_lasts_no_longer() -> None:
    clerk = Clerk()
    clerk.is_ready = False
    for _ in range(3):
        with pytest.raises(NotReady, match="number 1"):
            clerk.told()
    clerk.is_ready = True
    clerk.now += FRESH_SECONDS + 0.1
    assert clerk.told() == 2


def test_what_is_forgotten_is_asked_again() -> None:
    clerk = Clerk()
    clerk.told()
    clerk.fresh.forget()
    assert clerk.told() == 2


def test_who_leaves_while_asking_leaves_the_question_to_the_next() -> None:
    clerk = Clerk()

    async def scene() -> int:
        async def never() -> int:
            await asyncio.Event().wait()
            return 0

        ask, clerk.fresh._ask = clerk.fresh._ask, never
        first = asyncio.create_task(clerk.fresh.get())
        await asyncio.sleep(0)
        second = asyncio.create_task(clerk.fresh.get())
        await asyncio.sleep(0)
        clerk.fresh._ask = ask
        first.cancel()
        return await second

    assert asyncio.run(scene()) == 1

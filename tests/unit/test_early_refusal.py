"""Ingress refuses a request before its body is read, but only while every replica would."""

import asyncio
from collections.abc import Sequence

import pytest

from serve_app.api.app import build_api
from serve_app.caller import Priority
from serve_app.engine.admission import Load, Refusal
from serve_app.engine.request import Demand
from serve_app.errors import NotReady, Overloaded, WhisperOxError
from serve_app.serving.early_refusal import MINUTE_BYTES, TINY_BYTES, EarlyRefusal
from serve_app.settings import ApiKey, AppSettings
from tests.unit.asgi import asked, http_scope
from tests.unit.deaf_service import DeafService

CHUNK_BYTES = 480_000
FILE_BYTES = 100_000_000

OPEN = Load(0, 0.0, 14.0, 30.0, 0.0, 0.0, None, None)
BUSY = Load(80, 1_200.0, 14.0, 30.0, 80.0, 90.0, Refusal("Too many wait.", 20.0), None)
FULL = Load(
    80,
    60_000.0,
    14.0,
    30.0,
    80.0,
    4_000.0,
    Refusal("Too many wait.", 20.0),
    Refusal("Full.", 400.0),
)


class Replicas:
    """Replicas of given load, and who asks them, by a clock that only the test moves."""

    def __init__(self, *loads: Load) -> None:
        self.loads: Sequence[Load] = loads
        self.asked = 0
        self.now = 1_000.0
        self.early_refusal = EarlyRefusal(self.ask, lambda: self.now)

    async def ask(self) -> Sequence[Load]:
        self.asked += 1
        return self.loads

    def refuse(self, work_seconds: float = 30.0) -> Overloaded:
        """What a caller is told that one replica has refused."""
        error = Overloaded("Too many wait.", retry_after_seconds=20.0)
        return asyncio.run(self.early_refusal.refused(error, Demand(work_seconds, work_seconds)))

    def check(self, priority: Priority = Priority.AUTO, n: int | None = CHUNK_BYTES) -> float:
        """For how many seconds a newcomer is told to stay away; 0: it may come."""
        try:
            asyncio.run(self.early_refusal.check(priority, n))
        except Overloaded as refused:
            assert refused.retry_after_seconds
            return refused.retry_after_seconds
        return 0.0


def test_nobody_is_asked_before_something_was_refused() -> None:
    replicas = Replicas(FULL)
    assert (replicas.check(), replicas.asked) == (0.0, 0)


def test_one_replicas_refusal_closes_nothing_while_another_is_free() -> None:
    replicas = Replicas(BUSY, OPEN)
    replicas.refuse()
    assert replicas.check() == 0.0


def test_newcomers_are_refused_while_every_replica_would() -> None:
    replicas = Replicas(BUSY, FULL)
    replicas.refuse()
    assert replicas.check() > 0
    replicas.now += 2.0
    assert replicas.check() > 0
    replicas.loads = (BUSY, OPEN)
    replicas.now += 2.0
    assert replicas.check() == 0.0


def test_replicas_are_asked_once_a_second_and_no_more_once_they_are_free() -> None:
    replicas = Replicas(BUSY)
    for _ in range(100):
        replicas.refuse()
        replicas.check()
    assert replicas.asked == 1
    replicas.now += 1.5
    replicas.loads = (OPEN,)
    for _ in range(100):
        replicas.check()
        replicas.now += 1.5
    assert replicas.asked == 2


def test_where_a_replica_does_not_answer_nobody_is_refused() -> None:
    replicas = Replicas()
    replicas.refuse()
    assert replicas.check() == 0.0


@pytest.mark.parametrize(
    ("load", "priority", "body_bytes", "is_refused"),
    [
        (BUSY, Priority.INTERACTIVE, FILE_BYTES, True),
        (BUSY, Priority.BULK, CHUNK_BYTES, False),
        (BUSY, Priority.AUTO, MINUTE_BYTES, True),
        (BUSY, Priority.AUTO, MINUTE_BYTES + 1, False),
        (BUSY, Priority.AUTO, None, False),
        (FULL, Priority.BULK, CHUNK_BYTES, True),
        (FULL, Priority.AUTO, FILE_BYTES, True),
        (FULL, Priority.AUTO, None, True),
        (FULL, Priority.INTERACTIVE, TINY_BYTES, False),
    ],
)
def test_what_is_known_of_a_request_decides(
    load: Load, priority: Priority, body_bytes: int | None, is_refused: bool
) -> None:
    replicas = Replicas(load)
    replicas.refuse()
    assert bool(replicas.check(priority, body_bytes)) == is_refused


def test_those_who_are_refused_together_come_back_one_after_another() -> None:
    replicas = Replicas(BUSY)
    told = [replicas.refuse().retry_after_seconds for _ in range(10)]
    assert told == [20 + n for n in range(10)]  # each brings a window of 30 s, done in a second
    assert replicas.check() == 30


def test_a_file_that_is_to_come_back_is_given_its_time() -> None:
    replicas = Replicas(BUSY, BUSY)
    assert [replicas.refuse(work_seconds=60.0).retry_after_seconds for _ in range(3)] == [
        20,
        21,
        22,
    ]


def test_nobody_is_told_to_stay_away_for_much_longer_than_the_queue_lasts() -> None:
    replicas = Replicas(BUSY)
    assert max(replicas.refuse().retry_after_seconds or 0 for _ in range(1_000)) == 80


def test_what_is_left_of_a_refusal_shrinks_as_time_goes_by() -> None:
    replicas = Replicas(FULL)
    replicas.refuse()
    replicas.now += 1.0
    assert replicas.check(Priority.BULK) == 399


def test_the_message_says_when_to_come_back() -> None:
    assert str(Replicas(BUSY).refuse()) == "Too many wait. Send the request again in 20 s."


@pytest.mark.parametrize(
    ("error", "status"), [(Overloaded("Full."), 429), (NotReady("It is being loaded."), 503)]
)
def test_a_request_is_refused_before_a_byte_of_its_body_comes(
    error: WhisperOxError, status: int
) -> None:
    app = build_api(DeafService(error), AppSettings(), ApiKey())
    head = http_scope("/transcribe", headers=[("content-length", str(FILE_BYTES).encode())])
    answer = asked(app, head, upload=[10.0, b"the rest"])
    assert (answer.status, answer.error["code"]) == (status, error.code)
    assert answer.seconds < 10

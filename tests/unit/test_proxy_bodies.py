"""Bodies reach the replica in few pieces, whole and in time."""

import asyncio

from starlette.types import Receive, Scope, Send

from serve_app.proxy.bodies import ENOUGH_BYTES, HOLD_SECONDS, GatheredBodies
from tests.unit.asgi import Event, asked, http_scope


def handed_on(*upload: Event) -> list[tuple[float, bytes | None]]:
    """The pieces behind the middleware, each with its time; None: the client left."""
    pieces: list[tuple[float, bytes | None]] = []

    async def reading(scope: Scope, receive: Receive, send: Send) -> None:
        began = asyncio.get_running_loop().time()
        goes_on = True
        while goes_on:
            message = await receive()
            goes_on = message.get("more_body", False)
            body = message["body"] if message["type"] == "http.request" else None
            goes_on |= body is not None and upload[-1] is None
            pieces.append((asyncio.get_running_loop().time() - began, body))

    asked(GatheredBodies(reading), http_scope(), upload)
    return pieces


def test_a_body_that_comes_in_crumbs_is_one_piece() -> None:
    assert handed_on(b"a", b"b", b"", b"c") == [(0.0, b"abc")]


def test_very_many_crumbs_are_no_more_work_each_than_few() -> None:
    n_crumbs = 200_000  # work that grew with the square of them would run into pytest's time limit
    assert handed_on(*[b"x"] * n_crumbs) == [(0.0, b"x" * n_crumbs)]


def test_a_byte_a_second_is_handed_on_every_few_seconds() -> None:
    dribble = [event for _ in range(20) for event in (b"x", 1.0)]
    pieces = handed_on(*dribble, b"end")
    assert b"".join(body or b"" for _, body in pieces) == b"x" * 20 + b"end"
    assert len(pieces) <= 20 / HOLD_SECONDS + 1
    assert pieces[0][0] <= HOLD_SECONDS


def test_a_large_piece_does_not_wait() -> None:
    large = bytes(ENOUGH_BYTES)
    assert handed_on(large, 100.0, b"end") == [(0.0, large), (100.0, b"end")]


def test_what_came_before_the_client_left_is_handed_on_first() -> None:
    assert handed_on(b"a", b"b", None) == [(0.0, b"ab"), (0.0, None)]

"""Ray Serve reads only as much of a body as the application asks for, behind either proxy."""

import asyncio
import inspect
import pickle
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
from ray.serve._private import proxy, replica
from starlette.types import Message

from serve_app.serving import ray_internals
from serve_app.serving.ray_internals import READ_AHEAD_MESSAGES
from tests.unit.asgi import http_scope

N_PIECES = 100
PIECE = b"y" * 1_000


class Connection:
    """A client that sends a body at once and leaves when it is told to."""

    def __init__(self) -> None:
        self.n_read = 0
        self.leaves = asyncio.Event()

    async def receive(self) -> Message:
        if self.n_read == N_PIECES:
            await self.leaves.wait()
            return {"type": "http.disconnect"}
        self.n_read += 1
        return {"type": "http.request", "body": PIECE, "more_body": self.n_read < N_PIECES}


Reader = Callable[[], Awaitable[Message]]


@asynccontextmanager
async def behind_haproxy(connection: Connection) -> AsyncIterator[tuple[Reader, Any]]:
    """What the application reads from, and the task that ends when the client leaves."""
    loop = asyncio.get_running_loop()
    received = replica.ASGIDIReceiveProxy(http_scope(), connection.receive, loop)
    task = received.fetch_until_disconnect_task()
    yield received, task
    task.cancel()


@asynccontextmanager
async def behind_the_python_proxy(connection: Connection) -> AsyncIterator[tuple[Reader, Any]]:
    queue = proxy.MessageQueue()

    async def fetch(metadata: Any) -> bytes:
        await queue.wait_for_message()
        return pickle.dumps(queue.get_messages_nowait())

    received = replica.ASGIReceiveProxy(http_scope(), None, fetch)
    task = asyncio.create_task(received.fetch_until_disconnect())
    filling = asyncio.create_task(
        proxy.HTTPProxy.proxy_asgi_receive(None, connection.receive, queue)
    )
    yield received, filling
    task.cancel()
    filling.cancel()


@pytest.fixture(params=[behind_haproxy, behind_the_python_proxy])
def serve(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Serve between a connection and the application."""
    for owner, name in (
        (replica, "ASGIDIReceiveProxy"),
        (replica, "ASGIReceiveProxy"),
        (proxy, "MessageQueue"),
        (proxy.HTTPProxy, "proxy_asgi_receive"),
    ):
        monkeypatch.setattr(owner, name, getattr(owner, name))
    ray_internals.pull_bodies()
    return request.param


async def everybody_else() -> None:
    """Let all tasks go on for as long as they can without the application."""
    for _ in range(20 * N_PIECES):
        await asyncio.sleep(0)


def test_nothing_is_read_before_the_application_asks(serve: Any) -> None:
    async def run() -> int:
        connection = Connection()
        async with serve(connection):
            await everybody_else()
        return connection.n_read

    assert asyncio.run(run()) == 0  # so that uvicorn does not answer Expect: 100-continue


def test_a_body_that_is_not_read_is_not_queued(serve: Any) -> None:
    async def run() -> int:
        connection = Connection()
        async with serve(connection) as (receive, _):
            await receive()
            await everybody_else()
        return connection.n_read

    assert asyncio.run(run()) <= 2 * READ_AHEAD_MESSAGES


def test_a_websocket_is_read_as_the_application_asks(
    serve: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def run() -> tuple[int, list[str]]:
        connection = Connection()
        read = [{"type": "websocket.connect"}, *[{"type": "websocket.receive"}] * N_PIECES]

        async def receive_message() -> Message:
            if connection.n_read == len(read):
                return {"type": "websocket.disconnect", "code": 1000}
            connection.n_read += 1
            return read[connection.n_read - 1]

        monkeypatch.setattr(connection, "receive", receive_message)
        scope = {**http_scope(), "type": "websocket"}
        monkeypatch.setitem(globals(), "http_scope", lambda: scope)
        async with serve(connection) as (receive, _):
            kinds = [(await receive())["type"] for _ in range(10)]
            await everybody_else()
            n_read = connection.n_read
            while kinds[-1] != "websocket.disconnect":
                kinds.append((await receive())["type"])
        return n_read, kinds

    n_read, kinds = asyncio.run(run())
    assert n_read <= 10 + 2 * READ_AHEAD_MESSAGES
    assert len(kinds) == N_PIECES + 2


def test_the_whole_body_comes_in_order_and_the_clients_leaving_is_noticed(serve: Any) -> None:
    async def run() -> list[Message]:
        connection = Connection()
        async with serve(connection) as (receive, until_the_client_leaves):
            messages = [await receive() for _ in range(N_PIECES)]
            connection.leaves.set()
            await until_the_client_leaves  # although the application does not ask
            return [*messages, await receive()]

    *pieces, last = asyncio.run(run())
    assert [piece["more_body"] for piece in pieces] == [True] * (N_PIECES - 1) + [False]
    assert last["type"] == "http.disconnect"


def test_serve_reads_bodies_by_what_we_replace() -> None:
    source = inspect.getsource(replica)
    assert "receive_proxy = ASGIDIReceiveProxy(" in source
    assert "receive = ASGIReceiveProxy(" in source
    source = inspect.getsource(proxy.HTTPProxy)
    assert "receive_queue = MessageQueue()" in source
    assert "self.proxy_asgi_receive(proxy_request.receive, receive_queue)" in source

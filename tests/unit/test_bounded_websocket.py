"""WebSocket clients that send what costs them little, at a real uvicorn."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest
import uvicorn
from starlette.types import Receive, Scope, Send
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed
from websockets.frames import Frame, Opcode

from serve_app.serving.bounded_http import bound_heads
from serve_app.serving.bounded_websocket import PIECE_BYTES, bound_websockets
from serve_app.settings import MOST_MESSAGE_BYTES

HANDSHAKE = (
    b"GET / HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
)
MEBIBYTE = 2**20


class Counting:
    """Counts the bytes of each message, as soon as it may."""

    def __init__(self) -> None:
        self.may_accept = asyncio.Event()
        self.may_receive = asyncio.Event()
        for may_go_on in (self.may_accept, self.may_receive):
            may_go_on.set()
        self.lengths: list[int] = []
        self.most_waiting = 0
        self.connection: WebSocketsSansIOProtocol

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.connection = receive.__self__  # type: ignore[attr-defined]  # it is a method
        await receive()
        await self.may_accept.wait()
        await send({"type": "websocket.accept"})
        await self.may_receive.wait()
        while (message := await receive())["type"] == "websocket.receive":
            self.most_waiting = max(self.most_waiting, self.connection.queue.qsize())
            self.lengths.append(len(message["bytes"]))


def serving(
    client: Callable[[Counting, int], Awaitable[None]], ping_seconds: float = 20.0
) -> Counting:
    """What the application has seen of a ``client``, which gets the port."""

    async def run() -> Counting:
        bound_heads()
        bound_websockets()
        counting = Counting()
        config = uvicorn.Config(
            counting,
            port=0,
            lifespan="off",
            log_config=None,
            ws_ping_interval=ping_seconds,
            ws_ping_timeout=ping_seconds,
        )
        server = uvicorn.Server(config)
        running = asyncio.create_task(server.serve())
        while not server.started:
            await asyncio.sleep(0)
        await client(counting, server.servers[0].sockets[0].getsockname()[1])
        server.should_exit = True
        await running
        return counting

    return asyncio.run(run())


def frame(opcode: Opcode, data: bytes = b"", *, fin: bool = True) -> bytes:
    return Frame(opcode, data, fin).serialize(mask=True)


async def raw(port: int) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """A connection whose handshake has been sent."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(HANDSHAKE)
    return reader, writer


async def until(condition: Callable[[], bool]) -> None:
    while not condition():
        await asyncio.sleep(0.001)


def test_messages_are_not_compressed() -> None:
    async def client(counting: Counting, port: int) -> None:
        async with connect(f"ws://127.0.0.1:{port}", compression="deflate") as socket:
            assert not socket.protocol.extensions
            await socket.send(bytes(MEBIBYTE))

    assert serving(client).lengths == [MEBIBYTE]


def test_a_message_is_taken_up_to_the_bound() -> None:
    async def client(counting: Counting, port: int) -> None:
        async with connect(f"ws://127.0.0.1:{port}") as socket:
            await socket.send(bytes(MOST_MESSAGE_BYTES))
            await socket.send([bytes(MEBIBYTE), bytes(MEBIBYTE), b"y"])
            with pytest.raises(ConnectionClosed):
                await socket.recv()
            assert socket.close_code == 1009

    assert serving(client).lengths == [MOST_MESSAGE_BYTES]


def test_few_messages_wait_for_the_application() -> None:
    n_messages = 100_000

    async def client(counting: Counting, port: int) -> None:
        _, writer = await raw(port)
        await until(lambda: hasattr(counting, "connection"))
        writer.write(frame(Opcode.BINARY) * n_messages)
        await until(lambda: len(counting.lengths) == n_messages)
        writer.close()

    assert serving(client).most_waiting < PIECE_BYTES // 4


def test_nothing_is_taken_before_the_handshake_is_accepted() -> None:
    async def client(counting: Counting, port: int) -> None:
        counting.may_accept.clear()
        _, writer = await raw(port)
        await until(lambda: hasattr(counting, "connection"))
        writer.write(frame(Opcode.BINARY, b"early") * 1_000)
        await until(lambda: not counting.connection.transport.is_reading())
        assert counting.connection.queue.empty()
        counting.may_accept.set()
        await until(lambda: len(counting.lengths) == 1_000)
        writer.close()

    assert set(serving(client).lengths) == {len("early")}


def test_empty_pieces_of_a_message_are_not_kept() -> None:
    async def client(counting: Counting, port: int) -> None:
        reader, writer = await raw(port)
        await reader.readuntil(b"\r\n\r\n")
        writer.write(frame(Opcode.BINARY, b"he", fin=False))
        writer.write(frame(Opcode.CONT, fin=False) * 10_000 + frame(Opcode.PING))
        await reader.readexactly(2)  # the pong
        assert len(counting.connection.frames) <= 1
        writer.write(frame(Opcode.CONT, b"llo"))
        await until(lambda: bool(counting.lengths))
        writer.close()

    assert serving(client).lengths == [len("hello")]


def test_pings_are_not_read_while_the_client_reads_no_answers() -> None:
    async def client(counting: Counting, port: int) -> None:
        reader, writer = await raw(port)
        await reader.readuntil(b"\r\n\r\n")
        writer.write(frame(Opcode.PING, bytes(125)) * (64 * MEBIBYTE // 131))
        transport = counting.connection.transport
        await until(
            lambda: not transport.is_reading() or not writer.transport.get_write_buffer_size()
        )
        assert writer.transport.get_write_buffer_size() > 16 * MEBIBYTE
        assert transport.get_write_buffer_size() < MEBIBYTE
        writer.transport.abort()

    serving(client)


def test_a_client_that_is_held_back_need_not_answer_pings() -> None:
    async def client(counting: Counting, port: int) -> None:
        counting.may_receive.clear()
        reader, writer = await raw(port)
        await reader.readuntil(b"\r\n\r\n")
        writer.write(frame(Opcode.BINARY, b"audio") * 3)
        for _ in range(3):
            assert (await reader.readexactly(6))[0] & 0x0F == Opcode.PING
        counting.may_receive.set()
        await until(lambda: len(counting.lengths) == 3)
        writer.close()

    serving(client, ping_seconds=0.02)


def test_a_client_that_does_not_answer_pings_is_given_up() -> None:
    async def client(counting: Counting, port: int) -> None:
        reader, writer = await raw(port)
        assert b"keepalive ping timeout" in await reader.read()
        writer.close()

    serving(client, ping_seconds=0.02)

"""Home Assistant's own client of the Wyoming protocol, unmodified."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence

import pytest
from wyoming.asr import Transcribe, Transcript, TranscriptChunk
from wyoming.audio import AudioChunk, AudioStart, AudioStop
from wyoming.client import AsyncTcpClient
from wyoming.event import Event, Eventable
from wyoming.info import Describe, Info

from loadtest.server import Server
from tests.contract.conftest import WYOMING_PORT


@pytest.fixture(scope="module")
def said(hello: bytes) -> bytes:
    return hello[44:]


def with_client(scene: Callable[[AsyncTcpClient], Awaitable[None]]) -> None:
    async def play() -> None:
        client = AsyncTcpClient("127.0.0.1", WYOMING_PORT, read_timeout=60)
        async with client:
            await scene(client)

    asyncio.run(play())


async def send(client: AsyncTcpClient, *events: Eventable) -> None:
    for event in events:
        await client.write_event(event.event())


def recording(pcm: bytes, rate: int = 16_000, width: int = 2) -> Sequence[Eventable]:
    chunks = (pcm[start : start + 2_048] for start in range(0, len(pcm), 2_048))
    return [
        AudioStart(rate, width, 1),
        *(AudioChunk(rate, width, 1, chunk) for chunk in chunks),
        AudioStop(),
    ]


async def until(client: AsyncTcpClient, kind: str) -> list[Event]:
    """All events up to the first of this type."""
    events: list[Event] = []
    while not events or events[-1].type != kind:
        event = await client.read_event()
        assert event is not None, f"the connection has ended after {events}"
        events.append(event)
    return events


def plain(text: str) -> str:
    return "".join(c for c in text.lower() if c.isalpha() or c == " ")


def test_the_model_is_described(guarded: Server) -> None:
    async def scene(client: AsyncTcpClient) -> None:
        await send(client, Describe())
        (program,) = Info.from_event((await until(client, "info"))[-1]).asr
        (model,) = program.models
        assert (program.name, program.installed) == ("whisper-ox", True)
        assert (model.name, model.installed, model.languages) == ("tiny.en", True, ["en"])

    with_client(scene)


def test_recordings_are_transcribed_one_after_the_other(guarded: Server, said: bytes) -> None:
    async def scene(client: AsyncTcpClient) -> None:
        pause = bytes(48_000)
        for audio, words in ((said, "hello world"), ((said + pause) * 2, "hello world " * 2)):
            await send(client, Transcribe(language="en", transcript_names=["World"]))
            await send(client, *recording(audio))
            *before, last = await until(client, "transcript")
            transcript = Transcript.from_event(last)
            assert (plain(transcript.text), transcript.language) == (words.strip(), "en")
            chunks = [TranscriptChunk.from_event(e) for e in before if e.type == "transcript-chunk"]
            assert "".join(chunk.text for chunk in chunks) == transcript.text

    with_client(scene)


def test_silence_is_an_empty_text(guarded: Server) -> None:
    async def scene(client: AsyncTcpClient) -> None:
        await send(client, *recording(bytes(48_000)))
        assert (await until(client, "transcript"))[-1].data["text"] == ""

    with_client(scene)


@pytest.mark.parametrize(
    ("events", "message"),
    [
        (recording(b"", width=4), "width"),
        (recording(b"", rate=1), "rate"),
        ([Transcribe(language="nowhere"), *recording(b"")], "language"),
    ],
)
def test_what_cannot_be_done_is_an_error(
    guarded: Server, events: Sequence[Eventable], message: str
) -> None:
    async def scene(client: AsyncTcpClient) -> None:
        await send(client, *events)
        assert message in (await until(client, "error"))[-1].data["text"]
        assert await client.read_event() is None

    with_client(scene)


@pytest.mark.parametrize(
    "garbage",
    [
        b"GET / HTTP/1.1\n",
        b"[]\n",
        b'{"type": "audio-chunk", "payload_length": 1e12}\n',
        b'{"type": "describe", "data_length": -1}\n',
        bytes(1_000_000),
    ],
)
def test_garbage_is_refused(guarded: Server, garbage: bytes) -> None:
    async def scene() -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", WYOMING_PORT)
        writer.write(garbage)
        writer.write_eof()
        answer = await asyncio.wait_for(reader.read(), 60)
        assert answer.startswith(b'{"type": "error"')
        writer.close()

    asyncio.run(scene())

"""ElevenLabs' own Python client, unmodified, on a live stream."""

import asyncio
import base64
import functools
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any

import pytest
from elevenlabs import ElevenLabs
from elevenlabs.realtime.connection import RealtimeConnection, RealtimeEvents
from elevenlabs.realtime.scribe import AudioFormat, CommitStrategy
from websockets.exceptions import InvalidStatus

from loadtest.server import Server
from tests.contract.conftest import HASHED_KEY

PIECE_BYTES = 3_200
PAUSE = bytes(2 * 32_000)


def with_a_loop(test: Callable[..., Coroutine[Any, Any, None]]) -> Callable[..., None]:
    """Run an asynchronous test, as the client is asynchronous."""

    @functools.wraps(test)
    def run(*args: Any, **fixtures: Any) -> None:
        asyncio.run(test(*args, **fixtures))

    return run


@pytest.fixture(scope="module")
def said(hello: bytes) -> bytes:
    return hello[44:]


class Client:
    """The SDK's connection and what it was told."""

    def __init__(self, connection: RealtimeConnection) -> None:
        self.connection = connection
        self._told: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        for event in RealtimeEvents:
            if event not in (RealtimeEvents.OPEN, RealtimeEvents.CLOSE, RealtimeEvents.ERROR):
                connection.on(event, self._told.put_nowait)

    async def say(self, audio: bytes) -> None:
        for start in range(0, len(audio), PIECE_BYTES):
            piece = base64.b64encode(audio[start : start + PIECE_BYTES]).decode()
            await self.connection.send({"audio_base_64": piece})

    async def next(self, kind: str) -> dict[str, Any]:
        """The next message of this kind, and none that is an error."""
        while True:
            message = await asyncio.wait_for(self._told.get(), 60)
            if message["message_type"] == kind:
                return message
            assert "error" not in message


@asynccontextmanager
async def client(server: Server, key: str = "any", **options: Any) -> AsyncIterator[Client]:
    asked = {"model_id": "scribe_v2_realtime", "sample_rate": 16_000}
    asked |= {"audio_format": AudioFormat.PCM_16000, **options}
    realtime = ElevenLabs(base_url=server.url, api_key=key).speech_to_text.realtime
    connection = await realtime.connect(asked)  # type: ignore[call-overload]  # a dict will do
    try:
        yield Client(connection)
    finally:
        await connection.close()


def plain(message: dict[str, Any]) -> str:
    return "".join(c for c in message["text"].lower() if c.isalpha() or c == " ")


@with_a_loop
async def test_the_client_commits(tiny_en: Server, said: bytes) -> None:
    async with client(tiny_en, include_timestamps=True, language_code="eng") as speaker:
        assert (await speaker.next("session_started"))["session_id"]
        await speaker.say(PAUSE + said)
        assert plain(await speaker.next("partial_transcript")).startswith("hello")
        await speaker.connection.commit()
        assert plain(await speaker.next("committed_transcript")) == "hello world"
        timed = await speaker.next("committed_transcript_with_timestamps")
        assert [word["type"] for word in timed["words"]] == ["word", "spacing", "word"]
        assert timed["language_code"] == "eng" and 1.7 < timed["words"][0]["start"] < 2.4
        await speaker.connection.commit()
        assert plain(await speaker.next("committed_transcript")) == ""


@with_a_loop
async def test_silence_commits(tiny_en: Server, said: bytes) -> None:
    wishes: dict[str, Any] = {
        "commit_strategy": CommitStrategy.VAD,
        "vad_silence_threshold_secs": 0.5,
    }
    async with client(tiny_en, **wishes) as speaker:
        for _ in range(2):
            await speaker.say(said + PAUSE)
            assert plain(await speaker.next("committed_transcript")) == "hello world"
        await speaker.connection.commit()  # which is answered even if nobody has said anything
        assert plain(await speaker.next("committed_transcript")) == ""


@with_a_loop
async def test_what_is_not_a_chunk_is_an_input_error(tiny_en: Server, said: bytes) -> None:
    async with client(tiny_en) as speaker:
        await speaker.connection.websocket.send("{}")
        assert "input_audio_chunk" in (await speaker.next("input_error"))["error"]
        await speaker.say(said)
        await speaker.connection.commit()
        assert plain(await speaker.next("committed_transcript")) == "hello world"


@pytest.mark.parametrize(
    "options",
    [
        {"language_code": "nowhere"},
        {"vad_threshold": 2.0},
        {"entity_redaction": "all"},
        {"keyterms": ["<|en|>"]},
        {"transcript_edit": "Shout"},
    ],
)
@with_a_loop
async def test_what_cannot_be_done_is_refused(tiny_en: Server, options: dict[str, Any]) -> None:
    with pytest.raises(InvalidStatus) as refused:
        async with client(tiny_en, **options):
            pass
    assert refused.value.response.status_code == 422


@with_a_loop
async def test_the_key_or_a_token_is_needed(guarded: Server, said: bytes) -> None:
    for options in ({"key": HASHED_KEY}, {"token": HASHED_KEY}):
        async with client(guarded, **options) as speaker:
            await speaker.say(said)
            await speaker.connection.commit()
            assert plain(await speaker.next("committed_transcript")) == "hello world"
    with pytest.raises(InvalidStatus) as refused:
        async with client(guarded, "wrong"):
            pass
    assert refused.value.response.status_code == 401

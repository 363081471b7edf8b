"""The speech service of ``examples/``, as an integrator runs it."""

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import httpx
import pytest
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

from loadtest.server import Server, free_port
from serve_app.audio.decode import decode_audio
from serve_app.audio.limits import AudioLimits
from tests.conditions import eventually
from tests.contract.conftest import API_KEY, API_KEY_HEADER

FOLDER = Path(__file__).parents[2] / "examples" / "speech_bridge"
PIECE_BYTES = 3_200


@contextmanager
def bridge(server: Server, **environment: str) -> Iterator[str]:
    """The address of a running bridge to ``server``."""
    port = free_port()
    known = {"PORT": str(port), "WHISPER_OX_ENDPOINT": f"{server.url}/transcribe"}
    command = [sys.executable, str(FOLDER / "bridge.py")]
    with subprocess.Popen(command, env={**os.environ, **known, **environment}) as process:
        try:
            eventually(lambda: answers(f"http://127.0.0.1:{port}"))
            yield f"ws://127.0.0.1:{port}/ws/v1/speech-to-text"
        finally:
            process.terminate()


def answers(url: str) -> bool:
    try:
        return "AudioWorkletNode" in httpx.get(url).text
    except httpx.TransportError:
        return False


def dictated(address: str, pcm: bytes) -> list[dict[str, object]]:
    """Everything that a browser gets for its audio."""
    with connect(address) as socket:
        with suppress(ConnectionClosed):  # the bridge ends it at once where it is refused
            for start in range(0, len(pcm), PIECE_BYTES):
                socket.send(pcm[start : start + PIECE_BYTES])
            socket.send("stop")
        return [json.loads(text) for text in socket]


@pytest.fixture
def dictation(hello: bytes) -> bytes:
    """ "Hello world" and a second of silence, twice, as PCM16."""
    said = decode_audio(hello, limits=AudioLimits()).samples.tobytes()
    return (said + bytes(64_000 - len(said))) * 2


@pytest.mark.parametrize(("seconds", "n_chunks"), [("0", 1), ("2", 2)])
def test_chunks_come_back_as_text_in_order(
    tiny_en: Server, dictation: bytes, seconds: str, n_chunks: int
) -> None:
    with bridge(tiny_en, WHISPER_CHUNK_DURATION_SECONDS=seconds) as address:
        *transcripts, done = dictated(address, dictation)
    assert done == {"type": "done"}
    assert len(transcripts) == n_chunks and all(one["is_final"] for one in transcripts)
    assert words(transcripts) == ["hello", "world"] * 2


def test_live_mode_gives_each_utterance(tiny_en: Server, dictation: bytes) -> None:
    with bridge(tiny_en) as address:
        *transcripts, done = dictated(f"{address}?mode=live&language=en", dictation)
    finals = [one for one in transcripts if one["is_final"]]
    assert (done, len(finals)) == ({"type": "done"}, 2)
    assert words(finals) == ["hello", "world"] * 2


def test_a_key_is_passed_on_and_a_refusal_is_told(guarded: Server, dictation: bytes) -> None:
    key = {"WHISPER_OX_API_KEY": API_KEY, "WHISPER_OX_API_KEY_HEADER": API_KEY_HEADER}
    with bridge(guarded, **key) as address:
        assert dictated(address, dictation)[-1] == {"type": "done"}
        assert dictated(f"{address}?mode=live", dictation)[-1] == {"type": "done"}
    with bridge(guarded) as address:
        for mode in ("whisper", "live"):
            [error] = dictated(f"{address}?mode={mode}", dictation)
            assert error["type"] == "error" and "401" in str(error["message"])


def words(transcripts: list[dict[str, object]]) -> list[str]:
    text = " ".join(str(one["text"]) for one in transcripts)
    return re.findall(r"\w+", text.lower())

"""Live sessions over the native WebSocket, ``/v1/stream``."""

import io
import json
import re
import subprocess
import sys
import wave
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import ClientConnection, connect

from loadtest.server import Server
from serve_app.assets import GOLDEN_CLIP
from tests.contract.conftest import API_KEY, API_KEY_HEADER, HASHED_KEY

PAGE = Path(__file__).parents[2] / "docs" / "live.md"
PIECE_BYTES = 3_200
SILENCE = bytes(2 * 24_000)
PUSH_TO_TALK = json.dumps({"type": "start", "silence_seconds": None, "partials": False})

Event = dict[str, Any]


@pytest.fixture(scope="module")
def said(hello: bytes) -> bytes:
    """ "Hello world" as PCM16, 16 kHz."""
    with wave.open(io.BytesIO(hello)) as file:
        pcm: bytes = file.readframes(file.getnframes())
    return pcm


class Client:
    """An open session."""

    def __init__(self, socket: ClientConnection) -> None:
        self.socket = socket
        self.ready = self.next("ready")
        self.seen = 0

    def speak(self, pcm: bytes) -> None:
        for start in range(0, len(pcm), PIECE_BYTES):
            self.socket.send(pcm[start : start + PIECE_BYTES])

    def say(self, kind: str) -> None:
        self.socket.send(json.dumps({"type": kind}))

    def next(self, *kinds: str) -> Event:
        """The next event of one of ``kinds``; others are passed over."""
        while True:
            event: Event = json.loads(self.socket.recv(timeout=60))
            self.seen = event.get("event", 0)
            if event["type"] in kinds:
                return event

    def finish(self) -> list[Event]:
        """Every event that is still to come."""
        self.say("finish")
        return [json.loads(text) for text in self.socket]


@contextmanager
def session(server: Server, query: str = "", key: str = "") -> Iterator[Client]:
    headers = {API_KEY_HEADER: key} if key else {}
    url = f"{server.url.replace('http', 'ws')}/v1/stream?{query}"
    with connect(url, additional_headers=headers) as socket:
        yield Client(socket)


def plain(event: Event) -> str:
    return "".join(c for c in event["text"].lower() if c.isalpha() or c == " ")


def refused(server: Server, query: str = "", key: str = "") -> tuple[int, Event]:
    with pytest.raises(InvalidStatus) as refusal, session(server, query, key):
        pass
    response = refusal.value.response
    error: Event = json.loads(response.body or b"")["error"]
    return response.status_code, error


def closed(client: Client) -> tuple[Event, int]:
    """The error that is told before the server closes the connection, and the close code."""
    error = client.next("error")
    with pytest.raises(ConnectionClosed):
        client.socket.recv(timeout=60)
    return error, client.socket.close_code or 0


def test_speech_is_told_from_its_start_to_its_final_text(tiny_en: Server, said: bytes) -> None:
    with session(tiny_en) as client:
        client.speak(SILENCE + said)
        started = client.next("speech_start")
        partial = client.next("partial")
        client.speak(SILENCE)
        ended, final = client.next("speech_end"), client.next("final")
        (done,) = client.finish()
    assert 1.4 < started["at"] < 1.8 < ended["at"] < 2.7
    assert "hello world".startswith(plain(partial)) and plain(partial)
    assert plain(final) == "hello world"
    assert (final["language"], final["utterance"], final["cut"]) == ("en", 0, False)
    assert 0.3 < final["confidence"] <= 1 and "words" not in final
    assert done == {"type": "done", "seconds": pytest.approx(3 + len(said) / 32_000, abs=0.01)}
    assert client.socket.close_code == 1000


def test_the_example_of_the_page_prints_what_is_said(tiny_en: Server, tmp_path: Path) -> None:
    [code] = re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL)
    script = tmp_path / "live.py"
    script.write_text(code)
    url = tiny_en.url.replace("http", "ws")
    command = [sys.executable, str(script), url, str(GOLDEN_CLIP)]
    shown = subprocess.run(command, capture_output=True, check=True, text=True)
    assert shown.stdout.lower().startswith("hello")


def test_words_have_times_in_the_stream(tiny_en: Server, said: bytes) -> None:
    with session(tiny_en, "words=true&partials=false") as client:
        client.speak((SILENCE + said + SILENCE) * 2)
        finals = [event for event in client.finish() if event["type"] == "final"]
    first, second = (final["words"] for final in finals)
    assert [word["word"].strip(" .,").lower() for word in first] == ["hello", "world"]
    shift = (2 * len(SILENCE) + len(said)) / 32_000
    for word, later in zip(first, second, strict=True):
        assert 1.0 < word["start"] < word["end"] < 2.8
        assert later["start"] - word["start"] == pytest.approx(shift, abs=0.7)


def test_a_push_to_talk_client_decides_when_an_utterance_ends(tiny_en: Server, said: bytes) -> None:
    with session(tiny_en) as client:
        client.socket.send(PUSH_TO_TALK)
        client.speak(said + SILENCE)
        client.say("flush")
        final = client.next("final")
        client.say("flush")  # there is nothing to end
        events = client.finish()
    assert (plain(final), final["flushed"]) == ("hello world", True)
    assert [event["type"] for event in events] == ["done"]


def test_audio_of_any_rate_encoding_and_channels_is_heard(tiny_en: Server, said: bytes) -> None:
    mono = np.frombuffer(said + SILENCE, "<i2").astype("<f4") / 32_768
    stereo = np.repeat(np.repeat(mono, 3), 2)
    with session(tiny_en, "rate=48000&channels=2&encoding=float32") as client:
        client.speak(b"".join([stereo.tobytes(), bytes(3)]))
        final, *_ = [event for event in client.finish() if event["type"] == "final"]
    assert plain(final) == "hello world"


def test_a_dropped_connection_is_resumed_where_it_broke(tiny_en: Server, said: bytes) -> None:
    half = len(said) // 4 * 2
    with session(tiny_en) as client:
        client.speak(said[: half + 1])  # the last sample is not complete
        client.next("speech_start")
        client.socket.socket.close()  # without a word
    query = f"session={client.ready['session']}&after=0"
    with session(tiny_en, query) as again:
        ready = again.ready
        assert (ready["resumed"], ready["complete"]) == (True, True)
        again.speak((said + SILENCE)[2 * ready["frames"] :])
        again.next("speech_start")
        final = again.next("final")
    assert 0 < ready["frames"] <= half // 2
    assert plain(final) == "hello world"


def test_a_session_can_be_moved_to_another_connection(tiny_en: Server, said: bytes) -> None:
    with session(tiny_en) as old:
        with session(tiny_en, f"session={old.ready['session']}") as new:
            error, code = closed(old)
            new.speak(said + SILENCE)
            assert plain(new.next("final")) == "hello world"
        assert (error["code"], code) == ("session_gone", 1008)


@pytest.mark.parametrize(
    ("message", "code", "close_code"),
    [
        ("{", "invalid_request", 1008),
        ("[]", "invalid_request", 1008),
        ('{"type": "sing"}', "invalid_request", 1008),
        ('{"type": "start", "rate": -1}', "invalid_request", 1008),
        (bytes(1_100_000), "message_too_large", 1009),
    ],
)
def test_a_client_is_told_what_it_did_wrong(
    tiny_en: Server, message: str | bytes, code: str, close_code: int
) -> None:
    with session(tiny_en) as client:
        client.socket.send(message)
        error, closed_with = closed(client)
    assert (error["code"], closed_with) == (code, close_code)
    assert error["message"].endswith(".")


def test_messages_are_not_compressed(tiny_en: Server) -> None:
    with session(tiny_en) as client:
        assert not client.socket.protocol.extensions


@pytest.mark.parametrize(
    ("query", "status", "field"),
    [
        ("rate=fast", 400, "rate"),
        ("encoding=opus", 400, "encoding"),
        ("speed=2", 400, "speed"),
        ("language=elvish", 400, "language"),
        ("language=de", 422, "language"),
        ("session=0123", 400, "session"),
    ],
)
def test_a_handshake_is_refused_with_the_reason(
    tiny_en: Server, query: str, status: int, field: str
) -> None:
    answered, error = refused(tiny_en, query)
    assert (answered, error["field"]) == (status, field)


@pytest.mark.parametrize("query", ["rate=fast", "encoding=opus", "language=elvish", "language=de"])
def test_a_refusal_quotes_the_wrong_value(tiny_en: Server, query: str) -> None:
    field, _, value = query.partition("=")
    message = refused(tiny_en, query)[1]["message"].replace('"', "'")
    assert message.startswith(f"{field}: got '{value}'")


def test_a_session_belongs_to_the_key_that_began_it(guarded: Server, said: bytes) -> None:
    assert refused(guarded)[0] == 401
    with session(guarded, key=API_KEY) as client:
        resumed = f"session={client.ready['session']}"
        assert refused(guarded, resumed, HASHED_KEY)[1]["code"] == "session_gone"
        client.speak(said + SILENCE)
        assert plain(client.next("final")) == "hello world"


def test_a_session_does_not_notice_what_others_do_wrong(tiny_en: Server, said: bytes) -> None:
    random = np.random.default_rng(0)
    with session(tiny_en, "partials=false") as client:
        for n in range(40):
            with session(tiny_en) as other:
                if n % 4 == 0:
                    other.socket.send(random.bytes(999))
                elif n % 4 == 1:
                    other.socket.send(random.bytes(99).hex())
                elif n % 4 == 2:  # half a message
                    other.socket.socket.sendall(b"\x82\xfe\x0f")
                other.socket.socket.close()
        client.speak(said + SILENCE)
        assert plain(client.next("final")) == "hello world"

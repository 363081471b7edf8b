"""Realtime transcription sessions with the unmodified Python clients of OpenAI and Azure OpenAI."""

import base64
import json
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import numpy.typing as npt
import openai
import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import connect

from loadtest.server import Server
from loadtest.speech import registry_clips
from loadtest.wer import word_errors
from serve_app.api.facades.openai_realtime import PATHS
from serve_app.assets import GOLDEN_CLIP
from serve_app.audio.decode import decode_audio
from serve_app.audio.limits import AudioLimits
from tests.contract.conftest import API_KEY

PAGE = Path(__file__).parents[2] / "docs" / "openai-realtime.md"
PIECE_SECONDS = 0.1
INTENT = {"intent": "transcription"}
COMPLETED = "conversation.item.input_audio_transcription.completed"
DELTA = "conversation.item.input_audio_transcription.delta"
TURN = (
    *("input_audio_buffer.speech_started", DELTA),
    *("input_audio_buffer.speech_stopped", "input_audio_buffer.committed"),
    *("conversation.item.added", "conversation.item.done", COMPLETED),
)
"""The events of one turn in their order, where words are certain before somebody falls silent."""


def speech(name: str) -> npt.NDArray[np.int16]:
    """An English clip and a second of silence, int16 at 24 kHz."""
    [clip] = [clip for clip in registry_clips(["en"]) if clip.id == f"en/{name}"]
    samples = decode_audio(clip.audio_bytes(), limits=AudioLimits()).samples
    samples = np.concatenate([samples, np.zeros(16_000, np.int16)])
    times = np.arange(len(samples) * 3 // 2) / 1.5
    return np.interp(times, np.arange(len(samples)), samples).astype("<i2")


def websocket_url(server: Server, path: str = "/v1") -> str:
    return server.url.replace("http", "ws") + path


def client_of(server: Server, key: str = "any") -> Any:
    return openai.OpenAI(
        base_url=f"{server.url}/v1",
        websocket_base_url=websocket_url(server),
        api_key=key,
        max_retries=0,
    )


@contextmanager
def session_of(server: Server, key: str = "any", **audio: Any) -> Iterator[Any]:
    """An open session, configured with the ``audio`` of its input."""
    with client_of(server, key).realtime.connect(extra_query=INTENT) as connection:
        assert connection.recv().type == "session.created"
        configure(connection, audio={"input": audio})
        yield connection


def configure(connection: Any, **fields: Any) -> Any:
    connection.session.update(session={"type": "transcription", **fields})
    return until(connection, "session.updated")[-1].session


def speak(
    connection: Any, audio: bytes, *, bytes_a_second: int = 48_000, aloud: bool = False
) -> None:
    """Send ``audio`` piece by piece, ``aloud`` no faster than somebody says it."""
    size = round(PIECE_SECONDS * bytes_a_second)
    for start in range(0, len(audio), size):
        piece = base64.b64encode(audio[start : start + size]).decode()
        connection.input_audio_buffer.append(audio=piece)
        if aloud:
            time.sleep(PIECE_SECONDS)


def until(connection: Any, kind: str) -> list[Any]:
    """Every event up to the first one of ``kind``."""
    events = [connection.recv()]
    while events[-1].type != kind:
        assert events[-1].type != "error", events[-1]
        events.append(connection.recv())
    return events


def plain(text: str) -> str:
    return "".join(c for c in text.lower() if c.isalpha() or c == " ").strip()


def test_words_come_while_a_turn_goes_on_and_its_text_once_it_is_over(tiny_en: Server) -> None:
    with session_of(tiny_en, transcription={"model": "whisper-1", "language": "en"}) as connection:
        speak(connection, speech("quick_brown_fox").tobytes(), aloud=True)
        events = until(connection, COMPLETED)
    by_type = {event.type: event for event in events}
    assert tuple(dict.fromkeys(event.type for event in events)) == TURN
    assert len({event.event_id for event in events}) == len(events)
    done = by_type[COMPLETED]
    assert (
        word_errors("the quick brown fox jumps over the lazy dog", done.transcript, "en").total < 2
    )
    deltas = "".join(event.delta for event in events if event.type == DELTA)
    assert word_errors(done.transcript, deltas, "en").total < 2
    assert (done.usage.type, done.usage.seconds, done.languages[0].code) == ("duration", 3, "en")
    started, stopped = (
        by_type[f"input_audio_buffer.speech_{end}"] for end in ("started", "stopped")
    )
    assert 0 <= started.audio_start_ms < 500
    assert 2000 < stopped.audio_end_ms < 3500
    items = {event.item_id for event in events if hasattr(event, "item_id")}
    assert items == {by_type["conversation.item.done"].item.id}


def test_the_example_of_the_page_prints_what_is_said(tiny_en: Server, tmp_path: Path) -> None:
    [code] = re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL)
    script = tmp_path / "realtime.py"
    script.write_text(code)
    command = [sys.executable, str(script), tiny_en.url, str(GOLDEN_CLIP)]
    shown = subprocess.run(command, capture_output=True, check=True, text=True)
    assert plain(shown.stdout) == "hello world"


def test_each_commit_is_an_item_where_the_client_finds_the_turns(tiny_en: Server) -> None:
    hello = speech("hello_world").tobytes()
    with session_of(tiny_en, turn_detection=None) as connection:
        speak(connection, hello + hello)
        connection.input_audio_buffer.commit()
        first = until(connection, COMPLETED)
        speak(connection, hello)
        connection.input_audio_buffer.clear()
        until(connection, "input_audio_buffer.cleared")
        speak(connection, bytes(48_000))
        connection.input_audio_buffer.commit()
        second = until(connection, COMPLETED)
        connection.input_audio_buffer.commit()
        error = connection.recv().error
    assert plain(first[-1].transcript) == "hello world hello world"
    assert not any("speech" in event.type for event in first)
    assert (second[-1].transcript, second[-1].languages) == ("", [])
    committed = next(event for event in second if event.type == "input_audio_buffer.committed")
    assert committed.previous_item_id == first[-1].item_id != committed.item_id
    assert (error.type, error.code) == ("invalid_request_error", "input_audio_buffer_commit_empty")


@pytest.mark.parametrize(
    ("kind", "rate", "bytes_a_sample"), [("audio/pcm", 16_000, 2), ("audio/pcmu", 8_000, 1)]
)
def test_other_formats_are_heard(
    tiny_en: Server, kind: str, rate: int, bytes_a_sample: int
) -> None:
    samples = speech("hello_world").astype(np.float64)
    length = len(samples) * rate // 24_000
    slow = np.interp(np.arange(length) * 24_000 / rate, np.arange(len(samples)), samples)
    audio = slow.astype("<i2").tobytes() if bytes_a_sample == 2 else mulaw(slow)
    with session_of(tiny_en, format={"type": kind, "rate": rate}) as connection:
        speak(connection, audio, bytes_a_second=rate * bytes_a_sample)
        assert plain(until(connection, COMPLETED)[-1].transcript) == "hello world"


def mulaw(samples: npt.NDArray[np.float64]) -> bytes:
    """G.711 by its formula: mu 255."""
    value = np.log1p(255 * np.minimum(np.abs(samples) / 32_768, 1)) / np.log(256)
    code = np.rint(value * 127).astype(np.uint8)
    return bytes(~(np.where(samples < 0, 0x80, 0) | code).astype(np.uint8))


def test_log_probabilities_come_where_they_are_asked_for(tiny_en: Server) -> None:
    with session_of(tiny_en) as connection:
        include = ["item.input_audio_transcription.logprobs"]
        assert configure(connection, include=include).include == include
        speak(connection, speech("hello_world").tobytes())
        done = until(connection, COMPLETED)[-1]
    assert "".join(one.token for one in done.logprobs).strip() == done.transcript
    assert all(-5 < one.logprob < 0 for one in done.logprobs)


def test_what_an_update_does_not_name_stays(tiny_en: Server) -> None:
    with session_of(
        tiny_en, transcription={"model": "whisper-1", "keywords": ["Basel"]}
    ) as connection:
        turns = {"type": "semantic_vad", "eagerness": "high"}
        told = configure(connection, audio={"input": {"turn_detection": turns}}).audio.input
        assert (told.transcription.keywords, told.turn_detection.eagerness) == (["Basel"], "high")
        told = configure(connection, audio={"input": {"turn_detection": None}}).audio.input
        assert (told.transcription.keywords, told.turn_detection) == (["Basel"], None)


@pytest.mark.parametrize(
    ("event", "param", "code"),
    [
        ({"type": "response.create"}, "type", "invalid_request"),
        ({"type": "\ud800"}, "type", "invalid_request"),
        ({"type": "input_audio_buffer.append", "audio": "*"}, "audio", "invalid_request"),
        ({"type": "session.update", "session": 5}, "session", "invalid_request"),
        (
            {"type": "session.update", "session": {"type": "realtime"}},
            "session.type",
            "invalid_option",
        ),
        (
            {"type": "session.update", "session": {"audio": {"input": {"format": {"rate": 1}}}}},
            "session.audio.input.format.rate",
            "invalid_option",
        ),
        (
            {"type": "session.update", "session": {"turn_detection": {"threshold": 2}}},
            "session.audio.input.turn_detection.threshold",
            "invalid_option",
        ),
        (
            {"type": "session.update", "session": {"input_audio_transcription": {"model": "x"}}},
            "model",
            "model_not_found",
        ),
        (
            {
                "type": "session.update",
                "session": {"input_audio_transcription": {"language": "de"}},
            },
            "language",
            "invalid_option",
        ),
    ],
)
def test_a_refused_event_is_told_and_the_session_goes_on(
    tiny_en: Server, event: dict[str, Any], param: str, code: str
) -> None:
    with session_of(tiny_en) as connection:
        connection.send({**event, "event_id": "\ud800"})
        error = connection.recv().error
        configure(connection)
    assert (error.param, error.code, error.event_id) == (param, code, "\ud800")


def test_azures_client_is_answered(guarded: Server) -> None:
    client: Any = openai.AzureOpenAI(
        azure_endpoint=guarded.url,
        websocket_base_url=websocket_url(guarded, "/openai"),
        api_version="2025-04-01-preview",
        api_key=API_KEY,
    )
    with client.realtime.connect(model="my-deployment", extra_query=INTENT) as connection:
        assert connection.recv().session.type == "transcription"
        speak(connection, speech("hello_world").tobytes())
        assert plain(until(connection, COMPLETED)[-1].transcript) == "hello world"


def test_the_betas_client_is_answered_in_its_shape(tiny_en: Server) -> None:
    with client_of(tiny_en).beta.realtime.connect(model="gpt-4o-transcribe") as connection:
        assert connection.recv().session.input_audio_format == "pcm16"
        asked: Any = {"input_audio_transcription": {"model": "whisper-1"}, "turn_detection": None}
        connection.transcription_session.update(session=asked)
        session = until(connection, "transcription_session.updated")[-1].session
        speak(connection, speech("hello_world").tobytes())
        connection.input_audio_buffer.commit()
        events = until(connection, COMPLETED)
    assert (session.input_audio_transcription.model, session.turn_detection) == ("whisper-1", None)
    assert plain(events[-1].transcript) == "hello world"
    assert "conversation.item.created" in {event.type for event in events}


def test_a_page_brings_its_secret_as_a_subprotocol(guarded: Server) -> None:
    made = client_of(guarded, API_KEY).realtime.client_secrets.create(
        expires_after={"anchor": "created_at", "seconds": 60},
        session={"type": "transcription", "audio": {"input": {"turn_detection": None}}},
    )
    assert 50 < made.expires_at - time.time() < 70
    assert made.session.audio.input.turn_detection is None
    offered: Any = ["realtime", f"openai-insecure-api-key.{made.value}"]
    for path in PATHS:
        with connect(websocket_url(guarded, path), subprotocols=offered) as socket:
            assert socket.subprotocol == "realtime"
            created = json.loads(socket.recv())
        assert created["type"] == "session.created"
        assert created["session"]["audio"]["input"]["turn_detection"] is None
    post = httpx.post(
        f"{guarded.url}/v1/realtime/client_secrets", headers={"api-key": made.value}, json={}
    )
    assert (post.status_code, post.json()["error"]["code"]) == (401, "invalid_api_key")


def test_the_betas_secret_opens_a_session_too(guarded: Server) -> None:
    made = client_of(guarded, API_KEY).beta.realtime.transcription_sessions.create(
        input_audio_format="g711_ulaw"
    )
    assert made.input_audio_format == "g711_ulaw"
    with session_of(guarded, made.client_secret.value):
        pass


def test_a_wrong_key_is_refused_before_the_session_begins(guarded: Server) -> None:
    with pytest.raises(InvalidStatus) as refused, session_of(guarded, "wrong"):
        pass
    assert refused.value.response.status_code == 401
    assert b"invalid_api_key" in (refused.value.response.body or b"")
    with pytest.raises(openai.AuthenticationError):
        client_of(guarded, "wrong").realtime.client_secrets.create()


def test_a_message_over_the_limit_ends_the_session_with_its_reason(tiny_en: Server) -> None:
    with session_of(tiny_en) as connection:
        connection.input_audio_buffer.append(audio="A" * 2_000_000)
        assert connection.recv().error.code == "message_too_large"
        with pytest.raises((ConnectionClosed, openai.OpenAIError)):
            connection.recv()

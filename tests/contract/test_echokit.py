"""The bytes of EchoKit's two clients, speech recognition and voice activity detection."""

import io
import json
import wave
from typing import Any

import httpx
import numpy as np
import numpy.typing as npt
import pytest
from faster_whisper.vad import VadOptions, get_speech_timestamps
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect

from loadtest.server import Server
from tests.contract.conftest import HASHED_KEY
from tests.contract.wire import silence, wav

PROMPT = "Hello\n你好\n(noise)\n(bgm)\n(silence)\n"
"""EchoKit's own prompt: Whisper should write (noise) for sound that is not speech, and EchoKit
drops it."""

BOUNDARY = "8f2c53a1d07be694-1b9e6f04c7a82d35-e45d0a9b7c13f268-06d7b2e9851fa3c4"


def send(url: str, file_part: str, audio: bytes, texts: dict[str, str], key: str) -> httpx.Response:
    """A form as EchoKit's Rust client writes it: no part has a Content-Type, the file is first."""
    part = f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="'
    body = f'{part}{file_part}"; filename="audio.wav"\r\n\r\n'.encode() + audio + b"\r\n"
    body += "".join(f'{part}{name}"\r\n\r\n{text}\r\n' for name, text in texts.items()).encode()
    body += f"--{BOUNDARY}--\r\n".encode()
    headers = {"content-type": f"multipart/form-data; boundary={BOUNDARY}", "accept": "*/*"}
    if key:
        headers |= {"authorization": f"Bearer {key}", "user-agent": "curl/7.81.0"}
    return httpx.post(url, content=body, headers=headers, timeout=60)


def ask(server: Server, audio: bytes) -> httpx.Response:
    return send(f"{server.url}/v1/audio/vad", "audio", audio, {}, key="")


def recognised(server: Server, audio: bytes, key: str = "", **texts: str) -> str:
    """What EchoKit reads of the answer. It does not look at the status."""
    response = send(f"{server.url}/v1/audio/transcriptions", "file", audio, texts, key)
    text: str = response.json().get("text", "")
    return "".join(c for c in text.lower() if c.isalnum() or c.isspace()).strip()


def places(server: Server, audio: bytes) -> list[dict[str, Any]]:
    response = ask(server, audio)
    assert response.status_code == 200, response.text
    body = response.json()
    assert list(body) == ["timestamps"]
    timestamps: list[dict[str, Any]] = body["timestamps"]
    return timestamps


def samples_of(audio: bytes) -> npt.NDArray[np.int16]:
    with wave.open(io.BytesIO(audio)) as file:
        return np.frombuffer(file.readframes(file.getnframes()), np.int16)


def test_speech_is_placed_in_samples_as_silero_places_it(tiny_en: Server, hello: bytes) -> None:
    said, pause = samples_of(hello), np.zeros(16_000, np.int16)
    samples = np.concatenate([pause, said, pause, said, pause])
    options = VadOptions(min_speech_duration_ms=250, min_silence_duration_ms=100, speech_pad_ms=30)
    expected = get_speech_timestamps(samples.astype(np.float32) / 32_768, options)
    assert len(expected) >= 2
    assert places(tiny_en, wav(samples)) == expected


def test_the_rate_of_the_file_does_not_matter(tiny_en: Server, hello: bytes) -> None:
    (first, *_), at_16_khz = places(tiny_en, hello), samples_of(hello)
    at_24_khz = np.interp(np.arange(0, len(at_16_khz), 2 / 3), np.arange(len(at_16_khz)), at_16_khz)
    (second, *_) = places(tiny_en, wav(at_24_khz.astype(np.int16), 24_000))
    assert second["start"] == pytest.approx(first["start"], abs=1_024)


def test_speech_from_the_first_to_the_last_sample_is_found(tiny_en: Server, hello: bytes) -> None:
    (*_, longest) = sorted(places(tiny_en, hello), key=lambda place: place["end"] - place["start"])
    said = samples_of(hello)[longest["start"] + 1_600 : longest["end"] - 1_600]
    assert places(tiny_en, wav(np.tile(said, 3))) == [{"start": 0, "end": 3 * len(said)}]


@pytest.mark.parametrize("seconds", [0.0, 0.1, 3.0])
def test_silence_has_no_speech(tiny_en: Server, seconds: float) -> None:
    assert places(tiny_en, silence(seconds)) == []


@pytest.mark.parametrize("texts", [{}, {"language": "auto", "model": "whisper", "prompt": PROMPT}])
def test_speech_is_recognised_with_and_without_settings(
    tiny_en: Server, hello: bytes, texts: dict[str, str]
) -> None:
    assert recognised(tiny_en, hello, **texts) == "hello world"
    assert recognised(tiny_en, silence(1.0), **texts) == ""


def test_the_key_of_the_settings_is_taken(guarded: Server, hello: bytes) -> None:
    assert recognised(guarded, hello, key=HASHED_KEY) == "hello world"
    assert recognised(guarded, hello, key="wrong") == ""


@pytest.mark.parametrize("audio", [b"", b"no audio at all"])
def test_an_error_is_one_text(tiny_en: Server, audio: bytes) -> None:
    response = ask(tiny_en, audio)
    body = response.json()
    assert response.status_code in (400, 415)
    assert list(body) == ["error"]
    assert isinstance(body["error"], str)


def test_speech_is_told_while_it_comes(tiny_en: Server, hello: bytes) -> None:
    address = tiny_en.url.replace("http", "ws", 1) + "/v1/audio/realtime_vad"
    audio = bytes(32_000) + hello[44:] + bytes(32_000)
    with connect(address) as socket:
        for start in range(0, len(audio), 1_001):  # samples are split between messages
            socket.send(audio[start : start + 1_001])
        assert socket.recv(timeout=60) == '{"event":"speech_start"}'
        assert socket.recv(timeout=60) == '{"event":"speech_end"}'
        socket.send("reset")
        socket.send(hello[44:])
        assert socket.recv(timeout=60) == '{"event":"speech_start"}'


def test_a_stream_needs_the_key(guarded: Server) -> None:
    address = guarded.url.replace("http", "ws", 1) + "/v1/audio/realtime_vad"
    with pytest.raises(InvalidStatus) as refused, connect(address):
        pass
    assert refused.value.response.status_code == 401
    assert [*json.loads(refused.value.response.body)] == ["error"]

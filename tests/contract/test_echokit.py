"""EchoKit's voice activity detection: the bytes of its client, and the answers it reads."""

import io
import wave
from typing import Any

import httpx
import numpy as np
import numpy.typing as npt
import pytest
from faster_whisper.vad import VadOptions, get_speech_timestamps

from loadtest.server import Server
from tests.contract.wire import silence, wav

BOUNDARY = "8f2c53a1d07be694-1b9e6f04c7a82d35-e45d0a9b7c13f268-06d7b2e9851fa3c4"


def ask(server: Server, audio: bytes) -> httpx.Response:
    """The request of EchoKit's Rust client: one part, which has no Content-Type, and no key."""
    head = 'Content-Disposition: form-data; name="audio"; filename="audio.wav"'
    body = f"--{BOUNDARY}\r\n{head}\r\n\r\n".encode() + audio + f"\r\n--{BOUNDARY}--\r\n".encode()
    headers = {"content-type": f"multipart/form-data; boundary={BOUNDARY}", "accept": "*/*"}
    return httpx.post(f"{server.url}/v1/audio/vad", content=body, headers=headers, timeout=60)


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


@pytest.mark.parametrize("audio", [b"", b"no audio at all"])
def test_an_error_is_one_text(tiny_en: Server, audio: bytes) -> None:
    response = ask(tiny_en, audio)
    body = response.json()
    assert response.status_code in (400, 415)
    assert list(body) == ["error"]
    assert isinstance(body["error"], str)

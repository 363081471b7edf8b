"""The contract, as a caller sees it."""

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import numpy as np
import pytest

from loadtest.server import Server
from loadtest.speech import registry_clips
from serve_app.api.call import COVERAGE_HEADER, TRACK_HEADER
from serve_app.audio.decode import decode_audio
from serve_app.audio.limits import AudioLimits
from tests.contract.wire import encoded, post, silence, wav, words_of
from tests.unit.audio_files import timed

CONTRACT_OPTIONS: dict[str, Any] = {
    "multilingual": True,
    "vad_filter": True,
    "task": "transcribe",
    "language": "en",
    "batch_size": 8,
    "beam_size": 5,
    "condition_on_previous_text": True,
}


def test_the_contracts_example_gets_the_contracts_answer(base: Server, hello: bytes) -> None:
    response = post(f"{base.url}/transcribe", hello, CONTRACT_OPTIONS)
    body = response.json()
    assert list(body) == ["segments", "language", "duration"]
    assert list(body["segments"][0]) == ["start", "end", "text", "sequence_confidence", "words"]
    assert words_of(response) == "hello world"
    assert body["segments"][0]["words"] is None
    assert -2 < body["segments"][0]["sequence_confidence"] < 0
    assert (body["language"], body["duration"]) == ("en", 1.143)


def test_channels_are_transcribed_apart_on_request(tiny_en: Server, stereo: bytes) -> None:
    response = post(f"{tiny_en.url}/transcribe", stereo, {"multichannel": True})
    body = response.json()
    assert words_of(response) == "hello world hello world"
    assert list(body) == ["segments", "language", "duration"]
    assert [segment["channel"] for segment in body["segments"]] == [1, 0]
    assert body["segments"][0]["start"] + 0.5 < body["segments"][1]["start"]
    assert body["duration"] == pytest.approx(2.287, abs=0.001)
    assert "channel" not in post(f"{tiny_en.url}/transcribe", stereo).json()["segments"][0]


@pytest.mark.parametrize("path", ["/", "/transcribe", "/v1/transcribe", "/transcribe/"])
def test_every_alias_answers(tiny_en: Server, hello: bytes, path: str) -> None:
    assert words_of(post(tiny_en.url + path, hello)) == "hello world"


@pytest.mark.parametrize("field", ["audio", "audio_file", "upload", "data"])
def test_the_only_file_part_is_the_audio_whatever_its_name(
    tiny_en: Server, hello: bytes, field: str
) -> None:
    assert words_of(post(f"{tiny_en.url}/transcribe", hello, field=field)) == "hello world"


def test_the_part_named_file_wins_over_others(tiny_en: Server, hello: bytes) -> None:
    files = {"cover": ("cover.png", b"\x89PNG"), "file": ("speech.wav", hello)}
    response = httpx.post(f"{tiny_en.url}/transcribe", files=files, timeout=60)
    assert words_of(response) == "hello world"


def test_a_file_part_without_a_file_name_is_understood(tiny_en: Server, hello: bytes) -> None:
    body = (
        b'--b\r\nContent-Disposition: form-data; name="file"\r\nContent-Type: audio/wav\r\n\r\n'
        + hello
        + b"\r\n--b--\r\n"
    )
    headers = {"Content-Type": "multipart/form-data; boundary=b"}
    response = httpx.post(f"{tiny_en.url}/transcribe", content=body, headers=headers, timeout=60)
    assert words_of(response) == "hello world"


def test_options_count_and_are_named_wherever_they_stand(tiny_en: Server, hello: bytes) -> None:
    response = httpx.post(
        f"{tiny_en.url}/transcribe/?word_timestamps=true&lang=de",
        files={
            "file": (None, hello),
            "generate_kwargs": ("blob", b'{"clip_timestamps": "0,1.1"}', "application/json"),
            "generate_kwarg": ("blob", b"{}", "application/json"),
        },
        data={"batch_size": "1", "beam_sise": "5"},
        timeout=60,
    )
    assert words_of(response) == "hello world"
    assert response.json()["segments"][0]["words"]
    assert response.headers["X-Ignored-Options"] == "beam_sise, generate_kwarg, lang"


@pytest.mark.parametrize(
    ("seconds", "vad_filter", "batch_size"),
    [(0.0, True, 8), (0.1, False, 1), (5.0, True, 1), (5.0, False, 8), (40.0, False, 1)],
)
def test_silence_gives_no_segments(
    tiny_en: Server, seconds: float, vad_filter: bool, batch_size: int
) -> None:
    options = {"vad_filter": vad_filter, "batch_size": batch_size}
    response = post(f"{tiny_en.url}/transcribe", silence(seconds), options)
    assert response.status_code == 200
    assert response.json() == {"segments": [], "language": "en", "duration": seconds}


def test_noise_without_speech_gives_no_segments(base: Server) -> None:
    noise = np.random.default_rng(7).normal(0, 300, 16_000 * 3).astype(np.int16)
    response = post(f"{base.url}/transcribe", wav(noise))
    assert (response.status_code, response.json()["segments"]) == (200, [])


@pytest.mark.parametrize("batch_size", [1, 8])
def test_words_come_with_times_in_order_inside_the_audio(
    tiny_en: Server, hello: bytes, batch_size: int
) -> None:
    options = {"word_timestamps": True, "batch_size": batch_size}
    body = post(f"{tiny_en.url}/transcribe", hello, options).json()
    words = [word for segment in body["segments"] for word in segment["words"]]
    assert [word["word"].strip(" .,!").lower() for word in words] == ["hello", "world"]
    assert all(list(word) == ["start", "end", "word", "probability"] for word in words)
    times = [time for word in words for time in (word["start"], word["end"])]
    assert times == sorted(times)
    assert times[0] >= 0
    assert times[-1] <= body["duration"]


def test_times_are_those_of_the_received_audio_after_vad(tiny_en: Server, hello: bytes) -> None:
    speech = np.frombuffer(hello[44:], np.int16)
    padded = np.concatenate([np.zeros(16_000 * 6, np.int16), speech])
    body = post(f"{tiny_en.url}/transcribe", wav(padded)).json()
    assert body["segments"][0]["start"] == pytest.approx(6.0, abs=0.5)
    assert body["segments"][-1]["end"] <= body["duration"] == pytest.approx(7.143, abs=0.001)


@pytest.mark.parametrize(
    ("options", "is_told"),
    [
        ({}, True),
        ({"recover": True}, True),
        ({"recover": None}, True),
        ({"batch_size": 1}, True),
        ({"recover": False}, False),
        ({"recover": "false"}, False),
        ({"vad_filter": False}, False),
    ],
)
def test_the_answer_says_how_much_of_the_speech_is_covered_where_that_is_known(
    tiny_en: Server, hello: bytes, options: dict[str, Any], is_told: bool
) -> None:
    response = post(f"{tiny_en.url}/transcribe", hello, options)
    assert words_of(response) == "hello world"
    assert response.headers.get(COVERAGE_HEADER) == ("1.000" if is_told else None)


def test_utterances_with_pauses_between_them_are_segments_of_their_own(
    tiny_en: Server, hello: bytes
) -> None:
    speech = np.frombuffer(hello[44:], np.int16)
    pause = np.zeros(16_000, np.int16)
    response = post(f"{tiny_en.url}/transcribe", wav(np.concatenate([speech, pause, speech])))
    first, second = response.json()["segments"]
    assert words_of(response).split() == ["hello", "world"] * 2
    assert first["end"] < 1.143 + 0.5 < second["start"]


def test_an_absent_language_is_detected(base: Server) -> None:
    clip = registry_clips(languages=["es"])[0]
    body = post(f"{base.url}/transcribe", clip.audio_bytes(), {"language": None}).json()
    assert body["language"] == "es"


def test_speech_is_translated_to_english(base: Server) -> None:
    clip = next(c for c in registry_clips(languages=["fr"]) if "monde" in c.id)
    options = {"language": "fr", "task": "translate"}
    assert "world" in words_of(post(f"{base.url}/transcribe", clip.audio_bytes(), options))


def test_numbers_and_booleans_may_come_as_strings(tiny_en: Server, hello: bytes) -> None:
    options = {"beam_size": "1", "vad_filter": "true", "word_timestamps": "false", "prefix": None}
    assert words_of(post(f"{tiny_en.url}/transcribe", hello, options)) == "hello world"


def test_unknown_options_are_ignored_and_named(tiny_en: Server, hello: bytes) -> None:
    response = post(f"{tiny_en.url}/transcribe", hello, {"beam_sise": 5, "x y\n": 1})
    assert words_of(response) == "hello world"
    assert response.headers["X-Ignored-Options"] == r"beam_sise, x y\n"


@pytest.mark.parametrize(
    ("container", "codec", "rate_hz"),
    [
        ("flac", "flac", 16_000),
        ("mp3", "libmp3lame", 44_100),
        ("ogg", "libopus", 48_000),
        ("ipod", "aac", 44_100),
        ("webm", "libopus", 48_000),
    ],
)
def test_other_containers_are_transcribed(
    tiny_en: Server, hello: bytes, container: str, codec: str, rate_hz: int
) -> None:
    audio = encoded(hello, container, codec, rate_hz)
    response = post(f"{tiny_en.url}/transcribe", audio)
    assert words_of(response) == "hello world"
    assert response.json()["duration"] == pytest.approx(1.143, abs=0.1)


def test_the_answer_says_which_of_several_tracks_was_heard(tiny_en: Server, hello: bytes) -> None:
    voice = decode_audio(hello, limits=AudioLimits()).float32()
    silence_first = timed("mp4", "aac", [(0.0, 0 * voice)], [(0.0, voice)], rate_hz=16_000)
    response = post(f"{tiny_en.url}/transcribe", silence_first)
    assert words_of(response) == "hello world"
    assert response.headers[TRACK_HEADER] == "2 of 2"


def test_health_answers_while_transcriptions_run(tiny_en: Server, hello: bytes) -> None:
    speech = np.tile(np.frombuffer(hello[44:], np.int16), 4)
    with ThreadPoolExecutor(16) as threads:
        url, options = f"{tiny_en.url}/transcribe", {"temperature": 0}  # no fallback
        running = [threads.submit(post, url, wav(speech), options) for _ in range(16)]
        with httpx.Client() as client:
            answers = [client.get(f"{tiny_en.url}/health").status_code for _ in range(20)]
        assert not all(request.done() for request in running)
        assert answers == [200] * 20
    assert all(request.result().status_code == 200 for request in running)

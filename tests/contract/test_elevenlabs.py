"""ElevenLabs' own Python client, unmodified, with only its address and its key changed."""

import asyncio
from typing import Any

import pytest
from elevenlabs import AsyncElevenLabs, ElevenLabs
from elevenlabs.core.api_error import ApiError
from elevenlabs.errors.unprocessable_entity_error import UnprocessableEntityError
from elevenlabs.types import ExportOptions_Srt

from loadtest.server import Server
from tests.contract.conftest import HASHED_KEY
from tests.contract.wire import encoded, post, silence, words_of


def convert(server: Server, audio: bytes, key: str = "any", **more: Any) -> Any:
    client = ElevenLabs(base_url=server.url, api_key=key)
    return client.speech_to_text.convert(
        model_id="scribe_v2", file=audio, request_options={"max_retries": 0}, **more
    )


def spoken(answer: Any) -> list[str]:
    return [word.text.lower().strip(".!") for word in answer.words if word.type == "word"]


def test_a_file_has_the_words_of_the_native_route(tiny_en: Server, hello: bytes) -> None:
    answer = convert(tiny_en, hello, tag_audio_events=False)
    native = post(f"{tiny_en.url}/transcribe", hello, {"word_timestamps": True})
    assert " ".join(spoken(answer)) == words_of(native) == "hello world"
    (segment,) = native.json()["segments"]
    assert answer.text == segment["text"] == "".join(word.text for word in answer.words)
    times = [(word.start, word.end) for word in answer.words if word.type == "word"]
    assert times == [(word["start"], word["end"]) for word in segment["words"]]
    assert all(word.logprob <= 0 for word in answer.words)
    assert (answer.language_code, answer.language_probability) == ("eng", 1.0)
    assert answer.audio_duration_secs == pytest.approx(1.143)
    assert answer.transcription_id


def test_the_asynchronous_client_is_answered_as_well(tiny_en: Server, hello: bytes) -> None:
    async def text() -> str:
        client = AsyncElevenLabs(base_url=tiny_en.url, api_key="any")
        answer: Any = await client.speech_to_text.convert(model_id="scribe_v1", file=hello)
        return str(answer.text)

    assert asyncio.run(text()) == "Hello World"


def test_times_are_as_fine_as_asked(tiny_en: Server, hello: bytes) -> None:
    characters = convert(tiny_en, hello, timestamps_granularity="character").words[0].characters
    assert "".join(one.text for one in characters) == "Hello"
    assert [one.end for one in characters[:-1]] == [one.start for one in characters[1:]]
    assert convert(tiny_en, hello, timestamps_granularity="none").words == []


def test_each_channel_has_a_transcript_of_its_own(tiny_en: Server, stereo: bytes) -> None:
    apart = convert(tiny_en, stereo, use_multi_channel=True).transcripts
    assert [(one.channel_index, spoken(one)) for one in apart] == [
        (0, ["hello", "world"]),
        (1, ["hello", "world"]),
    ]
    assert apart[1].words[0].start + 0.5 < apart[0].words[0].start
    together = convert(
        tiny_en, stereo, use_multi_channel=True, multichannel_output_style="combined"
    )
    assert spoken(together) == ["hello", "world"] * 2
    assert [one.channel_index for one in together.words if one.type == "word"] == [1, 1, 0, 0]


def test_subtitles_and_other_containers_are_served(tiny_en: Server, hello: bytes) -> None:
    audio = encoded(hello, "mp3", "libmp3lame", 44_100)
    answer = convert(tiny_en, audio, additional_formats=[ExportOptions_Srt()])
    (subtitles,) = answer.additional_formats
    assert "\nHello World\n" in subtitles.content
    assert (subtitles.requested_format, subtitles.is_base_64_encoded) == ("srt", False)


def test_samples_without_a_header_are_read(tiny_en: Server, hello: bytes) -> None:
    answer = convert(tiny_en, hello[44:], file_format="pcm_s16le_16", timestamps_granularity="none")
    assert answer.text == "Hello World"


def test_silence_is_an_empty_transcript(tiny_en: Server) -> None:
    answer = convert(tiny_en, silence(1.0))
    assert (answer.text, answer.words) == ("", [])


def test_errors_are_those_that_the_client_knows(guarded: Server, hello: bytes) -> None:
    assert convert(guarded, hello, HASHED_KEY).text
    with pytest.raises(UnprocessableEntityError) as wrong:
        convert(guarded, hello, HASHED_KEY, language_code="klingon")
    (problem,) = wrong.value.body["detail"]
    assert (problem["loc"], problem["type"]) == (["body", "language_code"], "invalid_option")
    with pytest.raises(ApiError) as denied:
        convert(guarded, hello, "wrong")
    assert denied.value.status_code == 401
    assert denied.value.body["detail"]["status"] == "invalid_api_key"
    with pytest.raises(ApiError) as unread:
        convert(guarded, b"not audio", HASHED_KEY)
    assert unread.value.status_code == 400
    assert unread.value.body["detail"]["message"]

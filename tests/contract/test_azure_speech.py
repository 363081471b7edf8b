"""Azure Speech: Microsoft's client of fast transcription, unmodified, and short audio by hand."""

from typing import Any

import httpx
import pytest
from azure.ai.transcription import TranscriptionClient
from azure.ai.transcription.models import (
    EnhancedModeProperties,
    PhraseListProperties,
    TranscriptionContent,
    TranscriptionDiarizationOptions,
    TranscriptionOptions,
)
from azure.core.credentials import AzureKeyCredential
from azure.core.exceptions import ClientAuthenticationError, HttpResponseError

from loadtest.server import Server
from tests.contract.conftest import HASHED_KEY
from tests.contract.wire import encoded, post, silence, words_of

SHORT = "/speech/recognition/conversation/cognitiveservices/v1?language=en-US"


def client_of(server: Server, key: str = "any") -> TranscriptionClient:
    return TranscriptionClient(server.url, AzureKeyCredential(key), retry_total=0)


def transcribe(server: Server, audio: bytes, key: str = "any", **options: Any) -> Any:
    content = TranscriptionContent(definition=TranscriptionOptions(**options), audio=audio)
    return client_of(server, key).transcribe(content)


def test_a_file_has_the_words_of_the_native_route(tiny_en: Server, hello: bytes) -> None:
    native = post(f"{tiny_en.url}/transcribe", hello, {"word_timestamps": True})
    (segment,) = native.json()["segments"]
    found = transcribe(tiny_en, hello, locales=["en-US"])
    (whole,), (phrase,) = found.combined_phrases, found.phrases
    assert (whole.text, phrase.text, phrase.locale) == (segment["text"], segment["text"], "en-US")
    assert found.duration_milliseconds == 1143
    assert [(w.text, w.offset_milliseconds) for w in phrase.words] == [
        (word["word"].strip(), round(word["start"] * 1000)) for word in segment["words"]
    ]
    assert 0 < phrase.confidence <= 1


def test_every_other_option_is_understood(tiny_en: Server, hello: bytes) -> None:
    found = transcribe(
        tiny_en,
        encoded(hello, "mp3", "libmp3lame", 44_100),
        phrase_list=PhraseListProperties(phrases=["Hello", "World"]),
        diarization_options=TranscriptionDiarizationOptions(max_speakers=2),
        enhanced_mode=EnhancedModeProperties(task="transcribe", prompt=["Be brief."]),
        profanity_filter_mode="Masked",
    )
    assert found.combined_phrases[0].text.lower().startswith("hello")


def test_silence_has_no_phrases(tiny_en: Server) -> None:
    found = transcribe(tiny_en, silence(1.0))
    assert (found.combined_phrases[0].text, found.phrases) == ("", [])


def test_errors_are_those_that_the_client_knows(guarded: Server, hello: bytes) -> None:
    assert transcribe(guarded, hello, HASHED_KEY).phrases
    with pytest.raises(ClientAuthenticationError) as denied:
        transcribe(guarded, hello, "wrong")
    assert denied.value.status_code == 401
    with pytest.raises(HttpResponseError, match="klingon") as refused:
        transcribe(guarded, hello, HASHED_KEY, locales=["klingon"])
    assert refused.value.status_code == 400
    assert refused.value.error and refused.value.error.code == "InvalidRequest"


def test_urls_are_not_fetched_by_default(tiny_en: Server) -> None:
    with pytest.raises(HttpResponseError, match=r"remote\.allowed_hosts"):
        client_of(tiny_en).transcribe_from_url(f"{tiny_en.url}/speech.wav")


def test_short_audio_comes_as_a_stream_of_chunks(guarded: Server, hello: bytes) -> None:
    pieces = (hello[at : at + 3_200] for at in range(0, len(hello), 3_200))
    answer = httpx.post(
        f"{guarded.url}{SHORT}&format=detailed&Ocp-Apim-Subscription-Key=two%20words",
        content=pieces,
        headers={
            "Content-Type": "audio/wav; codecs=audio/pcm; samplerate=16000",
            "Expect": "100-continue",
        },
        timeout=60,
    )
    native = post(f"{guarded.url}/transcribe", hello, headers={"api-key": HASHED_KEY})
    body = answer.json()
    assert (body["RecognitionStatus"], body["NBest"][0]["Lexical"]) == ("Success", words_of(native))
    assert body["DisplayText"] == native.json()["segments"][0]["text"]
    opus = encoded(hello, "ogg", "libopus", 48_000)
    in_ogg = httpx.post(guarded.url + SHORT, content=opus, headers={"api-key": HASHED_KEY})
    assert in_ogg.json()["DisplayText"].lower().startswith("hello")

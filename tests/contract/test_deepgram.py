"""Deepgram's own Python client, unmodified, with only its address and its key changed."""

from typing import Any

import httpx
import numpy as np
import pytest
from deepgram import DeepgramClient
from deepgram.core.api_error import ApiError
from deepgram.environment import DeepgramClientEnvironment
from deepgram.errors.bad_request_error import BadRequestError
from deepgram.types.listen_v1response import ListenV1Response

from loadtest.server import Server
from tests.contract.conftest import HASHED_KEY, MAX_BODY_BYTES
from tests.contract.wire import encoded, post, silence, wav, words_of


def client_of(server: Server, key: str = "any") -> DeepgramClient:
    ws = server.url.replace("http", "ws", 1)
    environment = DeepgramClientEnvironment(
        base=server.url, production=ws, agent=ws, agent_rest=server.url
    )
    return DeepgramClient(api_key=key, environment=environment)


def listen(server: Server, audio: bytes, key: str = "any", **query: Any) -> ListenV1Response:
    media = client_of(server, key).listen.v1.media
    response = media.transcribe_file(
        request=audio, model="whisper", request_options={"max_retries": 0}, **query
    )
    assert isinstance(response, ListenV1Response)
    return response


def alternative_of(response: ListenV1Response) -> Any:
    (channel,) = response.results.channels
    (alternative,) = channel.alternatives or []
    return alternative


def test_a_file_has_the_words_of_the_native_route(tiny_en: Server, hello: bytes) -> None:
    response = listen(tiny_en, hello)
    alternative = alternative_of(response)
    native = post(f"{tiny_en.url}/transcribe", hello, {"word_timestamps": True})
    assert " ".join(word.word for word in alternative.words) == words_of(native) == "hello world"
    (segment,) = native.json()["segments"]
    assert alternative.transcript == segment["text"]
    assert [(word.start, word.end) for word in alternative.words] == [
        (word["start"], word["end"]) for word in segment["words"]
    ]
    assert 0 < alternative.confidence <= 1
    assert response.metadata.duration == pytest.approx(1.143)
    (model,) = response.metadata.model_info.values()
    assert model["name"] == "tiny.en"


def test_words_utterances_and_paragraphs_come_on_request(tiny_en: Server, hello: bytes) -> None:
    said, pause = np.frombuffer(hello[44:], np.int16), np.zeros(48_000, np.int16)
    audio = wav(np.concatenate([said, pause, said]))
    response = listen(
        tiny_en, audio, smart_format=True, utterances=True, paragraphs=True, language="en-US"
    )
    alternative = alternative_of(response)
    written = [word.punctuated_word.lower().strip(".,!") for word in alternative.words]
    assert written == ["hello", "world"] * 2
    first, second = response.results.utterances or []
    assert (first.end or 0) < 2 < (second.start or 0)
    assert len(alternative.paragraphs.paragraphs) == 2
    assert alternative.paragraphs.transcript.replace("\n\n", " ") == alternative.transcript


def test_silence_is_an_empty_transcript(tiny_en: Server) -> None:
    alternative = alternative_of(listen(tiny_en, silence(1.0), paragraphs=True, utterances=True))
    assert (alternative.transcript, alternative.words, alternative.confidence) == ("", [], 0)


def test_other_containers_and_samples_alone_are_read(tiny_en: Server, hello: bytes) -> None:
    bodies: list[tuple[bytes, dict[str, str]]] = [
        (encoded(hello, "mp3", "libmp3lame", 44_100), {}),
        (hello[44:], {"encoding": "linear16", "sample_rate": "16000"}),
    ]
    for body, query in bodies:  # without a Content-Type, as LiteLLM sends it
        answer = httpx.post(f"{tiny_en.url}/v1/listen", content=body, params=query, timeout=60)
        (channel,) = answer.json()["results"]["channels"]
        assert [word["word"] for word in channel["alternatives"][0]["words"]] == ["hello", "world"]


def test_parameters_without_an_equivalent_are_named(tiny_en: Server, hello: bytes) -> None:
    response = listen(tiny_en, hello, diarize=True, numerals=True, tag="a")
    warnings = (response.metadata.model_extra or {})["warnings"]
    assert {one["parameter"] for one in warnings} == {"diarize", "numerals"}
    assert response.metadata.tags == ["a"]


def test_channels_are_told_apart(tiny_en: Server, stereo: bytes) -> None:
    response = listen(tiny_en, stereo, multichannel=True, utterances=True)
    assert response.metadata.channels == 2
    texts = [(one.alternatives or [])[0].transcript for one in response.results.channels]
    assert [str(text).lower().strip(".!") for text in texts] == ["hello world"] * 2
    assert [one.channel for one in response.results.utterances or []] == [1, 0]


def test_errors_are_those_that_the_client_knows(guarded: Server, hello: bytes) -> None:
    assert alternative_of(listen(guarded, hello, HASHED_KEY)).transcript
    with pytest.raises(BadRequestError) as refused:
        listen(guarded, b"not audio", HASHED_KEY)
    assert refused.value.body["err_code"] == "Bad Request"
    with pytest.raises(ApiError) as denied:
        listen(guarded, hello, "wrong")
    assert (denied.value.status_code, denied.value.body["err_code"]) == (401, "INVALID_AUTH")
    with pytest.raises(ApiError) as large:
        listen(guarded, bytes(MAX_BODY_BYTES + 1), HASHED_KEY)
    assert (large.value.status_code, large.value.body["err_code"]) == (413, "Bad Request")


def test_urls_are_not_fetched_by_default(tiny_en: Server) -> None:
    media = client_of(tiny_en).listen.v1.media
    with pytest.raises(BadRequestError, match=r"remote\.allowed_hosts"):
        media.transcribe_url(url=f"{tiny_en.url}/speech.wav")

"""The unmodified Python clients of OpenAI, Azure OpenAI and Groq."""

import asyncio
import time
from collections.abc import Iterator
from typing import Any

import groq
import httpx
import numpy as np
import openai
import pytest
import srt
import webvtt

from loadtest.server import Server
from loadtest.speech import Clip, corpus_clips, registry_clips
from serve_app.assets import GOLDEN_CLIP
from serve_app.audio.decode import decode_audio
from serve_app.audio.limits import AudioLimits
from tests.contract.conftest import API_KEY, MAX_BODY_BYTES, TWO_WINDOWS_KEY
from tests.contract.wire import silence, wav

DEPLOYMENT, API_VERSION = "whisper", "2024-10-21"
HEARD = "Hello World"


def client_of(server: Server, key: str = "any", path: str = "/v1") -> openai.OpenAI:
    return openai.OpenAI(base_url=server.url + path, api_key=key, max_retries=0)


@pytest.fixture(scope="module")
def client(tiny_en: Server) -> Iterator[openai.OpenAI]:
    with client_of(tiny_en) as one:
        yield one


@pytest.fixture
def speech(hello: bytes) -> tuple[str, bytes]:
    return ("speech.wav", hello)


def ask(client: openai.OpenAI, audio: Any, **more: Any) -> Any:
    return client.audio.transcriptions.create(**{"file": audio, "model": "whisper-1", **more})


def captions_of(text: str) -> list[Any]:
    found: list[Any] = webvtt.from_string(text).captions
    return found


@pytest.mark.parametrize("as_what", ["path", "file", "bytes", "named"])
def test_audio_comes_in_every_form_the_client_has(
    client: openai.OpenAI, hello: bytes, as_what: str
) -> None:
    with GOLDEN_CLIP.open("rb") as file:
        forms = {"path": GOLDEN_CLIP, "file": file, "bytes": hello, "named": ("a.wav", hello)}
        answer = ask(client, forms[as_what])
    assert (answer.text, answer.usage.type, answer.usage.seconds) == (HEARD, "duration", 2)


@pytest.mark.parametrize(
    "model",
    ["whisper-1", "gpt-4o-transcribe", "large-v3", "Systran/faster-whisper-large-v3", "tiny.en"],
)
def test_names_of_whisper_models_mean_the_one_that_is_served(
    client: openai.OpenAI, speech: Any, model: str
) -> None:
    assert ask(client, speech, model=model).text == HEARD
    assert client.models.retrieve(model).id == model


def test_the_list_of_models_names_the_one_that_is_served(client: openai.OpenAI) -> None:
    assert [model.id for model in client.models.list()] == ["tiny.en", "whisper-1"]


def test_plain_text_ends_with_a_line_feed(client: openai.OpenAI, speech: Any) -> None:
    assert ask(client, speech, response_format="text") == f"{HEARD}\n"


def test_verbose_json_has_words_and_segments_where_both_are_asked_for(
    client: openai.OpenAI, speech: Any
) -> None:
    answer = ask(
        client,
        speech,
        response_format="verbose_json",
        timestamp_granularities=["word", "segment"],
    )
    assert (answer.language, answer.duration, answer.text) == ("english", 1.143, HEARD)
    [segment] = answer.segments
    assert None not in segment.model_dump().values()
    assert [word.word for word in answer.words] == ["Hello", "World"]
    times = [time for word in answer.words for time in (word.start, word.end)]
    assert times == sorted(times) and segment.start <= times[0] and times[-1] <= segment.end


@pytest.mark.parametrize("granularity", ["word", "segment"])
def test_verbose_json_has_only_what_is_asked_for(
    client: openai.OpenAI, speech: Any, granularity: str
) -> None:
    answer = ask(
        client, speech, response_format="verbose_json", timestamp_granularities=[granularity]
    )
    assert (answer.words is None, answer.segments is None) == (
        granularity != "word",
        granularity != "segment",
    )


def test_subtitles_are_read_back_by_other_libraries(client: openai.OpenAI, speech: Any) -> None:
    verbose = ask(client, speech, response_format="verbose_json", timestamp_granularities=["word"])
    [subtitle] = srt.parse(ask(client, speech, response_format="srt"))
    [caption] = captions_of(ask(client, speech, response_format="vtt"))
    assert subtitle.content == caption.text == HEARD
    times = (verbose.words[0].start, verbose.words[-1].end)
    assert (subtitle.start.total_seconds(), subtitle.end.total_seconds()) == times
    assert (caption.start_in_seconds, caption.end_in_seconds) == tuple(map(int, times))


def test_log_probabilities_come_for_every_word(client: openai.OpenAI, speech: Any) -> None:
    answer = ask(client, speech, include=["logprobs"])
    assert "".join(one.token for one in answer.logprobs).strip() == HEARD
    assert all(-5 < one.logprob < 0 for one in answer.logprobs)
    assert bytes(map(int, answer.logprobs[0].bytes)).decode() == answer.logprobs[0].token


@pytest.mark.parametrize(
    "more",
    [
        {"chunking_strategy": "auto"},
        {"chunking_strategy": {"type": "server_vad"}},
        {"chunking_strategy": {"type": "server_vad", "threshold": 0.4, "prefix_padding_ms": 200}},
        {"language": "en", "prompt": "A greeting.", "temperature": 0},
        {"languages": ["en"], "keywords": ["Hello", "World"]},
        {"extra_body": {"beam_size": 1, "unknown": "x"}},
    ],
)
def test_every_other_parameter_is_understood(
    client: openai.OpenAI, speech: Any, more: dict[str, Any]
) -> None:
    assert ask(client, speech, **more).text.lower().startswith("hello")


def test_silence_gives_an_empty_text(client: openai.OpenAI) -> None:
    audio = ("silence.wav", silence(2.0))
    assert ask(client, audio).text == ""
    assert ask(client, audio, response_format="srt") == ""
    assert captions_of(ask(client, audio, response_format="vtt")) == []
    [done] = ask(client, audio, stream=True)
    assert (done.type, done.text) == ("transcript.text.done", "")


def joined(clips: list[Clip], seconds: int) -> tuple[str, bytes]:
    """The beginning of ``clips``, one after the other."""
    samples = [decode_audio(clip.audio_bytes(), limits=AudioLimits()).samples for clip in clips]
    return ("long.wav", wav(np.concatenate(samples)[: seconds * 16_000]))


def test_events_are_the_answer_in_pieces(client: openai.OpenAI) -> None:
    audio = joined(registry_clips(["en"]), 60)
    *events, done = ask(client, audio, stream=True, include=["logprobs"])
    deltas = [event for event in events if event.type == "transcript.text.delta"]
    segments = [event for event in events if event.type == "transcript.text.segment"]
    assert len(deltas) == len(segments) == len(events) / 2 > 0
    assert "".join(delta.delta for delta in deltas) == done.text == ask(client, audio).text
    assert [one.start for one in segments] == sorted(one.start for one in segments)
    told = [one.model_dump() for delta in deltas for one in delta.logprobs]
    assert [one.model_dump() for one in done.logprobs] == told


@pytest.mark.parametrize("form", ["srt", "vtt"])
def test_the_last_event_has_the_subtitles(client: openai.OpenAI, speech: Any, form: str) -> None:
    *_, done = ask(client, speech, stream=True, response_format=form)
    assert done.text == ask(client, speech, response_format=form) != ""


def test_the_last_event_has_the_verbose_answer(client: openai.OpenAI, speech: Any) -> None:
    more = {"response_format": "verbose_json", "timestamp_granularities": ["word", "segment"]}
    *_, done = ask(client, speech, stream=True, **more)
    whole = ask(client, speech, **more)
    assert (done.text, done.language, done.duration) == (whole.text, "english", whole.duration)
    assert done.words == [word.model_dump() for word in whole.words]
    assert [segment["id"] for segment in done.segments] == [0]


@pytest.mark.corpus
def test_events_come_while_the_audio_is_being_heard(client: openai.OpenAI) -> None:
    clips = corpus_clips(languages=["en"])
    if not clips:
        pytest.skip("no corpus")
    audio, began = joined(clips, 150), time.perf_counter()
    first, *_, whole = (time.perf_counter() - began for _ in ask(client, audio, stream=True))
    assert first < 0.5 * whole


def test_the_asynchronous_client_gets_the_same(tiny_en: Server, speech: Any) -> None:
    async def run() -> tuple[str, str]:
        async with openai.AsyncOpenAI(base_url=f"{tiny_en.url}/v1", api_key="any") as client:
            create: Any = client.audio.transcriptions.create
            answer = await create(file=speech, model="whisper-1")
            events = await create(file=speech, model="whisper-1", stream=True)
            deltas = [event.delta async for event in events if "delta" in event.type]
            return answer.text, "".join(deltas)

    assert asyncio.run(run()) == (HEARD, HEARD)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_translations_are_english(base: Server) -> None:
    clip = next(c for c in registry_clips(languages=["fr"]) if "monde" in c.id)
    audio = ("clip.wav", clip.audio_bytes())
    translate = client_of(base).audio.translations.create
    verbose = translate(file=audio, model="whisper-1", response_format="verbose_json")
    assert "world" in translate(file=audio, model="whisper-1").text.lower()
    assert (verbose.language, "world" in verbose.text.lower()) == ("english", True)
    [subtitle] = srt.parse(translate(file=audio, model="whisper-1", response_format="srt"))
    assert "world" in subtitle.content.lower()


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_an_english_model_says_that_it_cannot_translate(client: openai.OpenAI, speech: Any) -> None:
    with pytest.raises(openai.BadRequestError, match="knows English only"):
        client.audio.translations.create(file=speech, model="whisper-1")


@pytest.mark.parametrize(
    ("more", "param", "text"),
    [
        ({"response_format": "diarized_json"}, "response_format", "tell speakers apart"),
        ({"response_format": "xml"}, "response_format", 'allowed: "json"'),
        ({"temperature": 9}, "temperature", "a number from 0 to 2"),
        ({"prompt": "<|endoftext|>"}, "prompt", "prompt: got"),
        ({"language": "klingon"}, "language", "klingon"),
        ({"language": "de"}, "language", "does not know"),
        ({"timestamp_granularities": ["syllable"]}, "timestamp_granularities", "word, segment"),
        ({"include": ["logprobs"], "response_format": "text"}, "include", "json"),
        ({"chunking_strategy": {"type": "semantic"}}, "chunking_strategy", "server_vad"),
        (
            {"chunking_strategy": {"type": "server_vad", "prefix_padding_ms": -1}},
            "chunking_strategy.prefix_padding_ms",
            "chunking_strategy.prefix_padding_ms: got",
        ),
        ({"known_speaker_names": ["A"]}, "known_speaker_names", "tell speakers apart"),
        ({"file": ("a.txt", b"not audio at all")}, None, "audio"),
    ],
)
def test_what_cannot_be_done_is_refused_under_the_callers_name(
    client: openai.OpenAI, speech: Any, more: dict[str, Any], param: str | None, text: str
) -> None:
    with pytest.raises(openai.BadRequestError) as refused:
        ask(client, speech, **more)
    assert refused.value.param == param
    assert refused.value.type == "invalid_request_error"
    assert text in refused.value.message
    assert refused.value.request_id


def test_an_unknown_model_is_not_found(client: openai.OpenAI, speech: Any) -> None:
    for call in (lambda: ask(client, speech, model="x"), lambda: client.models.retrieve("a/x")):
        with pytest.raises(openai.NotFoundError) as refused:
            call()
        assert (refused.value.code, refused.value.param) == ("model_not_found", "model")


def test_a_wrong_key_is_an_authentication_error(guarded: Server, speech: Any) -> None:
    assert ask(client_of(guarded, API_KEY), speech).text == HEARD
    stranger = client_of(guarded, "wrong")
    for call in (lambda: ask(stranger, speech), stranger.models.list):
        with pytest.raises(openai.AuthenticationError) as refused:
            call()
        assert refused.value.code == "invalid_api_key"


def test_a_body_over_the_limit_is_told_its_size(guarded: Server) -> None:
    with pytest.raises(openai.APIStatusError) as refused:
        ask(client_of(guarded, API_KEY), ("a.wav", silence(MAX_BODY_BYTES / 32_000 + 1)))
    assert (refused.value.status_code, refused.value.code) == (413, "body_too_large")


def test_a_quota_is_a_rate_limit_with_the_time_to_come_back(guarded: Server) -> None:
    client = client_of(guarded, TWO_WINDOWS_KEY)
    with pytest.raises(openai.RateLimitError) as refused:
        for _ in range(4):
            ask(client, ("a.wav", silence(8.0)))
    assert int(refused.value.response.headers["Retry-After"]) > 0


def azure_of(server: Server, key: str = "any", **more: Any) -> openai.AzureOpenAI:
    return openai.AzureOpenAI(
        azure_endpoint=server.url, api_version=API_VERSION, api_key=key, max_retries=0, **more
    )


def test_azures_client_names_the_model_in_the_path(guarded: Server, speech: Any) -> None:
    client = azure_of(guarded, API_KEY)
    assert ask(client, speech, model=DEPLOYMENT).text == HEARD
    assert ask(client, speech, model=DEPLOYMENT, response_format="text") == f"{HEARD}\n"
    assert (
        "".join(
            event.delta
            for event in ask(client, speech, model=DEPLOYMENT, stream=True)
            if event.type == "transcript.text.delta"
        )
        == HEARD
    )


def test_azures_path_wins_over_the_model_in_the_form(tiny_en: Server, speech: Any) -> None:
    assert ask(azure_of(tiny_en, azure_deployment=DEPLOYMENT), speech, model="x").text == HEARD
    with pytest.raises(openai.NotFoundError) as refused:
        ask(azure_of(tiny_en, azure_deployment="no-such"), speech)
    assert refused.value.code == "DeploymentNotFound"


def test_azures_newer_path_takes_openais_client(tiny_en: Server, speech: Any) -> None:
    assert ask(client_of(tiny_en, path="/openai/v1/"), speech).text == HEARD


def test_azures_client_tells_a_wrong_key_from_other_errors(guarded: Server, speech: Any) -> None:
    with pytest.raises(openai.AuthenticationError):
        ask(azure_of(guarded, "wrong"), speech)


@pytest.mark.parametrize("model", ["whisper-large-v3", "whisper-large-v3-turbo"])
def test_groqs_client_gets_every_format_it_has(tiny_en: Server, hello: bytes, model: str) -> None:
    create: Any = groq.Groq(base_url=tiny_en.url, api_key="any").audio.transcriptions.create
    audio = ("a.wav", hello)
    assert create(file=audio, model=model).text == HEARD
    verbose = create(
        file=audio,
        model=model,
        response_format="verbose_json",
        timestamp_granularities=["word", "segment"],
    )
    assert (verbose.text, len(verbose.segments), len(verbose.words)) == (HEARD, 1, 2)
    assert create(file=audio, model=model, response_format="text") == f"{HEARD}\n"
    raw = httpx.post(f"{tiny_en.url}/openai/v1/audio/transcriptions", files={"file": hello})
    assert raw.json()["x_groq"]["id"] == f"req_{raw.headers['X-Request-ID']}"


def test_groqs_other_calls_are_answered(base: Server, hello: bytes) -> None:
    async def asynchronous() -> str:
        async with groq.AsyncGroq(base_url=base.url, api_key="any") as client:
            create = client.audio.transcriptions.create
            return (await create(file=("a.wav", hello), model="whisper-large-v3")).text

    client = groq.Groq(base_url=base.url, api_key="any", max_retries=0)
    heard = {
        asyncio.run(asynchronous()),
        client.audio.translations.create(file=("a.wav", hello), model="whisper-large-v3").text,
    }
    assert {text.rstrip(".").lower() for text in heard} == {HEARD.lower()}
    assert client.models.list().data[0].id == "base"
    with pytest.raises(groq.BadRequestError, match="fetches no audio"):
        client.audio.transcriptions.create(url="http://there/a.wav", model="whisper-large-v3")


def test_every_facade_hears_the_same_words(tiny_en: Server) -> None:
    name, audio = joined(registry_clips(["en"]), 60)
    native = httpx.post(f"{tiny_en.url}/transcribe", files={"file": audio}, timeout=60).json()
    words = " ".join(segment["text"] for segment in native["segments"]).split()
    clients: list[Any] = [
        client_of(tiny_en),
        client_of(tiny_en, path="/openai/v1"),
        azure_of(tiny_en, azure_deployment=DEPLOYMENT),
        groq.Groq(base_url=tiny_en.url, api_key="any"),
    ]
    for client in clients:
        assert ask(client, (name, audio)).text.split() == words
    subtitles = list(srt.parse(ask(clients[0], (name, audio), response_format="srt")))
    assert " ".join(one.content for one in subtitles).split() == words

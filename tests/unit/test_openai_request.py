"""OpenAI's parameters as options of ours, and its answers over a service that hears nothing."""

import json
from contextlib import nullcontext
from typing import Any

import pytest
from starlette.testclient import TestClient

from serve_app.api.app import build_api
from serve_app.api.facades.openai_request import AudioRequest, read_request
from serve_app.api.model_table import ModelTable
from serve_app.api.sources.form import Form
from serve_app.assets import GOLDEN_CLIP
from serve_app.audio.clip import AudioClip
from serve_app.caller import Caller
from serve_app.errors import InvalidOption, InvalidRequest, NotReady, Overloaded, WhisperOxError
from serve_app.options import OptionLimits, TranscribeOptions, VadParameters
from serve_app.settings import ApiKey, AppSettings, HttpSettings
from serve_app.transcript import Segment, Tell, Transcript
from tests.unit.deaf_service import DeafService

DEFAULTS = TranscribeOptions()


def read(*fields: tuple[str, str]) -> AudioRequest:
    texts = [(name, bytearray(value.encode())) for name, value in fields]
    form = Form([("file", bytearray())], texts)
    return read_request(form, "transcribe", OptionLimits())


def options_of(*fields: tuple[str, str]) -> dict[str, Any]:
    """The options that differ from the defaults."""
    options = read(*fields).options.options
    return {name: value for name, value in options if getattr(DEFAULTS, name) != value}


def test_without_parameters_the_options_are_the_defaults() -> None:
    request = read(("model", "whisper-1"))
    assert options_of(("model", "whisper-1")) == {}
    assert (request.response_format, request.granularities) == ("json", ("segment",))
    assert not request.is_streamed


@pytest.mark.parametrize(
    ("fields", "options"),
    [
        ([("temperature", "0")], {}),
        ([("temperature", "0.0")], {}),
        ([("temperature", "0.2")], {"temperature": (0.2,)}),
        ([("language", "de-CH")], {"language": "de"}),
        ([("language", "auto")], {}),
        ([("language", "")], {}),
        ([("languages[]", "fr")], {"language": "fr"}),
        ([("languages[]", "fr"), ("languages[]", "de")], {}),
        ([("prompt", "Basel")], {"initial_prompt": "Basel"}),
        ([("keywords[]", "Ray"), ("keywords[]", "Kub")], {"hotwords": "Ray, Kub"}),
        ([("timestamp_granularities[]", "word")], {}),
        (
            [("response_format", "verbose_json"), ("timestamp_granularities[]", "word")],
            {"word_timestamps": True},
        ),
        ([("response_format", "srt")], {"word_timestamps": True}),
        ([("response_format", "vtt")], {"word_timestamps": True}),
        ([("include[]", "logprobs")], {"word_timestamps": True}),
        ([("chunking_strategy", "auto")], {}),
        ([("chunking_strategy[type]", "server_vad")], {}),
        (
            [("chunking_strategy", '{"type": "server_vad", "threshold": 0.3}')],
            {"vad_parameters": VadParameters(threshold=0.3, min_silence_duration_ms=200)},
        ),
        (
            [
                ("chunking_strategy[type]", "server_vad"),
                ("chunking_strategy[prefix_padding_ms]", "300"),
                ("chunking_strategy[silence_duration_ms]", "500"),
            ],
            {"vad_parameters": VadParameters(speech_pad_ms=300, min_silence_duration_ms=500)},
        ),
        ([("beam_size", "2"), ("vad_filter", "false")], {"beam_size": 2, "vad_filter": False}),
        ([("vad_parameters[threshold]", "0.2")], {"vad_parameters": VadParameters(threshold=0.2)}),
        ([("hotwords", "Ray")], {"hotwords": "Ray"}),
        ([("initial_prompt", "Basel")], {"initial_prompt": "Basel"}),
        ([("word_timestamps", "true")], {"word_timestamps": True}),
    ],
)
def test_a_parameter_becomes_an_option(
    fields: list[tuple[str, str]], options: dict[str, Any]
) -> None:
    assert options_of(*fields) == options


@pytest.mark.parametrize(
    "fields",
    [
        [("timestamp_granularities[]", "word"), ("timestamp_granularities[]", "segment")],
        [("timestamp_granularities[]", "word,segment")],
        [("timestamp_granularities", "word"), ("timestamp_granularities", "segment")],
        [("timestamp_granularities", '["word", "segment"]')],
    ],
)
def test_lists_come_in_every_form_that_clients_send(fields: list[tuple[str, str]]) -> None:
    assert read(*fields).granularities == ("word", "segment")


def test_fields_that_nobody_knows_are_ignored_and_named() -> None:
    assert read(("user", "me"), ("nested[a][b]", "1")).options.ignored == ("nested[a][b]", "user")


@pytest.mark.parametrize(
    ("fields", "own"),
    [
        ([("prompt", "Basel")], [("initial_prompt", "Bern")]),
        ([("keywords[]", "Ray")], [("hotwords", "Kai")]),
        ([("response_format", "srt")], [("word_timestamps", "false")]),
        (
            [("chunking_strategy", '{"type": "server_vad", "threshold": 0.3}')],
            [("vad_parameters", '{"threshold": 0.7}')],
        ),
        ([], [("task", "translate")]),
    ],
)
def test_openais_parameter_counts_before_our_option_which_is_named(
    fields: list[tuple[str, str]], own: list[tuple[str, str]]
) -> None:
    assert options_of(*own, *fields) == options_of(*fields)
    assert read(*own, *fields).options.ignored == (own[0][0],)


def test_an_option_that_agrees_with_openais_parameter_is_not_named() -> None:
    assert read(("task", "transcribe"), ("prompt", "a"), ("initial_prompt", "a")).options == (
        read(("prompt", "a")).options
    )


def test_a_file_that_nobody_reads_is_named() -> None:
    files = {"file": GOLDEN_CLIP.read_bytes(), "beam_size": b"1"}
    client = TestClient(build_api(DeafService(), AppSettings(), ApiKey()))
    answer = client.post("/v1/audio/transcriptions", files=files, data={"user": "me"})
    assert answer.headers["X-Ignored-Options"] == "beam_size, user"


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ([("initial_prompt", "<|notimestamps|>")], "initial_prompt"),
        ([("prompt", "<|notimestamps|>")], "prompt"),
        ([("keywords[]", "<|notimestamps|>")], "keywords"),
        ([("temperature", "warm")], "temperature"),
        ([("stream", "perhaps")], "stream"),
        ([("include[]", "item")], "include"),
        ([("response_format", "diarized_json")], "response_format"),
        ([("chunking_strategy", "{")], "chunking_strategy"),
        ([("chunking_strategy[threshold]", "0.5")], "chunking_strategy"),
        (
            [("chunking_strategy[type]", "server_vad"), ("chunking_strategy[threshold]", "7")],
            "chunking_strategy.threshold",
        ),
        ([("known_speaker_references[]", "data:audio/wav;base64,")], "known_speaker_references"),
        ([("url", "https://there/a.wav")], "url"),
    ],
)
def test_a_wrong_value_is_told_under_its_parameter(
    fields: list[tuple[str, str]], field: str
) -> None:
    with pytest.raises(InvalidOption) as refused:
        read(*fields)
    assert refused.value.field == field
    assert refused.value.message.startswith(f"{field}: ")


@pytest.mark.parametrize(
    ("name", "known"),
    [
        ("whisper-1", True),
        ("openai/whisper-1", True),
        ("Whisper-Large-V3", True),
        ("Systran/faster-whisper-small.en", True),
        ("turbo", True),
        ("my-deployment", True),
        ("gpt-4o-transcribe-diarize", False),
        ("whisper-2", False),
        ("", False),
    ],
)
def test_a_name_of_a_whisper_model_is_known(name: str, known: bool) -> None:
    settings = AppSettings(http=HttpSettings(model_aliases=("my-deployment",)))
    with nullcontext() if known else pytest.raises(InvalidRequest, match="does not exist"):
        ModelTable(settings, DeafService()).named(name)


def post(service: DeafService | None = None, path: str = "/v1/audio/", **fields: str) -> Any:
    settings = AppSettings(http=HttpSettings(model_aliases=("my-deployment",)))
    client = TestClient(build_api(service or DeafService(), settings, ApiKey()))
    return client.post(
        f"{path}transcriptions", files={"file": GOLDEN_CLIP.read_bytes()}, data=fields
    )


@pytest.mark.parametrize("stream", ["true", "false"])
@pytest.mark.parametrize(
    ("error", "status", "kind", "code"),
    [
        (NotReady("loading", retry_after_seconds=3), 503, "server_error", "not_ready"),
        (
            Overloaded("full", retry_after_seconds=3),
            *(429, "rate_limit_error", "rate_limit_exceeded"),
        ),
    ],
)
def test_what_keeps_a_request_from_its_start_is_no_event(
    stream: str, error: WhisperOxError, status: int, kind: str, code: str
) -> None:
    answer = post(DeafService(error), stream=stream)
    found = answer.json()["error"]
    assert (answer.status_code, found["type"], found["code"]) == (status, kind, code)
    assert answer.headers["Retry-After"] == "3"


class Interrupted(DeafService):
    """Tells one segment and fails."""

    def __init__(self, failure: Exception) -> None:
        super().__init__()
        self.failure = failure

    async def transcribe(
        self,
        clip: AudioClip,
        options: TranscribeOptions,
        caller: Caller,
        tell: Tell | None = None,
    ) -> Transcript:
        assert tell
        tell(Segment(0.0, 1.0, " Hello", -0.1, 0.0, 1.0, 0.0, 0, (), None))
        raise self.failure


@pytest.mark.parametrize(
    ("error", "code"),
    [(NotReady("the process died"), "not_ready"), (LookupError("a secret"), "internal_error")],
)
def test_what_goes_wrong_after_the_first_segment_is_an_event(error: Exception, code: str) -> None:
    answer = post(Interrupted(error), stream="true")
    delta, _, failed = [
        json.loads(event.removeprefix("data: ")) for event in answer.text.split("\n\n")[:-1]
    ]
    assert (answer.status_code, delta["delta"]) == (200, "Hello")
    assert (failed["error"]["type"], failed["error"]["code"]) == ("server_error", code)
    assert "secret" not in answer.text


def test_an_alias_of_the_operators_is_a_deployment() -> None:
    assert post(path="/openai/deployments/my-deployment/audio/").json()["text"] == ""


def test_silence_is_an_empty_answer_in_every_format() -> None:
    assert post().json() == {"text": "", "usage": {"type": "duration", "seconds": 2}}
    assert post(response_format="text").text == "\n"
    assert post(response_format="srt").text == ""
    assert post(response_format="vtt").text == "WEBVTT\n\n"
    events = post(stream="true").text.split("\n\n")
    assert json.loads(events[0].removeprefix("data: "))["type"] == "transcript.text.done"
    assert events[1:] == ["data: [DONE]", ""]

"""ElevenLabs' form, answers and errors, over a service that has heard a certain text."""

import json
from typing import Any

import pytest
from starlette.testclient import TestClient

from serve_app.api.app import build_api
from serve_app.assets import GOLDEN_CLIP
from serve_app.audio.clip import AudioClip
from serve_app.caller import Caller
from serve_app.options import TranscribeOptions
from serve_app.settings import ApiKey, AppSettings
from serve_app.transcript import Segment, Tell, Transcript, Word
from tests.unit.audio_files import sweep, written
from tests.unit.deaf_service import DeafService

AUDIO = GOLDEN_CLIP.read_bytes()


class Service(DeafService):
    """Has heard two words in any audio, and keeps what it was asked."""

    async def transcribe(
        self,
        clip: AudioClip,
        options: TranscribeOptions,
        caller: Caller,
        tell: Tell | None = None,
    ) -> Transcript:
        self.seconds, self.options = clip.seconds, options
        words = (Word(0.0, 0.4, " Grüezi", 0.5), Word(0.5, 1.0, " mitenand.", 0.0))
        said = Segment(0.0, 1.0, " Grüezi mitenand.", -0.5, 0.0, 1.0, 0.0, 0, (), words)
        return Transcript((said,), "de", 0.97, clip.received_seconds, 1.0)


@pytest.fixture
def service() -> Service:
    return Service()


@pytest.fixture
def client(service: Service) -> TestClient:
    return TestClient(build_api(service, AppSettings(), ApiKey()))


def convert(client: TestClient, audio: bytes = AUDIO, **fields: Any) -> Any:
    return client.post("/v1/speech-to-text", files={"file": audio}, data=fields)


def test_an_answer_has_words_and_the_spaces_between_them(client: TestClient) -> None:
    body = convert(client, model_id="scribe_v1").json()
    assert (body["language_code"], body["language_probability"]) == ("deu", 0.97)
    assert body["text"] == "".join(word["text"] for word in body["words"]) == "Grüezi mitenand."
    first, space, last = body["words"]
    assert first == {"text": "Grüezi", "start": 0, "end": 0.4, "type": "word", "logprob": -0.693147}
    assert space == {"text": " ", "start": 0.4, "end": 0.5, "type": "spacing", "logprob": 0}
    assert last["logprob"] == pytest.approx(-23.02585)  # JSON has no minus infinity


def test_characters_share_the_time_of_their_word(client: TestClient) -> None:
    body = convert(client, timestamps_granularity="character").json()
    last = body["words"][0]["characters"][-1]
    assert last == {"text": "i", "start": 0.333, "end": 0.4}


def test_channels_come_apart_or_combined(service: Service) -> None:
    stereo = written(sweep(16_000, 2), 16_000)
    with TestClient(build_api(service, AppSettings(), ApiKey())) as client:
        apart = convert(client, stereo, use_multi_channel="true").json()
        style = {"multichannel_output_style": "combined"}
        combined = convert(client, stereo, use_multi_channel="true", **style).json()
    assert [one["channel_index"] for one in apart["transcripts"]] == [0, 1]
    assert {one["text"] for one in apart["transcripts"]} == {"Grüezi mitenand."}
    assert apart["audio_duration_secs"] == 1.5
    words = [one for one in combined["words"] if one["type"] == "word"]
    assert [(one["channel_index"], one["text"]) for one in words] == [
        *((0, "Grüezi"), (1, "Grüezi"), (0, "mitenand."), (1, "mitenand."))
    ]
    assert words[1]["speaker_id"] == "speaker_1"


def test_one_channel_has_one_transcript(client: TestClient) -> None:
    assert "transcripts" not in convert(client, use_multi_channel="true").json()


@pytest.mark.parametrize(
    ("fields", "name", "value"),
    [
        ({"language_code": "deu"}, "language", "de"),
        ({"language_code": "null"}, "language", None),
        ({"keyterms": ["Grüezi", "Basel"]}, "hotwords", "Grüezi, Basel"),
        ({"temperature": "0.4"}, "temperature", (0.4,)),
        ({"temperature": "0.0"}, "temperature", (0.0, 0.2, 0.4, 0.6, 0.8, 1.0)),
        ({"use_multi_channel": "true"}, "multichannel", True),
        ({"timestamps_granularity": "none"}, "word_timestamps", False),
        ({"beam_size": "1"}, "beam_size", 1),
        ({"vad_filter": "false"}, "vad_filter", False),
        ({"language": "de"}, "language", "de"),
        ({"multichannel": "true"}, "multichannel", True),
    ],
)
def test_parameters_become_options(
    client: TestClient, service: Service, fields: dict[str, Any], name: str, value: object
) -> None:
    assert convert(client, **fields).status_code == 200
    assert getattr(service.options, name) == value


def test_a_thousand_key_terms_may_come_each_as_a_part(client: TestClient, service: Service) -> None:
    terms = [f"Grüezi mitenand {number}" for number in range(1_000)]
    assert convert(client, keyterms=terms).status_code == 200
    assert service.options.hotwords == ", ".join(terms)


def test_what_is_not_done_is_named(client: TestClient) -> None:
    fields: dict[str, Any] = {
        "diarize": "true",
        "num_speakers": "2",
        "tag_audio_events": "false",
        "seed": "null",
    }
    assert convert(client, **fields).headers["X-Ignored-Options"] == "diarize, num_speakers"


@pytest.mark.parametrize(
    ("fields", "name", "value"),
    [
        ({"language_code": "deu", "language": "fr"}, "language", "de"),
        ({"keyterms": "Basel", "hotwords": "Bern"}, "hotwords", "Basel"),
        ({"use_multi_channel": "false", "multichannel": "true"}, "multichannel", False),
        ({"word_timestamps": "false"}, "word_timestamps", True),
    ],
)
def test_elevenlabs_parameter_counts_before_our_option_which_is_named(
    client: TestClient, service: Service, fields: dict[str, Any], name: str, value: object
) -> None:
    assert convert(client, **fields).headers["X-Ignored-Options"] == name
    assert getattr(service.options, name) == value


def test_a_file_that_nobody_reads_is_named(client: TestClient) -> None:
    files = {"file": AUDIO, "keyterms": b"Basel"}
    response = client.post("/v1/speech-to-text", files=files)
    assert response.headers["X-Ignored-Options"] == "keyterms"


def test_other_formats_come_on_request(client: TestClient) -> None:
    asked = json.dumps([{"format": "txt"}, {"format": "srt", "include_speakers": False}])
    text, subtitles = convert(client, additional_formats=asked).json()["additional_formats"]
    assert (text["content"], text["file_extension"]) == ("Grüezi mitenand.", "txt")
    assert "00:00:00,000 --> 00:00:01," in subtitles["content"]


def test_samples_without_a_header_are_read_if_the_form_says_so_first(
    client: TestClient, service: Service
) -> None:
    assert convert(client, b"\x55" * 64_000, file_format="pcm_s16le_16").status_code == 200
    assert service.seconds == 2
    assert convert(client, b"\x55" * 64_000).status_code == 400


@pytest.mark.parametrize(
    "fields",
    [
        {"webhook": "true"},
        {"entity_redaction": '"pii"'},
        {"source_url": "https://a.example"},
        {"language_code": "klingon"},
        {"timestamps_granularity": "phrase"},
        {"additional_formats": '[{"format": "docx"}]'},
        {"additional_formats": '{"format": "srt"}'},
        {"keyterms": "<|de|>"},
        {"hotwords": "<|de|>"},
        {"multichannel_output_style": "combined", "timestamps_granularity": "none"},
    ],
    ids=lambda fields: next(iter(fields)),
)
def test_a_bad_parameter_is_named(client: TestClient, fields: dict[str, Any]) -> None:
    response = convert(client, **fields)
    (problem,) = response.json()["detail"]
    name = next(iter(fields))
    assert (response.status_code, problem["loc"]) == (422, ["body", name])
    assert problem["msg"].startswith(f"{name}: ")


def test_the_key_comes_in_elevenlabs_header(service: Service) -> None:
    client = TestClient(build_api(service, AppSettings(), ApiKey(key="k")))
    denied = convert(client, model_id="scribe_v1")
    assert denied.status_code == 401
    assert denied.json()["detail"]["status"] == "invalid_api_key"
    client.headers["xi-api-key"] = "k"
    assert convert(client, model_id="whisper-1").status_code == 200

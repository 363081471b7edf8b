"""Azure Speech's definitions, answers and errors, over a service that has heard a certain text."""

import json
from dataclasses import replace
from typing import Any

import pytest
from starlette.testclient import TestClient

from serve_app.api.app import build_api
from serve_app.assets import GOLDEN_CLIP
from serve_app.audio.clip import AudioClip
from serve_app.caller import Caller
from serve_app.errors import Overloaded
from serve_app.options import TranscribeOptions
from serve_app.settings import ApiKey, AppSettings
from serve_app.transcript import Segment, Tell, Transcript, Word
from tests.unit.deaf_service import DeafService

AUDIO = GOLDEN_CLIP.read_bytes()
FAST = "/speechtotext/transcriptions:transcribe?api-version=2025-10-15"
SHORT = "/speech/recognition/conversation/cognitiveservices/v1"
WORDS = (Word(0.1, 0.52, " Grüezi,", 0.9), Word(0.6, 1.0, " z'Basel!", 0.7))
SEGMENT = Segment(0.1, 1.0, " Grüezi, z'Basel!", -0.5, 0.0, 1.0, 0.0, 0, (), WORDS)
HEARD = Transcript((SEGMENT,), "de", 0.97, 1.143, 1.0)


class Service(DeafService):
    """Has heard ``transcript`` in any audio, and keeps what it was asked."""

    transcript = HEARD

    async def transcribe(
        self,
        clip: AudioClip,
        options: TranscribeOptions,
        caller: Caller,
        tell: Tell | None = None,
    ) -> Transcript:
        await super().transcribe(clip, options, caller, tell)
        self.options = options
        return self.transcript


@pytest.fixture
def service() -> Service:
    return Service()


@pytest.fixture
def client(service: Service) -> TestClient:
    return TestClient(build_api(service, AppSettings(), ApiKey()))


def fast(client: TestClient, definition: Any = None, files: Any = (("audio", AUDIO),)) -> Any:
    data = {} if definition is None else {"definition": json.dumps(definition)}
    # Without file names, as Microsoft's client sends bytes.
    return client.post(FAST, files=[(name, (None, audio)) for name, audio in files], data=data)


def short(client: TestClient, query: str = "") -> Any:
    return client.post(f"{SHORT}?{query}", content=AUDIO)


def test_a_fast_transcription_has_phrases_with_words_in_milliseconds(client: TestClient) -> None:
    assert fast(client, {"locales": ["en-US", "de-CH"]}).json() == {
        "durationMilliseconds": 1143,
        "combinedPhrases": [{"text": "Grüezi, z'Basel!"}],
        "phrases": [
            {
                "offsetMilliseconds": 100,
                "durationMilliseconds": 900,
                "text": "Grüezi, z'Basel!",
                "words": [
                    {"text": "Grüezi,", "offsetMilliseconds": 100, "durationMilliseconds": 420},
                    {"text": "z'Basel!", "offsetMilliseconds": 600, "durationMilliseconds": 400},
                ],
                "locale": "de-CH",
                "confidence": 0.8,
            }
        ],
    }


@pytest.mark.parametrize(
    ("definition", "name", "value"),
    [
        (None, "language", None),
        ({"locales": ["de-CH"]}, "language", "de"),
        ({"locales": ["de-DE", "fr-FR"]}, "language", None),
        ({"locales": []}, "language", None),
        ({"phraseList": {"phrases": ["Ray", "two words"]}}, "hotwords", "Ray, two words"),
        ({"phraseList": {"phrases": []}}, "hotwords", None),
        ({"enhancedMode": {"enabled": True, "task": "translate"}}, "task", "translate"),
        ({"enhancedMode": {"prompt": ["x"]}}, "task", "transcribe"),
        ({"beam_size": 1}, "beam_size", 1),
        ({"language": "de", "locales": []}, "language", "de"),
        ({"hotwords": "Ray"}, "hotwords", "Ray"),
        ({"task": "translate"}, "task", "translate"),
        ({"task": "translate", "enhancedMode": {"enabled": True}}, "task", "translate"),
        (None, "word_timestamps", True),
    ],
)
def test_a_definition_becomes_options(
    client: TestClient, service: Service, definition: Any, name: str, value: object
) -> None:
    assert fast(client, definition).status_code == 200
    assert getattr(service.options, name) == value


def test_what_is_not_done_is_named(client: TestClient) -> None:
    definition = {
        "profanityFilterMode": "Masked",
        "diarization": {"maxSpeakers": 2, "enabled": True},
        "models": {},
    }
    ignored = fast(client, definition).headers["X-Ignored-Options"]
    assert ignored == "diarization, profanityFilterMode"
    assert "X-Ignored-Options" not in fast(client, {"profanityFilterMode": "None"}).headers


@pytest.mark.parametrize(
    ("definition", "name", "value"),
    [
        ({"locales": ["de-CH"], "language": "fr"}, "language", "de"),
        ({"phraseList": {"phrases": ["Ray"]}, "hotwords": "Kai"}, "hotwords", "Ray"),
        ({"enhancedMode": {"task": "transcribe"}, "task": "translate"}, "task", "transcribe"),
        ({"word_timestamps": False}, "word_timestamps", True),
    ],
)
def test_azures_member_counts_before_our_option_which_is_named(
    client: TestClient, service: Service, definition: Any, name: str, value: object
) -> None:
    assert fast(client, definition).headers["X-Ignored-Options"] == name
    assert getattr(service.options, name) == value


def test_parts_that_nobody_reads_are_named(client: TestClient) -> None:
    parts = (("audio", AUDIO), ("beam_size", b"1"))
    response = fast(client, {"audioUrl": "http://there/a.wav"}, parts)
    assert response.headers["X-Ignored-Options"] == "audioUrl, beam_size"


@pytest.mark.parametrize(
    ("definition", "told"),
    [
        ({"language": "kl-KL"}, "language: "),
        ({"locales": ["kl-KL"]}, "locales: "),
        ({"locales": [1]}, "locales: "),
        ({"phraseList": ["a"]}, "phraseList: "),
        ({"phraseList": {"phrases": ["<|de|>"]}}, "phraseList: "),
        ({"enhancedMode": {"task": "summarise"}}, "enhancedMode: "),
        ({"enhancedMode": {"task": "translate", "targetLanguage": "ko"}}, "enhancedMode: "),
        ([1], "definition: "),
    ],
)
def test_a_wrong_definition_is_told_under_azures_name(
    client: TestClient, definition: Any, told: str
) -> None:
    response = fast(client, definition)
    body = response.json()
    assert (response.status_code, body["code"]) == (400, "InvalidRequest")
    assert body["message"].startswith(told)
    assert body["innerError"]["code"] == "invalid_option"


@pytest.mark.parametrize("url", [None, "http://there/a.wav"])
def test_a_form_without_audio_is_refused_and_no_url_is_fetched(
    client: TestClient, url: str | None
) -> None:
    response = fast(client, {"audioUrl": url}, files=())
    assert response.status_code == 400


def test_short_audio_is_one_phrase_in_ticks(client: TestClient) -> None:
    assert short(client, "language=de-CH").json() == {
        "RecognitionStatus": "Success",
        "DisplayText": "Grüezi, z'Basel!",
        "Offset": 1_000_000,
        "Duration": 9_000_000,
    }


def test_short_audio_in_detail_has_its_other_forms(client: TestClient) -> None:
    [best] = short(client, "format=detailed").json()["NBest"]
    assert best == {
        "Confidence": 0.8,
        "Lexical": "grüezi z'basel",
        "ITN": "grüezi z'basel",
        "MaskedITN": "grüezi z'basel",
        "Display": "Grüezi, z'Basel!",
    }


@pytest.mark.parametrize(
    ("speech_seconds", "status"), [(0.0, "InitialSilenceTimeout"), (1.0, "NoMatch")]
)
def test_nothing_heard_in_short_audio_has_a_status(
    client: TestClient, service: Service, speech_seconds: float, status: str
) -> None:
    service.transcript = replace(HEARD, segments=(), speech_seconds=speech_seconds)
    answer = short(client, "format=detailed").json()
    assert answer == {"RecognitionStatus": status, "Offset": 0, "Duration": 11_430_000}


def test_the_query_of_short_audio_becomes_options(client: TestClient, service: Service) -> None:
    query = "language=de-CH&format=simple&profanity=raw&Ocp-Apim-Subscription-Key=k&token=k"
    assert short(client, query).headers["X-Ignored-Options"] == "profanity"
    assert service.options.language == "de"
    own = short(client, "word_timestamps=false").headers["X-Ignored-Options"]
    assert own == "word_timestamps"
    assert short(client, "language=kl-KL").json()["message"].startswith("language: ")
    assert short(client, "format=long").json()["message"].startswith("format: ")


def test_errors_have_azures_form_and_codes() -> None:
    full = DeafService(Overloaded("Full.", retry_after_seconds=3))
    client = TestClient(build_api(full, AppSettings(), ApiKey(key="k")))
    for path in (FAST, f"{SHORT}?language=en-US"):
        refused = client.post(path, content=AUDIO)
        assert (refused.status_code, refused.json()["code"]) == (401, "Unauthorized")
        by_header = client.post(path, content=AUDIO, headers={"Ocp-Apim-Subscription-Key": "k"})
        in_the_query = client.post(f"{path}&ocp-apim-subscription-key=k", content=AUDIO)
        for full_up in (by_header, in_the_query):
            assert (full_up.status_code, full_up.json()["code"]) == (429, "TooManyRequests")
            assert full_up.headers["Retry-After"] == "3"

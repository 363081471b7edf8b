"""Deepgram's query, answers and errors, over a service that has heard a certain text."""

import functools
import hashlib
import threading
import time
from collections.abc import Iterator
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from serve_app.api.app import build_api
from serve_app.assets import GOLDEN_CLIP
from serve_app.audio.clip import AudioClip
from serve_app.caller import Caller
from serve_app.errors import Overloaded
from serve_app.options import TranscribeOptions
from serve_app.settings import ApiKey, AppSettings, RemoteSettings
from serve_app.transcript import Segment, Tell, Transcript, Word
from tests.unit.audio_files import sweep, written
from tests.unit.deaf_service import DeafService

AUDIO = GOLDEN_CLIP.read_bytes()
SAID = [
    (" Grüezi", 0.0, 0.5),
    (" mitenand.", 0.5, 1.0),
    (" Isch", 1.1, 1.4),
    (' "guet"?', 1.4, 2.0),
    (" Ja!", 4.5, 5.0),
]


class Service(DeafService):
    """Has heard ``SAID`` in any audio, and keeps what it was asked."""

    async def transcribe(
        self,
        clip: AudioClip,
        options: TranscribeOptions,
        caller: Caller,
        tell: Tell | None = None,
    ) -> Transcript:
        empty = await super().transcribe(clip, options, caller, tell)
        self.seconds, self.options = clip.seconds, options
        words = tuple(Word(start, end, word, 0.5) for word, start, end in SAID)
        segments = tuple(
            Segment(
                start=part[0].start,
                end=part[-1].end,
                text="".join(word.word for word in part),
                avg_logprob=-0.5,
                no_speech_prob=0.0,
                compression_ratio=1.0,
                temperature=0.0,
                seek=0,
                tokens=(),
                words=part,
            )
            for part in (words[:4], words[4:])
        )
        return Transcript(segments, "de", 0.97, empty.duration_seconds, 3.0)


@pytest.fixture
def service() -> Service:
    return Service()


@pytest.fixture
def client(service: Service) -> TestClient:
    return TestClient(build_api(service, AppSettings(), ApiKey()))


def listen(client: TestClient, query: str = "", body: bytes = AUDIO, request_id: str = "x") -> Any:
    headers = {"X-Request-ID": request_id}
    response = client.post(f"/v1/listen?{query}", content=body, headers=headers)
    assert response.status_code == 200, response.text
    return response.json()


def heard(client: TestClient, query: str = "") -> Any:
    (channel,) = listen(client, query)["results"]["channels"]
    (alternative,) = channel["alternatives"]
    return alternative


def test_an_answer_has_the_text_its_words_and_what_was_sent(client: TestClient) -> None:
    body = listen(client, "model=whisper", request_id="my-id")
    metadata, (channel,) = body["metadata"], body["results"]["channels"]
    assert (metadata["request_id"], metadata["channels"]) == ("my-id", 1)
    assert metadata["sha256"] == hashlib.sha256(AUDIO).hexdigest()
    assert metadata["duration"] == pytest.approx(1.143)
    assert {metadata["model_info"][one]["name"] for one in metadata["models"]} == {"base"}
    assert (channel["detected_language"], channel["language_confidence"]) == ("de", 0.97)
    (alternative,) = channel["alternatives"]
    assert alternative["transcript"] == 'Grüezi mitenand. Isch "guet"? Ja!'
    assert alternative["confidence"] == 0.5
    assert [word["word"] for word in alternative["words"]] == [
        *("grüezi", "mitenand", "isch", "guet", "ja")
    ]
    assert alternative["words"][0] == {"word": "grüezi", "start": 0, "end": 0.5, "confidence": 0.5}
    assert {"paragraphs", "utterances", "warnings"}.isdisjoint(alternative | body | metadata)


@pytest.mark.parametrize("query", ["punctuate=true", "smart_format=true", "paragraphs=true"])
def test_words_as_they_are_written_come_on_request(client: TestClient, query: str) -> None:
    words = heard(client, query)["words"]
    assert [word["punctuated_word"] for word in words][1:4] == ["mitenand.", "Isch", '"guet"?']


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("utterances=true", [(0, 2), (4.5, 5)]),
        ("utterances=true&utt_split=0.1", [(0, 1), (1.1, 2), (4.5, 5)]),
        ("utterances=true&utt_split=3", [(0, 5)]),
    ],
)
def test_utterances_end_with_a_pause(
    client: TestClient, query: str, expected: list[tuple[float, float]]
) -> None:
    utterances = listen(client, query)["results"]["utterances"]
    assert [(one["start"], one["end"]) for one in utterances] == expected
    assert len({one["id"] for one in utterances}) == len(expected)
    assert " ".join(one["transcript"] for one in utterances) == heard(client)["transcript"]


def test_channels_are_told_apart_on_request(service: Service) -> None:
    stereo = written(sweep(16_000, 2), 16_000)
    with TestClient(build_api(service, AppSettings(), ApiKey())) as client:
        mixed = listen(client, "", stereo)
        body = listen(client, "multichannel=true&utterances=true", stereo)
    assert (mixed["metadata"]["channels"], body["metadata"]["channels"]) == (1, 2)
    texts = [one["alternatives"][0]["transcript"] for one in body["results"]["channels"]]
    assert texts == ['Grüezi mitenand. Isch "guet"? Ja!'] * 2
    said = [(one["start"], one["channel"]) for one in body["results"]["utterances"]]
    assert said == [(0, 0), (0, 1), (4.5, 0), (4.5, 1)]


def test_paragraphs_hold_sentences(client: TestClient) -> None:
    paragraphs = heard(client, "paragraphs=true")["paragraphs"]
    assert paragraphs["transcript"] == 'Grüezi mitenand. Isch "guet"?\n\nJa!'
    first, second = paragraphs["paragraphs"]
    assert [one["text"] for one in first["sentences"]] == ["Grüezi mitenand.", 'Isch "guet"?']
    assert (first["num_words"], second["start"], second["end"]) == (4, 4.5, 5.0)


@pytest.mark.parametrize(
    ("query", "name", "value"),
    [
        ("language=de-CH", "language", "de"),
        ("language=multi", "language", None),
        ("language=de&detect_language=true", "language", None),
        ("keywords=ray:2&keywords=kub&keyterm=two+words", "hotwords", "two words, ray, kub"),
        ("beam_size=1", "beam_size", 1),
        ("vad_filter=false", "vad_filter", False),
        ("", "word_timestamps", True),
    ],
)
def test_parameters_become_options(
    client: TestClient, service: Service, query: str, name: str, value: object
) -> None:
    listen(client, query)
    assert getattr(service.options, name) == value


def test_what_is_not_done_is_named(client: TestClient) -> None:
    query = "model=nova-3&diarize=true&numerals=false&search=a&search=b"
    warnings = listen(client, query)["metadata"]["warnings"]
    named = {one["parameter"] for one in warnings}
    assert named == {"diarize", "search", "model"}
    assert all(one["parameter"] in one["message"] for one in warnings)


def test_a_key_in_the_query_is_no_reason_to_warn(client: TestClient) -> None:
    body = listen(client, "token=k&Ocp-Apim-Subscription-Key=k")
    assert "warnings" not in body["metadata"]


def test_key_terms_count_before_our_hotwords_which_are_named(
    client: TestClient, service: Service
) -> None:
    (warning,) = listen(client, "keyterm=Basel&hotwords=Bern")["metadata"]["warnings"]
    assert (warning["parameter"], service.options.hotwords) == ("hotwords", "Basel")


@pytest.mark.parametrize("model", ["whisper", "whisper-base", "base"])
def test_the_served_model_is_no_reason_to_warn(client: TestClient, model: str) -> None:
    query = f"model={model}&mip_opt_out=true&version=latest"
    assert "warnings" not in listen(client, query)["metadata"]


def test_labels_come_back(client: TestClient) -> None:
    metadata = listen(client, "tag=a&tag=b&extra=call:7&extra=agent:x:y")["metadata"]
    assert metadata["tags"] == ["a", "b"]
    assert metadata["extra"] == {"call": "7", "agent": "x:y"}


@pytest.mark.parametrize(
    ("encoding", "rate_hz", "n_bytes"), [("linear16", 8_000, 2), ("mulaw", 16_000, 1)]
)
def test_samples_without_a_header_are_read_as_the_query_says(
    service: Service, encoding: str, rate_hz: int, n_bytes: int
) -> None:
    query = f"encoding={encoding}&sample_rate={rate_hz}"
    with TestClient(build_api(service, AppSettings(), ApiKey())) as client:
        body = listen(client, query, b"\x55" * (2 * rate_hz * n_bytes))
    assert (body["metadata"]["duration"], round(service.seconds, 2)) == (2.0, 2.0)


def test_a_wav_file_is_read_as_its_own_header_says(client: TestClient) -> None:
    query = "encoding=linear16&sample_rate=8000"
    assert listen(client, query)["metadata"]["duration"] == pytest.approx(1.143)


@pytest.mark.parametrize(
    ("query", "told"),
    [
        ("callback=https://a.example", "callback"),
        ("redact=pci", "redact"),
        ("model=5235ed40-9be2-4ac0-a2b8-0b5d2c7b8c8d", "model"),
        ("utterances=perhaps", "utterances"),
        ("utt_split=-1", "utt_split"),
        ("language=klingon", "language"),
        ("keyterm=%3C%7Cde%7C%3E", "keyterm"),
        ("beam_size=many", "beam_size"),
    ],
)
def test_a_bad_parameter_is_named(client: TestClient, query: str, told: str) -> None:
    response = client.post(f"/v1/listen?{query}", content=AUDIO)
    body = response.json()
    assert (response.status_code, body["err_code"]) == (400, "Bad Request")
    assert body["err_msg"].startswith(f"{told}: ")
    assert body["request_id"] == response.headers.get("X-Request-ID", body["request_id"])


@pytest.mark.parametrize("name", ["nova-2-general", "whisper_large.v3", "Enhanced"])
def test_a_model_of_deepgrams_leaves_the_choice_to_the_server(
    client: TestClient, name: str
) -> None:
    (warning,) = listen(client, f"model={name}")["metadata"]["warnings"]
    assert (warning["parameter"], warning["type"]) == ("model", "unsupported_model")


@pytest.mark.parametrize(
    "name", [f"whisper{'_a' * 26}!", f"nova{'-2' * 10_000}"], ids=["nearly-a-model", "long"]
)
def test_a_hostile_model_name_is_refused_at_once(client: TestClient, name: str) -> None:
    began = time.process_time()
    response = client.post(f"/v1/listen?model={name}", content=AUDIO)
    assert time.process_time() - began < 1.0
    assert (response.status_code, response.json()["err_code"]) == (400, "Bad Request")


@pytest.mark.parametrize("body", [b"", b"not audio", b"RIFF"])
def test_a_body_that_is_not_audio_is_a_bad_request(client: TestClient, body: bytes) -> None:
    response = client.post("/v1/listen", content=body)
    assert (response.status_code, response.json()["err_code"]) == (400, "Bad Request")


def test_other_errors_have_deepgrams_codes() -> None:
    full = DeafService(Overloaded("Full.", retry_after_seconds=3))
    client = TestClient(build_api(full, AppSettings(), ApiKey(key="k")))
    refused = client.post("/v1/listen", content=AUDIO)
    assert (refused.status_code, refused.json()["err_code"]) == (401, "INVALID_AUTH")
    refused = client.post("/v1/listen", content=AUDIO, headers={"Authorization": "Token k"})
    assert (refused.status_code, refused.json()["err_code"]) == (429, "TOO_MANY_REQUESTS")
    assert refused.headers["Retry-After"] == "3"


@pytest.fixture
def files(tmp_path: Path) -> Iterator[int]:
    """The port of a host that has the audio."""
    (tmp_path / "speech.wav").write_bytes(AUDIO)
    (tmp_path / "page.html").write_bytes(b"<html>" * 10_000)
    handler = functools.partial(SimpleHTTPRequestHandler, directory=str(tmp_path))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server.server_port
        server.shutdown()


def ask_for(url: object, *allowed: str) -> Any:
    remote = RemoteSettings(allowed_hosts=allowed, allow_private_addresses=True)
    client = TestClient(build_api(Service(), AppSettings(remote=remote), ApiKey()))
    return client.post("/v1/listen", json={"url": url})


def test_a_url_of_an_allowed_host_is_fetched(files: int) -> None:
    response = ask_for(f"http://localhost:{files}/speech.wav", f"localhost:{files}")
    assert response.json()["metadata"]["sha256"] == hashlib.sha256(AUDIO).hexdigest()


def test_a_page_behind_a_url_is_refused_by_its_start(files: int) -> None:
    response = ask_for(f"http://localhost:{files}/page.html", f"localhost:{files}")
    assert (response.status_code, response.json()["err_code"]) == (400, "Bad Request")


@pytest.mark.parametrize("url", [None, 7, {"a": 1}, "x" * 20_000, "http://localhost/speech.wav"])
def test_no_other_url_is_fetched(url: object) -> None:
    response = ask_for(url)
    assert (response.status_code, response.json()["err_code"]) == (400, "Bad Request")


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"[" * 10_000])
def test_json_without_a_url_is_told_so(client: TestClient, body: bytes) -> None:
    headers = {"Content-Type": "application/json; charset=utf-8"}
    response = client.post("/v1/listen", content=body, headers=headers)
    assert (response.status_code, "url" in response.json()["err_msg"]) == (400, True)

"""What every call does, whatever its protocol, over a service that hears nothing."""

import asyncio
import json
import logging
import re
import sys
from dataclasses import replace
from typing import Any

import pytest
from starlette.testclient import TestClient

from serve_app.api.app import build_api
from serve_app.assets import GOLDEN_CLIP
from serve_app.audio.clip import AudioClip
from serve_app.caller import Caller, Priority
from serve_app.errors import Overloaded
from serve_app.options import OptionLimits, TranscribeOptions
from serve_app.settings import ApiKey, AppSettings, HttpSettings, QuotaSettings
from serve_app.transcript import Segment, Tell, Transcript
from tests.unit.asgi import asked, http_scope
from tests.unit.audio_files import SECONDS, compressed, sweep, written
from tests.unit.deaf_service import DeafService
from tests.unit.test_form import field_part, file_part


class Site:
    """An open server."""

    def __init__(self, service: DeafService, settings: AppSettings | None = None) -> None:
        self.app = build_api(service, settings or AppSettings(), ApiKey())
        self.client = TestClient(self.app)

    def post(self, options: object = None, **headers: str) -> Any:
        return self.client.post(
            "/transcribe",
            files={"file": GOLDEN_CLIP.read_bytes()},
            data={"generate_kwargs": json.dumps(options)},
            headers=headers,
        )


@pytest.fixture
def service() -> DeafService:
    return DeafService()


@pytest.fixture
def site(service: DeafService) -> Site:
    return Site(service)


def test_a_service_that_refuses_is_asked_before_the_body_is_read() -> None:
    service = DeafService(Overloaded("Full.", retry_after_seconds=3))
    answer = asked(Site(service).app, http_scope("/transcribe"), [1_000.0])  # the body never comes
    assert (answer.status, answer.seconds, answer.headers["retry-after"]) == (429, 0, "3")


@pytest.mark.skipif(sys.platform != "linux", reason="needs files in memory")
def test_compressed_audio_is_decoded_while_the_application_runs(site: Site) -> None:
    with site.client as client:
        answer = client.post("/transcribe", files={"file": compressed("mp3")})
    assert (answer.status_code, round(answer.json()["duration"], 1)) == (200, SECONDS)


def test_the_answer_says_where_the_time_went(site: Site) -> None:
    timing = site.post().headers["Server-Timing"]
    assert re.sub(r"\d+\.\d", "T", timing) == (
        "receive;dur=T, decode;dur=T, engine;dur=T, handover;dur=T"
    )


def test_ignored_options_are_named_up_to_twenty(site: Site) -> None:
    unknown = {f"x{n:02}": 1 for n in range(25)}
    named = site.post(unknown).headers["X-Ignored-Options"]
    assert named.startswith("x00, x01, ")
    assert named.endswith(", x19 and 5 more")
    assert "X-Ignored-Options" not in site.post().headers


def test_more_windows_than_allowed_are_refused_before_the_service_has_any_work() -> None:
    service = DeafService()
    site = Site(service, AppSettings(options=OptionLimits(max_windows=2)))
    response = site.post({"clip_timestamps": [[0, 0.1], [0.1, 0.2], [0.2, 0.3]]})
    error = response.json()["error"]
    assert (response.status_code, error["code"]) == (422, "invalid_option")
    assert error["field"] == "generate_kwargs.clip_timestamps"
    assert "this server takes 2" in error["message"]
    assert not service.callers


@pytest.mark.skipif(sys.platform != "linux", reason="needs files in memory")
def test_a_file_that_breaks_off_is_charged_for_what_could_be_decoded() -> None:
    settings = AppSettings(quota=QuotaSettings(audio_seconds_per_minute=60))
    whole = written(sweep(8_000, seconds=200), 8_000, "PCM_16", "FLAC")
    with TestClient(build_api(DeafService(), settings, ApiKey(key="a"))) as client:
        answers = [
            client.post("/transcribe", files={"file": audio}, headers={"X-API-Key": "a"})
            for audio in (whole[:5_000], whole[: len(whole) * 3 // 4], whole)
        ]
    codes = [answer.json()["error"]["code"] for answer in answers]
    assert codes == ["truncated_audio", "truncated_audio", "quota_exceeded"]


@pytest.fixture
def stereo() -> bytes:
    return written(sweep(16_000, 2, seconds=40), 16_000)


@pytest.mark.skipif(sys.platform != "linux", reason="needs files in memory")
def test_each_channel_is_a_request_of_its_own(
    site: Site, service: DeafService, stereo: bytes
) -> None:
    with site.client as client:
        files, data = {"file": stereo}, {"multichannel": "true"}
        answer = client.post("/transcribe", files=files, data=data)
    assert (answer.json()["duration"], len(service.callers)) == (40, 2)


class SoloService(DeafService):
    """Refuses a file while it has another one, as admission does with large ones."""

    is_busy = False
    n_refused = 0

    async def transcribe(
        self,
        clip: AudioClip,
        options: TranscribeOptions,
        caller: Caller,
        tell: Tell | None = None,
    ) -> Transcript:
        if self.is_busy or self.n_refused:
            self.n_refused -= not self.is_busy
            raise Overloaded("Full.", retry_after_seconds=0.01)
        self.is_busy = True
        try:
            await asyncio.sleep(0.01)
            return await super().transcribe(clip, options, caller, tell)
        finally:
            self.is_busy = False
            self.n_refused = 2 if len(self.callers) == 1 else 0  # somebody else has come


@pytest.mark.skipif(sys.platform != "linux", reason="needs files in memory")
def test_the_channels_of_a_long_file_are_no_rivals_and_wait_for_others() -> None:
    service = SoloService()
    long = written(sweep(16_000, 2, seconds=61), 16_000)
    with Site(service).client as client:
        answer = client.post("/transcribe", files={"file": long}, data={"multichannel": "true"})
    assert (answer.status_code, len(service.callers)) == (200, 2)


class TimelyService(DeafService):
    """Hears a word in each clip, in the second one earlier than in the first."""

    async def transcribe(
        self,
        clip: AudioClip,
        options: TranscribeOptions,
        caller: Caller,
        tell: Tell | None = None,
    ) -> Transcript:
        heard = await super().transcribe(clip, options, caller, tell)
        number = len(self.callers)
        word = Segment(9.0 - number, 9.5 - number, f" {number}", -0.5, 0, 1, 0, 0, (), None)
        return replace(heard, segments=(word,))


@pytest.mark.skipif(sys.platform != "linux", reason="needs files in memory")
def test_segments_of_several_channels_are_told_in_order_of_time(stereo: bytes) -> None:
    with Site(TimelyService()).client as client:
        data = {"multichannel": "true", "stream": "true"}
        answer = client.post("/v1/audio/transcriptions", files={"file": stereo}, data=data)
    events = [json.loads(line[6:]) for line in answer.text.splitlines() if line[:7] == "data: {"]
    assert [one["delta"] for one in events if "delta" in one] == ["2", " 1"]
    assert events[-1]["text"] == "2 1"


@pytest.mark.skipif(sys.platform != "linux", reason="needs files in memory")
def test_the_windows_of_all_channels_count(service: DeafService, stereo: bytes) -> None:
    settings = AppSettings(options=OptionLimits(max_windows=3))
    with Site(service, settings).client as client:
        answers = [
            client.post("/transcribe", files={"file": stereo}, data={"multichannel": flag})
            for flag in ("false", "true")
        ]
    assert [answer.status_code for answer in answers] == [200, 413]
    assert "80 s of audio would make 4 windows" in answers[1].json()["error"]["message"]


def test_whatever_of_a_request_has_no_effect_is_named(site: Site) -> None:
    response = site.client.post(
        "/transcribe?language=en&lang=de",
        files=[
            ("file", ("a.wav", GOLDEN_CLIP.read_bytes())),
            ("generate_kwargs", ("blob", b'{"language": "de", "beam_sise": 1}', "text/plain")),
            ("generate_kwarg", ("blob", b'{"beam_size": 1}', "application/json")),
        ],
        data={"model": "whisper-1", "beam_size": "3"},
    )
    named = "beam_sise, generate_kwarg, lang, model, query.language"
    assert (response.status_code, response.headers["X-Ignored-Options"]) == (200, named)


@pytest.mark.parametrize("name", ["generate_kwarg", "cover"])
def test_strictly_a_file_that_is_not_the_audio_is_refused(name: str) -> None:
    http = HttpSettings(strict_options=True)
    client = TestClient(build_api(DeafService(), AppSettings(http=http), ApiKey()))
    clip = GOLDEN_CLIP.read_bytes()
    response = client.post("/transcribe", files={"file": clip, name: b"{}"})
    error = response.json()["error"]
    assert (response.status_code, error["field"]) == (422, name)
    assert f"{name} is not an option" in error["message"]


@pytest.mark.parametrize(
    ("query", "fields"),
    [
        (b"beam_size=0", b""),
        (b"", field_part("beam_size", b"0")),
        (b"", field_part("generate_kwargs", b'{"beam_size": 0}')),
    ],
    ids=["query", "field", "object"],
)
def test_a_wrong_option_before_the_file_is_answered_before_the_file_has_come(
    site: Site, query: bytes, fields: bytes
) -> None:
    form = [("content-type", b"multipart/form-data; boundary=x")]
    scope = {**http_scope("/transcribe", headers=form), "query_string": query}
    begun = fields + file_part(b"RIFF").removesuffix(b"\r\n")
    answer = asked(site.app, scope, [begun, 1_000.0])  # the rest never comes
    assert (answer.status, answer.error["code"], answer.seconds) == (422, "invalid_option", 0)


@pytest.mark.parametrize("sent", ["bulk", " BULK "])
def test_a_priority_reaches_the_service(site: Site, service: DeafService, sent: str) -> None:
    site.post(**{"X-Priority": sent})
    assert service.callers[0].priority is Priority.BULK


def test_an_unknown_priority_is_refused_with_those_that_are_known(site: Site) -> None:
    response = site.post(**{"X-Priority": "urgent"})
    error = response.json()["error"]
    assert (response.status_code, error["field"]) == (400, "X-Priority")
    assert "allowed: auto, interactive, bulk" in error["message"]


def test_the_log_line_tells_of_the_audio_and_not_of_the_text(
    site: Site, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO, "whisper_ox.access"):
        site.post({"lang": "en"})
    told = vars(caplog.records[-1])["fields"]
    assert told.items() >= {"audio_s": 1.14, "segments": 0, "ignored_options": "lang"}.items()
    assert set(told) <= {
        *("body_bytes", "audio_s", "engine_s", "language", "segments", "ignored_options", "model"),
    }

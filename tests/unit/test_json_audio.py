"""Audio in JSON: read back whole whatever stands beside it, and refused where it is not audio."""

import asyncio
import base64
import json
import re
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.requests import Request
from starlette.testclient import TestClient
from starlette.types import Message

from serve_app.api.app import build_api
from serve_app.api.sources import json_audio
from serve_app.api.sources.form import MAX_FIELD_BYTES, MAX_FIELDS, Form
from serve_app.assets import GOLDEN_CLIP
from serve_app.errors import FormTooLarge, WhisperOxError
from serve_app.settings import ApiKey, AppSettings
from tests.unit.asgi import http_scope
from tests.unit.deaf_service import DeafService

AUDIO = GOLDEN_CLIP.read_bytes()
BASE64 = base64.b64encode(AUDIO).decode()


def read(body: bytes) -> Form:
    async def receive() -> Message:
        return {"type": "http.request", "body": body, "more_body": False}

    request = Request(http_scope("/api/v1/audio/transcriptions"), receive)
    return asyncio.run(json_audio.read_json_form(request, lambda head: None))


def body_of(data: str = BASE64, /, **members: Any) -> bytes:
    return json.dumps({**members, "input_audio": {"data": data, "format": "wav"}}).encode()


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text() | st.just("data"), inner),
    max_leaves=10,
)


@given(st.binary(min_size=300, max_size=2_000), JSON, st.booleans())
def test_audio_is_read_back_whatever_stands_beside_it(
    audio: bytes, other: object, is_first: bool
) -> None:
    sent = {"data": base64.b64encode(audio).decode(), "format": "wav"}
    members = {"input_audio": sent, "trace": other}
    body = json.dumps(members if is_first else dict(reversed(members.items())))
    assert read(body.encode()).audio() == audio


def test_audio_of_many_pieces_is_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(json_audio, "PIECE_CHARACTERS", 1_024)
    for cut in range(3):  # with one, two and no padding characters
        audio = AUDIO[: len(AUDIO) - cut]
        assert read(body_of(base64.b64encode(audio).decode())).audio() == audio


@pytest.mark.parametrize("data", [BASE64.replace("/", r"\/"), BASE64.rstrip("=")])
def test_base64_is_read_as_other_programs_write_it(data: str) -> None:
    assert read(b'{"input_audio" : { "data" :"' + data.encode() + b'"}}').audio() == AUDIO


def test_other_members_become_the_fields_of_a_form() -> None:
    members = {"model": "m", "temperature": 0, "stream": False, "user": None, "language": "é"}
    form = read(body_of(**members, timestamp_granularities=["word", "segment"], provider={"a": 1}))
    assert form.texts() == [
        ("model", "m"),
        ("temperature", "0"),
        ("stream", "false"),
        ("language", "é"),
        ("timestamp_granularities[]", "word"),
        ("timestamp_granularities[]", "segment"),
        ("provider[a]", "1"),
    ]


@pytest.mark.parametrize(
    ("body", "field"),
    [
        (b"", "input_audio"),
        (b"{}", "input_audio"),
        (b'{"input_audio": "UklGRg=="}', "input_audio"),
        (b'{"data": "UklGRg=="}', "input_audio"),
        (body_of("data:audio/wav;base64," + BASE64), "input_audio"),
        (body_of("\n".join((BASE64[:76], BASE64[76:]))), "input_audio"),
        (body_of(""), "input_audio"),
        (b"[]", "body"),
        (b'{"input_audio": {"data": "UklGRg=="', "body"),
        (b'"data"' * 1_000, "body"),
        (b"[" * 100_000, "body"),
        (b" " * (MAX_FIELD_BYTES + 1), None),
        (json.dumps(dict.fromkeys(map(str, range(MAX_FIELDS + 1)), 1)).encode(), "input_audio"),
        (body_of(**{str(n): 1 for n in range(MAX_FIELDS + 1)}), None),
    ],
)
def test_what_holds_no_audio_is_refused(body: bytes, field: str | None) -> None:
    with pytest.raises(WhisperOxError) as refused:
        read(body)
    assert 400 <= refused.value.status < 500
    assert refused.value.field == field


@pytest.mark.parametrize("name", [b'"data"', b'"data":"a",'])
def test_the_audio_is_not_looked_for_beyond_what_may_stand_beside_it(
    name: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    places: list[int] = []

    def match(body: bytearray, at: int) -> re.Match[bytes] | None:
        places.append(at)
        return pattern.match(body, at)

    pattern = json_audio._VALUE
    monkeypatch.setattr(json_audio, "_VALUE", SimpleNamespace(match=match))
    with pytest.raises(FormTooLarge):
        read(name * (2 * MAX_FIELD_BYTES // len(name)))
    assert len(places) <= MAX_FIELD_BYTES // len(name) + 1


def test_errors_have_openrouters_form() -> None:
    client = TestClient(build_api(DeafService(), AppSettings(), ApiKey()))
    path = "/api/v1/audio/transcriptions"
    headers = {"Content-Type": "application/json; charset=utf-8", "X-Request-ID": "mine"}
    for body, field in ((b"{", "body"), (body_of(temperature=7), "temperature")):
        response = client.post(path, content=body, headers=headers)
        error = response.json()["error"]
        assert (response.status_code, error["code"]) == (400, 400)
        metadata = {"code": "invalid_option", "field": field, "request_id": "mine"}
        assert error["metadata"] == metadata
    answer = client.post(path, content=body_of(session_id="s"), headers=headers)
    assert (answer.status_code, answer.json()["text"]) == (200, "")
    assert answer.headers["X-Ignored-Options"] == "session_id"

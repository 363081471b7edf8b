from typing import Any

import httpx
import pytest

from loadtest.client import Reply
from loadtest.dialects import Contract, OpenAI, dialect
from loadtest.run import other_server
from serve_app.errors import WhisperOxError
from serve_app.settings import ApiKey

OVERLOADED: dict[str, Any] = {"error": {"code": "overloaded", "message": "full"}}


@pytest.mark.parametrize("url", ["http://there", "http://there/", "http://there/v1"])
def test_openai_is_asked_at_its_own_path(url: str) -> None:
    with httpx.Client() as http:
        request = OpenAI("large").request(http, url, b"RIFF")
    content = request.read()
    assert str(request.url) == "http://there/v1/audio/transcriptions"
    assert b"large" in content and b"RIFF" in content


def test_openais_text_is_the_transcript() -> None:
    answer = OpenAI().answer(httpx.Response(200, json={"text": " red car "}))
    assert (answer.status, answer.text) == (200, "red car")


def test_openais_errors_keep_their_code_and_time() -> None:
    headers = {"Retry-After": "7"}
    answer = OpenAI().answer(httpx.Response(429, json=OVERLOADED, headers=headers))
    assert (answer.text, answer.code, answer.retry_after) == (None, "overloaded", 7.0)


def test_the_contracts_refusal_keeps_its_code_and_time() -> None:
    answer = Contract("base").answer(
        Reply(429, OVERLOADED, httpx.Headers({"Retry-After": "3"}), 0.5)
    )
    assert (answer.status, answer.text, answer.code) == (429, None, "overloaded")
    assert answer.retry_after == 3.0


@pytest.mark.parametrize("body", ["<html>busy</html>", "[]", "null"])
def test_any_other_answer_is_no_transcript(body: str) -> None:
    ours = Contract("base").answer(Reply(502, body, httpx.Headers(), 0.5))
    theirs = OpenAI().answer(httpx.Response(502, text=body))
    assert ours.text is theirs.text is None
    assert ours.code == theirs.code == ""


def test_a_date_to_come_again_is_no_number_of_seconds() -> None:
    headers = {"Retry-After": "Wed, 21 Oct 2026 07:28:00 GMT"}
    assert OpenAI().answer(httpx.Response(429, headers=headers)).retry_after is None


def test_each_way_of_asking_carries_the_key_its_own_way() -> None:
    key = ApiKey(key="secret", header="X-Whisper-Key")
    assert Contract("base").headers(key) == {"X-Whisper-Key": "secret"}
    assert OpenAI().headers(key) == {"Authorization": "Bearer secret"}
    assert Contract("base").headers(ApiKey()) == OpenAI().headers(ApiKey()) == {}


def test_ways_of_asking_are_named() -> None:
    assert dialect("contract", "base") == Contract("base")
    assert dialect("contract:once", "base") == Contract("base", once=True)
    assert dialect("openai:large-v3", "base") == OpenAI("large-v3")
    with pytest.raises(WhisperOxError, match="contract and openai"):
        dialect("smoke", "base")


@pytest.mark.parametrize(
    ("against", "name", "way"),
    [
        ("http://there", "other", "contract"),
        ("openai=http://there", "openai", "openai"),
        ("openai:whisper-x=http://there", "openai:whisper-x", "openai:whisper-x"),
        ("contract=http://there", "contract", "contract"),
    ],
)
def test_a_baseline_is_named_by_how_it_is_asked(against: str, name: str, way: str) -> None:
    with other_server(against, "base") as (found, target):
        assert (found, target.url, target.dialect) == (name, "http://there", way)


@pytest.mark.parametrize("against", ["smoke=http://there", "openai=there", "there"])
def test_a_baseline_that_is_none_is_told(against: str) -> None:
    with pytest.raises(WhisperOxError, match="--against"), other_server(against, "base"):
        pass

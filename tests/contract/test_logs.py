"""What a server logs about its requests, and what it does not log."""

import json
from collections.abc import Iterable
from typing import Any

import httpx

from loadtest.server import Server
from tests.conditions import eventually
from tests.contract.conftest import API_KEY, API_KEY_HEADER
from tests.contract.wire import post, words_of

PROMPT, HOTWORDS, LANGUAGE = "Zanzibar Quetzal", "Xylophone", "no-such-language"

ANSWERED = "answered"
CALL = ("received", "transcribing", "transcribed", ANSWERED)
"""What the debug log tells about a call. Two processes write it, in any order."""


def ask(
    server: Server, request_id: str, audio: bytes, options: dict[str, Any], **headers: str
) -> httpx.Response:
    sent = {"X-Request-ID": request_id, **headers}
    return post(f"{server.url}/transcribe", audio, options, headers=sent)


def events(
    server: Server, request_id: str, awaited: Iterable[str] = (ANSWERED,)
) -> dict[str, dict[str, Any]]:
    """The JSON lines of a request by message, the access line as ``ANSWERED``; {} until all that
    are awaited are there.

    Ray writes the process before each line, and the last line may be half written.
    """
    found = {}
    for line in server.log.read_text().splitlines(keepends=True):
        if request_id in line and line.endswith("\n"):
            event = json.loads(line[line.index("{") :])
            found[ANSWERED if event["logger"].endswith("access") else event["message"]] = event
    return found if found.keys() >= set(awaited) else {}


def test_at_debug_a_call_is_told_in_sizes_options_and_times(guarded: Server, hello: bytes) -> None:
    options = {"language": "en", "beam_size": 3, "initial_prompt": PROMPT}
    answer = ask(guarded, "told-1", hello, options, **{API_KEY_HEADER: API_KEY})
    assert answer.headers["X-Request-ID"] == "told-1"
    told = eventually(lambda: events(guarded, "told-1", CALL))
    assert {event["request_id"] for event in told.values()} == {"told-1"}
    assert told["received"]["audio_bytes"] == len(hello)
    assert told["transcribing"]["audio_s"] == answer.json()["duration"]
    assert told["transcribing"]["options"] == {
        "language": "en", "beam_size": 3, "initial_prompt": f"({len(PROMPT)} long)",
    }  # fmt: skip
    assert told["transcribing"]["queued_windows"] == 0
    assert told["transcribed"]["engine_s"] > 0
    access = told[ANSWERED]
    assert (access["method"], access["path"], access["status"]) == ("POST", "/transcribe", 200)
    assert access["body_bytes"] > len(hello)
    assert access["duration_ms"] > told["transcribed"]["engine_s"] * 1000


def test_an_error_is_told_by_its_code(guarded: Server, hello: bytes) -> None:
    assert ask(guarded, "told-2", hello, {}).status_code == 401
    access = eventually(lambda: events(guarded, "told-2"))[ANSWERED]
    assert (access["status"], access["error_code"]) == (401, "unauthorized")


def test_what_the_model_refuses_is_no_failure_of_the_server(guarded: Server, hello: bytes) -> None:
    answer = ask(guarded, "told-3", hello, {"language": "fr"}, **{API_KEY_HEADER: API_KEY})
    assert answer.status_code == 422
    assert eventually(lambda: events(guarded, "told-3"))[ANSWERED]["error_code"] == (
        "invalid_option"
    )
    assert "Request failed" not in guarded.log.read_text()


def test_no_word_of_anybody_is_in_the_log(guarded: Server, hello: bytes) -> None:
    key = {API_KEY_HEADER: API_KEY}
    said = {"language": "en", "initial_prompt": PROMPT, "hotwords": HOTWORDS}
    assert "hello" in words_of(ask(guarded, "silent-1", hello, said, **key))
    for wrong in ({"language": LANGUAGE}, {"initial_prompt": f"<|en|> {PROMPT}"}):
        assert ask(guarded, "silent-2", hello, wrong, **key).status_code == 422
    assert eventually(lambda: events(guarded, "silent-1"))
    assert eventually(lambda: events(guarded, "silent-2"))
    log = guarded.log.read_text().lower()
    assert [word for word in (*PROMPT.split(), HOTWORDS, LANGUAGE) if word.lower() in log] == []
    assert "hello" not in log
    assert API_KEY not in log


def test_transcripts_are_logged_where_the_operator_wants_them(base: Server, hello: bytes) -> None:
    assert "hello" in words_of(ask(base, "spoken-1", hello, {"language": "en"}))

    def spoken() -> str:
        lines = base.log.read_text().splitlines()
        return next((line for line in lines if "spoken-1" in line and "transcript=" in line), "")

    assert 'transcript="Hello world."' in eventually(spoken)

"""The log: its two formats, the ids on its lines, and what it leaves out."""

import contextvars
import json
import logging
import math
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from serve_app.errors import InvalidOption, InvalidSetting, NotReady
from serve_app.logs import configure_logging, fields, from_environment, request_scope
from serve_app.options import TranscribeOptions
from serve_app.settings import LogSettings
from tests.unit.conftest import Printed

JSON = LogSettings(format="json")
SECRET = "what was said"

logger = logging.getLogger("whisper_ox.test")


@pytest.fixture(autouse=True)
def unset(monkeypatch: pytest.MonkeyPatch) -> None:
    """None of the environment variables of the person who runs the tests."""
    monkeypatch.delenv("LOG_LEVEL", raising=False)
    monkeypatch.delenv("LOG_FORMAT", raising=False)


def parsed(printed: Printed) -> list[dict[str, Any]]:
    return [json.loads(line) for line in printed().splitlines()]


def test_a_json_line_has_its_fields_as_keys(printed: Printed) -> None:
    configure_logging(JSON)
    logger.info("%s done", "chunk", extra=fields(audio_s=1.5, options={"language": "de"}))
    (line,) = parsed(printed)
    assert line.pop("ts").endswith("Z")
    assert line == {
        "level": "info",
        "logger": "whisper_ox.test",
        "message": "chunk done",
        "audio_s": 1.5,
        "options": {"language": "de"},
    }


def test_a_field_cannot_pass_for_the_message(printed: Printed) -> None:
    configure_logging(JSON)
    logger.info("mine", extra=fields(message="yours", level="error"))
    assert [(line["message"], line["level"]) for line in parsed(printed)] == [("mine", "info")]


def test_a_json_line_is_json_whatever_its_fields_are(printed: Printed) -> None:
    configure_logging(JSON)
    logger.info(
        "odd", extra=fields(wait_s=math.inf, rtfx=[math.nan], who=LogSettings, text="\udcff")
    )
    (line,) = [json.loads(line, parse_constant=pytest.fail) for line in printed().splitlines()]
    assert (line["wait_s"], line["rtfx"], line["text"]) == ("Infinity", ["NaN"], "\udcff")


def test_a_text_line_ends_with_its_fields(printed: Printed) -> None:
    configure_logging(LogSettings())
    logger.info("done", extra=fields(audio_s=1.5, code="none", why="two words"))
    assert printed().endswith(' INFO whisper_ox.test done audio_s=1.5 code=none why="two words"\n')


def test_what_a_caller_sends_cannot_look_like_a_line_of_its_own(printed: Printed) -> None:
    configure_logging(LogSettings())
    logger.info("GET %s", "/\n2026-01-01 ERROR forged\x1b[2J\u2028\u202e")
    assert printed().strip("\n").isprintable()


@pytest.mark.parametrize("format", ["text", "json"])
def test_lines_of_a_request_have_its_id_in_every_thread(printed: Printed, format: str) -> None:
    configure_logging(LogSettings.model_validate({"format": format}))
    with ThreadPoolExecutor(1) as threads, request_scope("abc-1"):
        threads.submit(contextvars.copy_context().run, logger.info, "at work").result()
    logger.info("elsewhere")
    at_work, elsewhere = printed().splitlines()
    assert "abc-1" in at_work
    assert "request_id" not in elsewhere


def test_lines_of_a_traced_request_have_its_trace(printed: Printed) -> None:
    configure_logging(JSON)
    with request_scope("abc-1", "0af7651916cd43dd8448eb211c80319c"):
        logger.info("at work")
    with request_scope("abc-2"):
        logger.info("at work")
    traced, untraced = parsed(printed)
    assert traced["trace_id"] == "0af7651916cd43dd8448eb211c80319c"
    assert "trace_id" not in untraced


def test_the_environment_overrides_the_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOG_LEVEL", " Debug ")
    monkeypatch.setenv("LOG_FORMAT", "JSON")
    assert from_environment(LogSettings()) == LogSettings(level="debug", format="json")


def test_an_empty_variable_is_unset(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOG_LEVEL", "")
    assert from_environment(LogSettings(level="error")).level == "error"


@pytest.mark.parametrize(
    ("variable", "allowed"),
    [("LOG_LEVEL", "debug, info, warning, error"), ("LOG_FORMAT", "text, json")],
)
def test_a_value_that_is_none_is_refused_with_those_that_are(
    monkeypatch: pytest.MonkeyPatch, variable: str, allowed: str
) -> None:
    monkeypatch.setenv(variable, "verbose")
    with pytest.raises(InvalidSetting, match=f"{variable} is 'verbose'; allowed: {allowed}"):
        configure_logging(LogSettings())


def fail() -> None:
    """Fail on a secret text, in a way that quotes it."""
    try:
        int(SECRET)
    except ValueError as error:
        raise TypeError(SECRET) from error


def test_a_traceback_says_where_without_quoting(printed: Printed) -> None:
    configure_logging(JSON)
    try:
        fail()
    except TypeError:
        logger.exception("failed")
    (line,) = parsed(printed)
    assert SECRET not in str(line)
    assert "in fail" in line["exception"]
    assert "ValueError: (message not logged)\n\nwhich led to:" in line["exception"]
    assert line["exception"].endswith("TypeError: (message not logged)")


@pytest.mark.parametrize(
    "error", [RuntimeError("CUDA out of memory"), FileNotFoundError(2, "none"), NotReady("gone")]
)
def test_what_the_machine_says_is_logged(printed: Printed, error: Exception) -> None:
    configure_logging(LogSettings())
    logger.error("failed", exc_info=error)
    assert str(error) in printed()


def test_an_exception_that_is_its_own_cause_is_logged_once(printed: Printed) -> None:
    configure_logging(LogSettings())
    error = RuntimeError("again")
    error.__cause__ = error
    logger.error("failed", exc_info=error)
    assert printed().count("again") == 1


def test_with_transcripts_every_message_is_logged(printed: Printed) -> None:
    configure_logging(LogSettings(transcripts=True))
    logger.error("failed", exc_info=KeyError(SECRET))
    assert SECRET in printed()


def test_serve_logs_no_answer_of_ours_as_a_failure(
    printed: Printed, caplog: pytest.LogCaptureFixture
) -> None:
    configure_logging(LogSettings())
    serves = logging.getLogger("ray.serve")
    serves.error("Request failed.", exc_info=InvalidOption("no such language"))
    serves.error("Request failed.", exc_info=KeyError(SECRET))
    assert [record.exc_text for record in caplog.records if record.name == serves.name] == [
        "Traceback (most recent call last):\nKeyError: (message not logged)"
    ]


def test_asyncio_and_threads_quote_nobody_either(printed: Printed) -> None:
    configure_logging(LogSettings())
    logging.getLogger("asyncio").error("lost", exc_info=KeyError(SECRET))
    assert SECRET not in printed()


def test_options_are_logged_without_their_texts() -> None:
    options = TranscribeOptions(
        language="de",
        beam_size=3,
        initial_prompt="Frau Müller",
        hotwords="Müller",
        prefix="Frau",
        append_punctuations="?",
    )
    assert options.for_the_log() == {
        "language": "de",
        "beam_size": 3,
        "initial_prompt": "(11 long)",
        "prefix": "(4 long)",
        "hotwords": "(6 long)",
        "append_punctuations": "(1 long)",
    }


def test_a_prompt_of_token_ids_is_a_text_too() -> None:
    assert TranscribeOptions(initial_prompt=(464, 3290)).for_the_log() == {
        "initial_prompt": "(2 long)"
    }

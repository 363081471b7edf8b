"""The application's log on stderr: one line per event, as text or as JSON.

What a person said or wrote stays out of it: events carry sizes, times and names, an exception's
message is left out where its type may quote a caller, and only ``LogSettings.transcripts`` changes
that. Lines of one request carry its id, whatever thread they come from.
"""

import json
import logging
import os
import re
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import datetime, timezone
from typing import Any, get_args

from typing_extensions import override

from serve_app.errors import InvalidSetting, NotReady, WhisperOxError
from serve_app.settings import LogSettings

LEVEL_VARIABLE = "LOG_LEVEL"
FORMAT_VARIABLE = "LOG_FORMAT"

_OURS = (
    *("whisper_ox", "faster_whisper", "opentelemetry"),
    *("asyncio", "concurrent.futures", "uvicorn.error"),
)
"""Loggers of this process that would otherwise print as they like."""

_SERVES = "ray.serve"

_SAFE_MESSAGES = (MemoryError, RuntimeError, NotReady)
"""With Python's own ``OSError`` s, exceptions whose messages are of the machine: files, memory,
CTranslate2 and CUDA. A ``KeyError`` or a ``ValueError`` may quote a prompt or a transcript."""

_UNPRINTABLE = re.compile(
    r"[\x00-\x1f\x7f-\x9f\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]"
)
"""Control characters, line ends, what turns the direction of writing, and half characters."""
_NEEDS_QUOTES = re.compile(r'[\s"=]|^$')

_request_id: ContextVar[str] = ContextVar("request_id", default="")
_trace_id: ContextVar[str] = ContextVar("trace_id", default="")


@contextmanager
def request_scope(request_id: str, trace_id: str = "") -> Iterator[None]:
    """Give the ids to every line of the block, its tasks, and threads run in its context.

    ``trace_id`` "": the request is not traced.
    """
    token, trace_token = _request_id.set(request_id), _trace_id.set(trace_id)
    try:
        yield
    finally:
        _trace_id.reset(trace_token)
        _request_id.reset(token)


def fields(**values: object) -> dict[str, Any]:
    """``extra`` of a logging call: ``name=value`` behind a line of text, keys of a JSON line.

    Values are what JSON can carry; nothing of audio, transcripts, prompts or keys. What the message
    itself shows becomes a key where it is given by name: ``logger.info("%(n)d", {"n": 1})``.
    """
    return {"fields": values}


def from_environment(settings: LogSettings) -> LogSettings:
    """``settings`` with what the variables ``LOG_LEVEL`` and ``LOG_FORMAT`` say instead.

    Raises ``InvalidSetting`` with the allowed values. Case does not matter; empty is unset.
    """
    given = {
        name: value
        for name, variable in (("level", LEVEL_VARIABLE), ("format", FORMAT_VARIABLE))
        if (value := _variable(variable, get_args(LogSettings.model_fields[name].annotation)))
    }
    return settings.model_copy(update=given)


def configure_logging(settings: LogSettings) -> None:
    """Send this process's log to stderr as :func:`from_environment` says.

    Raises ``InvalidSetting``.
    """
    chosen = from_environment(settings)
    formatter = _JsonLines if chosen.format == "json" else _TextLines
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(formatter(messages=chosen.transcripts))
    for name in _OURS:
        logger = logging.getLogger(name)
        logger.handlers = [handler]
        logger.propagate = False
        logger.setLevel(logging.WARNING)
    logging.getLogger(_OURS[0]).setLevel(chosen.level.upper())
    serves = logging.getLogger(_SERVES)
    for old in [f for f in serves.filters if isinstance(f, _ServesFailures)]:
        serves.removeFilter(old)
    serves.addFilter(_ServesFailures(messages=chosen.transcripts))


def _variable(name: str, allowed: tuple[str, ...]) -> str:
    value = os.environ.get(name, "").strip().lower()
    if value and value not in allowed:
        raise InvalidSetting(
            f"The environment variable {name} is {value[:40]!r}; allowed: {', '.join(allowed)}.",
            field=name,
        )
    return value


class _Lines(logging.Formatter):
    """``messages`` says whether exceptions of every kind are logged with their messages."""

    def __init__(self, *, messages: bool) -> None:
        super().__init__()
        self._messages = messages

    @override
    def formatException(self, ei: Any) -> str:
        return _traceback(ei[1], messages=self._messages)

    def _parts(self, record: logging.LogRecord) -> tuple[datetime, dict[str, Any], str]:
        """Time (UTC), the fields with the ids first, and the traceback."""
        ids = {"request_id": _request_id.get(), "trace_id": _trace_id.get()}
        values = {name: value for name, value in ids.items() if value}
        values |= getattr(record, "fields", {})
        failure = self.formatException(record.exc_info) if record.exc_info else ""
        return datetime.fromtimestamp(record.created, timezone.utc), values, failure


class _JsonLines(_Lines):
    """``{"ts", "level", "logger", "message", "request_id", ..., "exception"}``, ASCII only."""

    @override
    def format(self, record: logging.LogRecord) -> str:
        time, values, failure = self._parts(record)
        own = {
            "ts": time.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        named = record.args if isinstance(record.args, dict) else {}
        last = {"exception": failure} if failure else {}
        return _json({**own, **values, **named, **own, **last})


class _TextLines(_Lines):
    """``time LEVEL logger message name=value ...``, a traceback below it."""

    @override
    def format(self, record: logging.LogRecord) -> str:
        time, values, failure = self._parts(record)
        stamp = time.isoformat(timespec="milliseconds").replace("+00:00", "Z")
        line = f"{stamp} {record.levelname} {record.name} {record.getMessage()}"
        line += "".join(f" {name}={_text(value)}" for name, value in values.items())
        # A path may hold a line feed: what a caller sends must not look like another line.
        line = _UNPRINTABLE.sub(lambda found: ascii(found.group())[1:-1], line)
        return f"{line}\n{failure}" if failure else line


def _json(line: dict[str, Any]) -> str:
    try:
        return json.dumps(line, default=str, allow_nan=False)
    except ValueError:  # JSON knows neither NaN nor infinity
        plain = json.loads(json.dumps(line, default=str), parse_constant=str)
        return json.dumps(plain)


def _text(value: object) -> str:
    if isinstance(value, str) and not _NEEDS_QUOTES.search(value):
        return value
    return json.dumps(value, ensure_ascii=False, default=str)


class _ServesFailures(logging.Filter):
    """Serve logs every exception that leaves a deployment.

    Ours are answers to the caller, whom they may quote, and have their access line; of others the
    traceback is logged as we log it.
    """

    def __init__(self, *, messages: bool) -> None:
        super().__init__()
        self._messages = messages

    @override
    def filter(self, record: logging.LogRecord) -> bool:
        error = record.exc_info[1] if record.exc_info else None
        if isinstance(error, WhisperOxError):
            return False
        if error is not None:
            record.exc_text = _traceback(error, messages=self._messages)  # formatters keep it
        return True


def _traceback(error: BaseException | None, *, messages: bool) -> str:
    """As Python prints it, causes first, with those messages only that may be logged."""
    lines: list[str] = []
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        name = f"{type(error).__module__}.{type(error).__qualname__}"
        # Exactly these: a subclass from elsewhere words its messages itself.
        is_safe = type(error) in _SAFE_MESSAGES or (
            isinstance(error, OSError) and type(error).__module__ == "builtins"
        )
        message = str(error) if messages or is_safe else "(message not logged)"
        frames = "".join(traceback.format_tb(error.__traceback__))
        reason = f"{name.removeprefix('builtins.')}: {message}"
        lines.insert(0, f"Traceback (most recent call last):\n{frames}{reason}")
        error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
    return "\n\nwhich led to:\n\n".join(lines)

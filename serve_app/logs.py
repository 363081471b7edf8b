"""The application's log on stderr: one line per event, as text or as JSON.

It never shows what a person said or wrote. Events have sizes, times and names, and the message of
an exception is left out if its type may quote a caller. Only ``LogSettings.transcripts`` changes
that. Every line about a request has its id, whichever thread it comes from.
"""

import json
import logging
import re
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import datetime, timezone
from typing import Any, get_args

from typing_extensions import override

from serve_app.environment import choice
from serve_app.errors import NotReady, WhisperOxError
from serve_app.settings import LogSettings

_OTHERS = ("faster_whisper", "opentelemetry", "asyncio", "concurrent.futures", "uvicorn.error")
"""Loggers of this process that would otherwise print in formats of their own."""

_SAFE_MESSAGES = (MemoryError, RuntimeError, NotReady)
"""Exceptions whose messages are about the machine (memory, CTranslate2, CUDA). So are those of
``OSError``. A ``KeyError`` or a ``ValueError`` may quote a prompt or a transcript."""

_UNPRINTABLE = re.compile(
    r"[\x00-\x1f\x7f-\x9f\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]"
)
"""Control characters, line ends, marks that change the direction of writing, lone surrogates."""
_NEEDS_QUOTES = re.compile(r'[\s"=]|^$')

_request_id: ContextVar[str] = ContextVar("request_id", default="")
_trace_id: ContextVar[str] = ContextVar("trace_id", default="")


@contextmanager
def request_scope(request_id: str, trace_id: str = "") -> Iterator[None]:
    """Put the ids on every line of the block, of its tasks, and of threads run in its context."""
    token, trace_token = _request_id.set(request_id), _trace_id.set(trace_id)
    try:
        yield
    finally:
        _trace_id.reset(trace_token)
        _request_id.reset(token)


def fields(**values: object) -> dict[str, Any]:
    """``extra`` of a logging call: ``name=value`` after a line of text, keys in a line of JSON.

    Values must fit into JSON and must not hold audio, transcripts, prompts or keys. A value that
    the message shows becomes a key if it is given by name: ``logger.info("%(n)d", {"n": 1})``.
    """
    return {"fields": values}


def from_environment(settings: LogSettings) -> LogSettings:
    """``settings``, with ``LOG_LEVEL`` and ``LOG_FORMAT`` applied. Raises ``InvalidSetting``."""
    given = {
        name: value
        for name, variable in (("level", "LOG_LEVEL"), ("format", "LOG_FORMAT"))
        if (value := choice(variable, get_args(LogSettings.model_fields[name].annotation)))
    }
    return settings.model_copy(update=given)


def configure_logging(settings: LogSettings) -> None:
    """Send this process's log to stderr, as :func:`from_environment` says."""
    chosen = from_environment(settings)
    formatter = _JsonLines if chosen.format == "json" else _TextLines
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(formatter(messages=chosen.transcripts))
    for name in ("whisper_ox", *_OTHERS):
        logger = logging.getLogger(name)
        logger.handlers = [handler]
        logger.propagate = False
        logger.setLevel(logging.WARNING if name in _OTHERS else chosen.level.upper())
    serves = logging.getLogger("ray.serve")
    for old in [f for f in serves.filters if isinstance(f, _ServesFailures)]:
        serves.removeFilter(old)
    serves.addFilter(_ServesFailures(messages=chosen.transcripts))


class _Lines(logging.Formatter):
    """``messages``: log the message of every exception, not only of safe ones."""

    def __init__(self, *, messages: bool) -> None:
        super().__init__()
        self._messages = messages

    @override
    def formatException(self, ei: Any) -> str:
        return _traceback(ei[1], messages=self._messages)

    def _parts(self, record: logging.LogRecord) -> tuple[str, dict[str, Any], str]:
        """The time (UTC, ISO 8601), the fields, ids first, and the traceback."""
        time = datetime.fromtimestamp(record.created, timezone.utc)
        stamp = time.isoformat(timespec="milliseconds").replace("+00:00", "Z")
        ids = {"request_id": _request_id.get(), "trace_id": _trace_id.get()}
        values = {name: value for name, value in ids.items() if value}
        values |= getattr(record, "fields", {})
        failure = self.formatException(record.exc_info) if record.exc_info else ""
        return stamp, values, failure


class _JsonLines(_Lines):
    """``{"ts", "level", "logger", "message", "request_id", ..., "exception"}``, ASCII only."""

    @override
    def format(self, record: logging.LogRecord) -> str:
        stamp, values, failure = self._parts(record)
        own = {
            "ts": stamp,
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        named = record.args if isinstance(record.args, dict) else {}
        last = {"exception": failure} if failure else {}
        return _json({**own, **values, **named, **own, **last})


class _TextLines(_Lines):
    """``time LEVEL logger message name=value ...``, followed by a traceback if there is one."""

    @override
    def format(self, record: logging.LogRecord) -> str:
        stamp, values, failure = self._parts(record)
        line = f"{stamp} {record.levelname} {record.name} {record.getMessage()}"
        line += "".join(f" {name}={_text(value)}" for name, value in values.items())
        # A path may hold a line feed, and nothing that a caller sends may look like another line.
        line = _UNPRINTABLE.sub(lambda found: ascii(found.group())[1:-1], line)
        return f"{line}\n{failure}" if failure else line


def _json(line: dict[str, Any]) -> str:
    try:
        return json.dumps(line, default=str, allow_nan=False)
    except ValueError:  # JSON has neither NaN nor infinity
        plain = json.loads(json.dumps(line, default=str), parse_constant=str)
        return json.dumps(plain)


def _text(value: object) -> str:
    if isinstance(value, str) and not _NEEDS_QUOTES.search(value):
        return value
    return json.dumps(value, ensure_ascii=False, default=str)


class _ServesFailures(logging.Filter):
    """Lets Serve log, in our format, an exception that leaves a deployment.

    Our own errors are not logged. They are answers to the caller, whom they may quote, and have a
    line in the access log.
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
    """The traceback as Python prints it, causes first, but only with messages that may be
    logged.
    """
    lines: list[str] = []
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        name = f"{type(error).__module__}.{type(error).__qualname__}"
        # Exactly these types: a subclass from elsewhere may word its messages differently.
        is_safe = type(error) in _SAFE_MESSAGES or (
            isinstance(error, OSError) and type(error).__module__ == "builtins"
        )
        message = str(error) if messages or is_safe else "(message not logged)"
        frames = "".join(traceback.format_tb(error.__traceback__))
        reason = f"{name.removeprefix('builtins.')}: {message}"
        lines.insert(0, f"Traceback (most recent call last):\n{frames}{reason}")
        error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
    return "\n\nwhich led to:\n\n".join(lines)

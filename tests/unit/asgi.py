"""Requests to an ASGI application behind an edge, message by message, in virtual time."""

import asyncio
import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

from starlette.types import ASGIApp, Message, Scope

from serve_app.api.edge.drain import Drain
from serve_app.api.edge.key_check import KeyCheck
from serve_app.api.edge.key_ring import KeyRing
from serve_app.api.edge.quotas import Quotas
from serve_app.api.edge.record import Recorder
from serve_app.metrics import NO_METRICS, Sink
from serve_app.settings import ApiKey, HttpSettings, QuotaSettings
from serve_app.tracing.span import NO_TRACER, Tracer
from tests.unit.virtual_time import run_at_once

Event = bytes | float | None
"""A piece of the body, seconds of silence, or the client's leaving."""


@dataclass
class Answer:
    """The answer, ``seconds`` after the request began. ``status`` 0: there was none."""

    status: int = 0
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""
    seconds: float = 0.0
    sent: list[Message] = field(default_factory=list)

    @property
    def error(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.body)["error"]
        return found


def edge_parts(
    limits: HttpSettings | None = None,
    *,
    drain: Drain | None = None,
    key: str | None = None,
    key_header: str = "X-API-Key",
    sink: Sink = NO_METRICS,
    tracer: Tracer = NO_TRACER,
) -> dict[str, Any]:
    """Arguments of an ``Edge``, except its application. Without a ``key`` it is open."""
    ring = KeyRing(ApiKey(key=key or "", header=key_header), QuotaSettings())
    return {
        "limits": limits or HttpSettings(),
        "recorder": Recorder(sink, tracer),
        "drain": drain or Drain(),
        "keys": KeyCheck(ring, Quotas()),
    }


def http_scope(path: str = "/", method: str = "POST", headers: Iterable[Any] = ()) -> Scope:
    return {
        "type": "http",
        "method": method,
        "path": path,
        "raw_path": path.encode("utf-8", "replace"),
        "query_string": b"",
        "headers": [(name.encode(), value) for name, value in headers],
        "state": {},
    }


async def ask(app: ASGIApp, scope: Scope, upload: Iterable[Event] = (b"",)) -> Answer:
    """Send ``upload``, whose last piece ends the body unless silence follows it."""
    loop = asyncio.get_running_loop()
    answer, began = Answer(), loop.time()
    messages = _messages(list(upload))

    async def receive() -> Message:
        for event in messages:
            if not isinstance(event, float):
                return event
            await asyncio.sleep(event)
        await asyncio.sleep(1e9)  # a client that waits
        raise AssertionError("waited for ever")

    async def send(message: Message) -> None:
        answer.sent.append(message)
        if message["type"] == "http.response.start":
            answer.status = message["status"]
            answer.headers = {k.decode().lower(): v.decode() for k, v in message["headers"]}
            answer.seconds = loop.time() - began
        answer.body += message.get("body", b"")

    await app(scope, receive, send)
    return answer


def asked(app: ASGIApp, scope: Scope, upload: Iterable[Event] = (b"",)) -> Answer:
    """:func:`ask` in virtual time."""
    return run_at_once(ask(app, scope, upload))


def _messages(upload: list[Event]) -> Iterator[Message | float]:
    for number, event in enumerate(upload):
        if event is None:
            yield {"type": "http.disconnect"}
        elif isinstance(event, bytes):
            is_last = number == len(upload) - 1
            yield {"type": "http.request", "body": event, "more_body": not is_last}
        else:
            yield event

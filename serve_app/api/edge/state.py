"""What is known about one request, from its arrival to its log line."""

import re
import time
import uuid
from collections.abc import Collection
from dataclasses import dataclass, field

from starlette.types import Scope

from serve_app.api.edge.keys_file import NamedKey
from serve_app.audio.limits import Hold, unbounded
from serve_app.caller import REQUEST_ID_PATTERN
from serve_app.tracing.span import NO_SPAN, Span

REQUEST_ID_HEADER = "X-Request-ID"
"""The header with the request id. Ray Serve adds one to a request without it, and to the answer."""

PROBES = frozenset({"/health", "/readyz"})
"""Paths that an orchestrator asks every few seconds."""

METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")
"""The HTTP methods that metrics distinguish and that routes may answer."""

SHOWN_CHARACTERS = 200
"""Most characters of a caller's text that are logged or returned."""

_STATE = "whisper_ox"


@dataclass
class RequestState:
    """One HTTP request or WebSocket. The edge makes it, and others add what they learn.

    ``path`` is written as in the routes: without the prefix that Serve gives the application and
    without slashes at its end. ``hold`` reserves memory that the request needs in addition to
    its ``body_bytes``. The caller wrote ``bare_options`` without the prefix that the dialect gives
    options. ``log`` holds further fields of the log line. ``status`` is 0 until the answer begins,
    and ``first_byte_seconds`` is the time from the request's head to that; for a WebSocket both are
    about its handshake.
    """

    request_id: str
    path: str
    began: float = field(default_factory=time.perf_counter)
    span: Span = NO_SPAN
    key: NamedKey | None = None
    hold: Hold = unbounded
    body_bytes: int = 0
    bare_options: Collection[str] = ()
    error_code: str = ""
    log: dict[str, object] = field(default_factory=dict)
    status: int = 0
    first_byte_seconds: float = 0.0

    @classmethod
    def begin(cls, scope: Scope) -> "RequestState":
        """The state of a new request. It keeps the caller's request id if that is harmless.

        Slashes at the end of the path are removed in ``scope`` as well, because a redirect would
        lose a POST's body or take it to another host.
        """
        sent = dict(scope["headers"]).get(REQUEST_ID_HEADER.lower().encode(), b"").decode("latin-1")
        request_id = sent if re.fullmatch(REQUEST_ID_PATTERN, sent) else uuid.uuid4().hex
        sent_path = scope["path"].removeprefix(scope.get("root_path", ""))
        path = sent_path.rstrip("/") or "/"
        scope["path"] = scope["path"].removesuffix(sent_path) + path
        state = scope.setdefault("state", {})[_STATE] = cls(request_id, path)
        return state

    @classmethod
    def of(cls, scope: Scope) -> "RequestState":
        """The state of a request that :meth:`begin` has seen."""
        state: RequestState = scope["state"][_STATE]
        return state

    @property
    def key_name(self) -> str:
        """The name of the request's API key; "" if there is none."""
        return "" if self.key is None else self.key.name

    @property
    def seconds(self) -> float:
        """Seconds since the request's head arrived."""
        return time.perf_counter() - self.began

"""Shuts down without a failed request: running requests finish, new ones are refused."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from enum import IntEnum

from starlette.types import Scope

from serve_app.api.edge.state import RequestState
from serve_app.errors import NotReady


class DrainStage(IntEnum):
    """The stages of shutting down, in order."""

    SERVING = 0
    LEAVING = 1
    """``/readyz`` answers 503, so that load balancers stop sending requests. Requests are still
    served.
    """
    CLOSED = 2
    """New requests are answered with 503."""


@dataclass(frozen=True)
class InProgress:
    """The requests that an HTTP replica works on, uploads included.

    ``idle_seconds`` is the time since the last one ended: 0 while there are any, infinity before
    the first.
    """

    requests: int
    idle_seconds: float


class Drain:
    """How far one HTTP replica has shut down, and its requests. Not thread-safe."""

    def __init__(self) -> None:
        self.stage = DrainStage.SERVING
        self._requests = 0
        self._last_ended = float("-inf")

    def advance(self, stage: DrainStage) -> InProgress:
        """Move on to ``stage``, never back. Returns what is still in progress."""
        self.stage = max(self.stage, stage)
        idle = 0.0 if self._requests else time.monotonic() - self._last_ended
        return InProgress(self._requests, idle)

    @contextmanager
    def counting(self, scope: Scope, state: RequestState) -> Iterator[None]:
        """Admit a request for the length of the block, or raise ``NotReady``."""
        counts = scope["type"] == "websocket" or scope["method"] == "POST"
        refused_from = DrainStage.CLOSED if counts else DrainStage.LEAVING
        if self.stage >= refused_from and (counts or state.path == "/readyz"):
            raise NotReady(
                "This server is shutting down. Send the request again: another one takes it, or "
                "this one once it is back."
            )
        self._requests += counts
        try:
            yield
        finally:
            if counts:
                self._requests -= 1
                self._last_ended = time.monotonic()

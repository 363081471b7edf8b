"""Who a request comes from, and whether somebody is waiting for the answer."""

import math
from dataclasses import dataclass
from enum import Enum

FIRST_MINUTE_SECONDS = 60.0
"""Audio at the start of a request that a person may be waiting for."""

REQUEST_ID_PATTERN = "[A-Za-z0-9._:-]{1,128}"
"""Request ids that are safe to log and to return; the server replaces any other."""


class Priority(Enum):
    """Who goes first among requests that share the model fairly."""

    AUTO = "auto"
    """The first minute of audio is interactive, the rest is bulk."""
    INTERACTIVE = "interactive"
    """All of it is interactive."""
    BULK = "bulk"
    """Nobody is waiting for it."""

    @property
    def head_start_seconds(self) -> float:
        """Audio at the start of a request that passes ahead of bulk work."""
        return {
            Priority.AUTO: FIRST_MINUTE_SECONDS,
            Priority.INTERACTIVE: math.inf,
            Priority.BULK: 0.0,
        }[self]

    def covers(self, audio_seconds: float) -> bool:
        """Whether somebody may be waiting for every one of the first ``audio_seconds``."""
        return self.head_start_seconds > 0 and audio_seconds <= self.head_start_seconds


@dataclass(frozen=True)
class Caller:
    """On whose behalf the server works: for log lines, quotas and the order of work.

    ``key`` is the name of the API key, "" if the server needs none. ``traceparent`` is the span of
    the request in the form of W3C Trace Context, "" if it is not traced.
    """

    request_id: str
    key: str = ""
    priority: Priority = Priority.AUTO
    traceparent: str = ""

"""Who sends a request, and whether somebody waits for the answer."""

import math
from dataclasses import dataclass
from enum import Enum

FIRST_MINUTE_SECONDS = 60.0
"""Seconds of audio at the start of a request for which a person may be waiting."""

REQUEST_ID_PATTERN = "[A-Za-z0-9._:-]{1,128}"
"""Request ids that are safe to log and to return. The server replaces any other."""


class Priority(Enum):
    """The order among requests that share the model fairly."""

    AUTO = "auto"
    """The first minute of audio is interactive, the rest is bulk."""
    INTERACTIVE = "interactive"
    """All of it is interactive."""
    BULK = "bulk"
    """Nobody is waiting for it."""

    @property
    def head_start_seconds(self) -> float:
        """Seconds of audio at the start of a request that pass ahead of bulk work."""
        return {
            Priority.AUTO: FIRST_MINUTE_SECONDS,
            Priority.INTERACTIVE: math.inf,
            Priority.BULK: 0.0,
        }[self]

    def covers(self, audio_seconds: float) -> bool:
        """Whether somebody may be waiting for every one of the first ``audio_seconds``."""
        return self.head_start_seconds > 0 and audio_seconds <= self.head_start_seconds

    def is_brief(self, audio_seconds: float) -> bool:
        """Whether it is a minute at most for which somebody may be waiting.

        However urgent longer audio is, it takes a core for a while before the model hears it.
        """
        return audio_seconds <= FIRST_MINUTE_SECONDS and self.covers(audio_seconds)


@dataclass(frozen=True)
class Live:
    """The part of a live session that a request is.

    ``session`` is the session's id. With ``draft_seconds`` it asks for a draft of speech that goes
    on: a newer draft of the session replaces it while it waits, and after so long it is dropped.
    ``new_seconds`` is the audio for which the session gets its first final text. Drafts hear the
    same audio, and a final text is heard with what was said before it.
    """

    session: str
    draft_seconds: float | None = None
    new_seconds: float = 0.0

    @property
    def is_draft(self) -> bool:
        """Whether the text is of no use once there is a newer one."""
        return self.draft_seconds is not None


@dataclass(frozen=True)
class Caller:
    """On whose behalf the server works, for log lines, quotas and the order of work.

    ``key`` is the name of the API key, "" if the server needs none. ``traceparent`` is the span of
    the request in the form of W3C Trace Context, "" if it is not traced. ``live`` is None unless a
    live session asks.
    """

    request_id: str
    key: str = ""
    priority: Priority = Priority.AUTO
    traceparent: str = ""
    live: Live | None = None

"""What became of each request of a load run. Times are seconds since the load began."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from serve_app.errors import WhisperOxError

DICTATION, STRANGER, LONG_FILE, BAD = "dictation", "stranger", "long file", "bad"
"""Kinds of requests. Those of a bad client are as they should be when they are refused."""


@dataclass(frozen=True)
class Sent:
    """One request of ``seconds`` of audio.

    ``due`` is when it should have been posted: latency counts from there, so that a sender that
    is late makes nothing look better. ``status`` is None without an answer, and then ``error`` says
    why; ``text`` is None where there is no transcript, ``reference`` where the speech was cut.
    ``expected`` is the status that a bad client hopes for.
    """

    kind: str
    due: float
    seconds: float
    reference: str | None = None
    is_final: bool = False
    expected: int | None = None
    posted: float = 0.0
    ended: float = 0.0
    status: int | None = None
    text: str | None = None
    error: str = ""
    retry_after: float | None = None

    @property
    def latency(self) -> float:
        """Seconds from when it was due to its answer."""
        return self.ended - self.due

    @property
    def is_transcript(self) -> bool:
        """Answered with a text, which may be empty."""
        return self.text is not None

    @property
    def is_refused(self) -> bool:
        """Refused as more than the server takes, as it should be: with the time to come again."""
        return self.status == 429 and self.retry_after is not None

    @property
    def is_as_it_should_be(self) -> bool:
        """Transcribed, or for a bad request refused with the right status."""
        return self.is_transcript if self.expected is None else self.status == self.expected

    @property
    def is_error(self) -> bool:
        """Neither answered well nor refused for lack of room."""
        return not self.is_as_it_should_be and not self.is_refused


def write_sent(path: Path, about: Mapping[str, Any], sent: Sequence[Sent]) -> None:
    """One JSON object: ``about`` the run, and what was ``sent``."""
    path.write_text(json.dumps({**about, "sent": [asdict(one) for one in sent]}), encoding="utf-8")


def read_sent(path: Path) -> tuple[dict[str, Any], list[Sent]]:
    """What :func:`write_sent` wrote, by when requests were due.

    Raises ``WhisperOxError`` where the load never ended.
    """
    if not path.exists():
        raise WhisperOxError("no load was sent: see the load generator's messages above")
    about = json.loads(path.read_text(encoding="utf-8"))
    sent = [Sent(**one) for one in about.pop("sent")]
    return about, sorted(sent, key=lambda one: one.due)

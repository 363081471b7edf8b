"""The outcome of each request of a load run. Times are in seconds since the load began."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from serve_app.errors import WhisperOxError

DICTATION, STRANGER, LONG_FILE, BAD = "dictation", "stranger", "long file", "bad"
"""Kinds of requests. Those of a bad client should be refused."""


@dataclass(frozen=True)
class Sent:
    """One request of ``seconds`` of audio.

    ``due`` is when it should have been posted. Latency counts from there, so that a late sender
    does not make it look better. ``status`` is None without an answer, and then ``error`` says why.
    ``text`` is None without a transcript, and ``reference`` if the speech was cut. ``expected`` is
    the status that a bad client should get.
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
        """Seconds between the time when it was due and its answer."""
        return self.ended - self.due

    @property
    def is_transcript(self) -> bool:
        """Whether it was answered with a text, which may be empty."""
        return self.text is not None

    @property
    def is_refused(self) -> bool:
        """Whether it was properly refused as more than the server accepts, with a time to come
        again.
        """
        return self.status == 429 and self.retry_after is not None

    @property
    def is_as_it_should_be(self) -> bool:
        """Whether it was transcribed or, if it is a bad request, refused with the right status."""
        return self.is_transcript if self.expected is None else self.status == self.expected

    @property
    def is_error(self) -> bool:
        """Whether it was neither answered well nor refused for lack of room."""
        return not self.is_as_it_should_be and not self.is_refused


def write_sent(path: Path, about: Mapping[str, Any], sent: Sequence[Sent]) -> None:
    """Write one JSON object: ``about`` describes the run, and ``sent`` lists its requests."""
    path.write_text(json.dumps({**about, "sent": [asdict(one) for one in sent]}), encoding="utf-8")


def read_sent(path: Path) -> tuple[dict[str, Any], list[Sent]]:
    """Read what :func:`write_sent` wrote, sorted by the time when requests were due.

    Raises ``WhisperOxError`` if the load did not end.
    """
    if not path.exists():
        raise WhisperOxError("no load was sent: see the load generator's messages above")
    about = json.loads(path.read_text(encoding="utf-8"))
    sent = [Sent(**one) for one in about.pop("sent")]
    return about, sorted(sent, key=lambda one: one.due)

"""What became of each request of a load run, one JSON object a line.

The process that sends the load writes it (:mod:`loadtest.locustfile`); what reports on it reads it
afterwards or meanwhile. Times are seconds since the load began.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, TextIO

from serve_app.errors import WhisperOxError

DICTATION, STRANGER, LONG_FILE, BAD = "dictation", "stranger", "long file", "bad"
"""Kinds of requests. Those of a bad client are as they should be when they are refused."""

TOO_MANY = 429


@dataclass(frozen=True)
class Sent:
    """One request of ``seconds`` of audio.

    ``due`` is when it should have been posted: latency counts from there, so that a sender that
    is late makes nothing look better. ``status`` is None without an answer, and then ``error`` says
    why; ``text`` is None where there is no transcript, ``reference`` where the speech was cut.
    ``expected`` is the status and the error code that a bad client hopes for.
    """

    kind: str
    user: int
    due: float
    posted: float
    ended: float
    seconds: float
    is_final: bool = False
    status: int | None = None
    code: str = ""
    text: str | None = None
    reference: str | None = None
    error: str = ""
    retry_after: float | None = None
    expected: tuple[int, str] | None = None

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
        return self.status == TOO_MANY and self.retry_after is not None

    @property
    def is_as_it_should_be(self) -> bool:
        """Transcribed, or for a bad request refused for the right reason."""
        if self.expected is not None:
            return (self.status, self.code) == self.expected
        return self.is_transcript

    @property
    def is_error(self) -> bool:
        """Neither answered well nor refused for lack of room."""
        return not self.is_as_it_should_be and not self.is_refused


class Journal:
    """Writes to a file line by line, so that a reader sees all that has ended."""

    def __init__(self, path: Path) -> None:
        self._file: TextIO = path.open("w", encoding="utf-8", buffering=1)

    def begin(self, about: Mapping[str, Any]) -> None:
        """The first line: ``began_unix``, when the load began, and whatever else is to be known."""
        self._write(about)

    def add(self, sent: Sent) -> None:
        """One more line."""
        self._write(asdict(sent))

    def end(self, about: Mapping[str, Any]) -> None:
        """The last line: what is known only then."""
        self._write(about)
        self._file.close()

    def _write(self, line: Mapping[str, Any]) -> None:
        self._file.write(json.dumps(line, ensure_ascii=False) + "\n")


def read_journal(path: Path) -> tuple[dict[str, Any], list[Sent]]:
    """What the first and the last line say, and the requests in the order of when they were due.

    A last line that is still being written is left for the next reading. Raises ``WhisperOxError``
    where the load never began.
    """
    text = path.read_text(encoding="utf-8") if path.exists() else ""
    lines = text.split("\n")[:-1]
    if not lines:
        raise WhisperOxError("no load was sent: see the load generator's messages above")
    read = [json.loads(line) for line in lines]
    about = {name: value for line in read if "kind" not in line for name, value in line.items()}
    sent = [_sent(line) for line in read if "kind" in line]
    return about, sorted(sent, key=lambda one: one.due)


def _sent(line: dict[str, Any]) -> Sent:
    expected = line.pop("expected")
    return Sent(**line, expected=None if expected is None else (expected[0], expected[1]))

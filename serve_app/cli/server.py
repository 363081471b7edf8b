"""A running server as ``whisper-ox transcribe`` sees it: a file goes there, events come back.

The events are those of OpenAI's streamed transcriptions (docs/openai.md).
"""

import ipaddress
import json
import os
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any, BinaryIO, Protocol

import httpx

SECONDS_HEADER, IGNORED_HEADER = "X-Audio-Seconds", "X-Ignored-Options"
CONNECT_SECONDS = 10.0
ATTEMPTS = 5
"""How often a file is sent to a server that is busy and says when it may have room."""
LONGEST_PAUSE_SECONDS = 3600.0
"""Between two attempts, whatever the server says."""

_PATHS = {"transcribe": "transcriptions", "translate": "translations"}


class NoServer(Exception):
    """Nothing can be reached at the server's address; the text says why."""


class Refused(Exception):
    """The server does not transcribe a file; the text says why."""


class Progress(Protocol):
    """Is told how far a file is."""

    def sending(self, file: BinaryIO, n_bytes: int) -> BinaryIO:
        """Return ``file``, wrapped so that reading from it counts."""

    def waiting(self, seconds: float) -> None:
        """The server is busy; the file is sent again after ``seconds``."""

    def hearing(self, position: float, seconds: float) -> None:
        """The server has heard ``position`` of the ``seconds`` of audio."""


@dataclass
class Heard:
    """What came back: ``segments`` have start, end and text; ``done`` is the last event."""

    segments: list[dict[str, Any]] = field(default_factory=list)
    done: dict[str, Any] = field(default_factory=dict)
    seconds: float = 0.0
    ignored: str = ""
    """Names of options that had no effect."""


@dataclass(frozen=True)
class RunningServer:
    """The server at ``url``; ``key`` is an API key or empty."""

    url: str
    key: str = field(default="", repr=False)

    def transcribe(
        self, file: Path, task: str, fields: Mapping[str, str | list[str]], progress: Progress
    ) -> Heard:
        """Send one file piece by piece and follow what is heard in it.

        ``task`` is ``transcribe`` or ``translate``; ``fields`` are more fields of the form. Raises
        ``NoServer``, ``Refused``, and ``OSError`` if the file cannot be read.
        """
        with _explained(self.url), self._client() as client:
            for attempt in range(1, ATTEMPTS + 1):
                with file.open("rb") as opened:
                    body = progress.sending(opened, file.stat().st_size)
                    with client.stream(
                        "POST",
                        f"/v1/audio/{_PATHS[task]}",
                        data={**fields, "stream": "true"},
                        # A name need not be UTF-8, but a form is.
                        files={"file": (os.fsencode(file.name).decode(errors="replace"), body)},
                    ) as answer:
                        if answer.status_code == httpx.codes.OK:
                            return _heard(answer, progress)
                        answer.read()
                pause = _pause_seconds(answer.headers.get("Retry-After", ""))
                if pause is None or attempt == ATTEMPTS:
                    break
                progress.waiting(pause)
                time.sleep(pause)
        raise Refused(_problem(answer))

    def _client(self) -> httpx.Client:
        url = httpx.URL(self.url if "://" in self.url else f"http://{self.url}")
        # A transport of our own keeps the environment's proxies out of it.
        transport = httpx.HTTPTransport() if _is_this_machine(url.host) else None
        headers = {"Authorization": f"Bearer {self.key}"} if self.key else {}
        # The server limits how long a request may take.
        timeout = httpx.Timeout(None, connect=CONNECT_SECONDS)
        try:
            return httpx.Client(base_url=url, transport=transport, headers=headers, timeout=timeout)
        except (ValueError, ImportError) as error:  # such as socks://
            raise NoServer(f"the proxy of the environment cannot be used: {error}") from error


def _is_this_machine(host: str) -> bool:
    """Whether ``host`` is a loopback address, which no proxy could reach."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


@contextmanager
def _explained(url: str) -> Iterator[None]:
    try:
        yield
    except (
        httpx.ConnectError,
        httpx.ConnectTimeout,
        httpx.InvalidURL,
        httpx.UnsupportedProtocol,
    ) as error:
        raise NoServer(
            f"no server answers at {url} ({error}). Start one with: whisper-ox serve"
        ) from error
    except httpx.TransportError as error:
        raise Refused(f"the connection to the server broke: {error}") from error


def _pause_seconds(retry_after: str) -> float | None:
    """Seconds until the next attempt; None if the header does not say.

    Format: RFC 9110, section 10.2.3, seconds or a date.
    """
    if retry_after.isdecimal():
        seconds = float(retry_after)
    else:
        try:
            seconds = parsedate_to_datetime(retry_after).timestamp() - time.time()
        except (ValueError, OverflowError):
            return None
    return min(max(seconds, 0.0), LONGEST_PAUSE_SECONDS)


def _heard(answer: httpx.Response, progress: Progress) -> Heard:
    """Read the events. Raises ``Refused`` if one tells of an error or the last one is missing.

    Format: WHATWG HTML, section 9.2, of which this server uses ``data`` in one line.
    """
    heard = Heard(
        seconds=float(answer.headers.get(SECONDS_HEADER, 0)),
        ignored=answer.headers.get(IGNORED_HEADER, ""),
    )
    progress.hearing(0.0, heard.seconds)
    for line in answer.iter_lines():
        if not line.startswith("data: {"):
            continue
        event = json.loads(line.removeprefix("data: "))
        if "error" in event:
            raise Refused(event["error"]["message"])
        if event["type"] == "transcript.text.segment":
            heard.segments.append(event)
            progress.hearing(event["end"], heard.seconds)
        elif event["type"] == "transcript.text.done":
            heard.done = event
            progress.hearing(heard.seconds, heard.seconds)
    if not heard.done:
        raise Refused("the server's answer broke off")
    return heard


def _problem(answer: httpx.Response) -> str:
    try:
        message = str(answer.json()["error"]["message"])
    except (ValueError, KeyError, TypeError):
        message = f"the server answers HTTP {answer.status_code}; is it a Whisper OX server?"
    if answer.status_code == httpx.codes.UNAUTHORIZED:
        message += " Give the key with --key or in WHISPER_API_KEY."
    return message

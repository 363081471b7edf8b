"""A client of the transcription contract: one multipart POST with a file and its options.

If ``WHISPER_API_KEY`` is set, the key is sent in ``WHISPER_API_KEY_HEADER``.
"""

import json
import re
import time
from collections.abc import Mapping
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any

import httpx

from serve_app.errors import WhisperOxError
from serve_app.settings import ApiKey

TIMEOUT_SECONDS = 4 * 3600.0
"""Seconds for one request. Hours of audio take that long on two busy cores."""

_ENGINE_TIMING = re.compile(r"(?:^|,)\s*engine\s*(?:;[^,]*?)?;\s*dur=\"?([0-9.]+)")


@dataclass(frozen=True)
class Reply:
    """The server's answer. ``body`` is the parsed JSON, ``seconds`` the wall time at the client."""

    status: int
    body: Any
    headers: httpx.Headers
    seconds: float

    @property
    def engine_seconds(self) -> float | None:
        """Engine time of ``Server-Timing: engine;dur=<milliseconds>``; None without it."""
        found = _ENGINE_TIMING.search(self.headers.get("server-timing", ""))
        return float(found.group(1)) / 1000 if found else None

    @property
    def error_code(self) -> str:
        """``error.code`` of our JSON error body; "" for any other answer."""
        error = self.body.get("error") if isinstance(self.body, dict) else None
        return str(error.get("code", "")) if isinstance(error, dict) else ""

    @property
    def segments(self) -> list[dict[str, Any]]:
        """The transcript's segments. Raises ``WhisperOxError`` if the answer is not a
        transcript.
        """
        if self.status != 200 or not isinstance(self.body, dict) or "segments" not in self.body:
            answer = json.dumps(self.body, ensure_ascii=False)[:500]
            raise WhisperOxError(f"no transcript: HTTP {self.status}, {answer}")
        segments: list[dict[str, Any]] = self.body["segments"]
        return segments

    @property
    def text(self) -> str:
        """The segments' texts joined by single spaces."""
        return " ".join(segment["text"].strip() for segment in self.segments)


def transcribe(
    url: str, audio: bytes, options: Mapping[str, Any], client: httpx.Client | None = None
) -> Reply:
    """Post ``audio`` to ``url`` + ``/transcribe``; pass ``client`` to keep the connection open."""
    with nullcontext(client) if client else httpx.Client(timeout=TIMEOUT_SECONDS) as http:
        began = time.perf_counter()
        return reply_of(http.post(**_request(url, audio, options)), began)


async def transcribe_async(
    url: str, audio: bytes, options: Mapping[str, Any], client: httpx.AsyncClient
) -> Reply:
    """``transcribe`` for many requests at once over one ``client``."""
    began = time.perf_counter()
    return reply_of(await client.post(**_request(url, audio, options)), began)


def reply_of(response: httpx.Response, began: float) -> Reply:
    """The answer to a request posted at ``began``, a time of ``time.perf_counter``."""
    seconds = time.perf_counter() - began
    try:
        body = response.json()
    except ValueError:
        body = response.text
    return Reply(response.status_code, body, response.headers, seconds)


def _request(url: str, audio: bytes, options: Mapping[str, Any]) -> dict[str, Any]:
    key = ApiKey.from_environment()
    return {
        "url": url.rstrip("/") + "/transcribe",
        "files": {"file": ("clip", audio, "application/octet-stream")},
        "data": {"generate_kwargs": json.dumps(options)},
        "headers": {key.header: key.key} if key.key else {},
    }

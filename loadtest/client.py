"""A client of the transcription contract: one multipart POST with a file and its options."""

import json
import re
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import httpx

from serve_app.errors import WhisperOxError

API_KEY_HEADER = "X-API-Key"
TIMEOUT_SECONDS = 3600.0
"""For one request: ten minutes of audio, decoded window by window beside seven other requests,
took more than ten minutes on two cores."""

_ENGINE_TIMING = re.compile(r"(?:^|,)\s*engine\s*(?:;[^,]*?)?;\s*dur=\"?([0-9.]+)")


@dataclass(frozen=True)
class Reply:
    """The server's answer; ``body`` is the parsed JSON, ``seconds`` the wall time at the client."""

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
        """The transcript's segments; raises ``WhisperOxError`` if the answer is no transcript."""
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
    url: str,
    audio: bytes,
    options: Mapping[str, Any],
    api_key: str | None = None,
    client: httpx.Client | None = None,
) -> Reply:
    """Post ``audio`` to ``url`` + ``/transcribe``; pass ``client`` to keep the connection open."""
    if client is None:
        with httpx.Client(timeout=TIMEOUT_SECONDS) as own:
            return transcribe(url, audio, options, api_key, own)
    began = time.perf_counter()
    response = client.post(**_request(url, audio, options, api_key))
    return _reply(response, began)


async def transcribe_async(
    url: str,
    audio: bytes,
    options: Mapping[str, Any],
    client: httpx.AsyncClient,
    api_key: str | None = None,
) -> Reply:
    """``transcribe`` for many requests at once over one ``client``."""
    began = time.perf_counter()
    response = await client.post(**_request(url, audio, options, api_key))
    return _reply(response, began)


def _request(
    url: str, audio: bytes, options: Mapping[str, Any], api_key: str | None
) -> dict[str, Any]:
    return {
        "url": url.rstrip("/") + "/transcribe",
        "files": {"file": ("clip", audio, "application/octet-stream")},
        "data": {"generate_kwargs": json.dumps(options)},
        "headers": {API_KEY_HEADER: api_key} if api_key else {},
    }


def _reply(response: httpx.Response, began: float) -> Reply:
    seconds = time.perf_counter() - began
    try:
        body = response.json()
    except ValueError:
        body = response.text
    return Reply(response.status_code, body, response.headers, seconds)

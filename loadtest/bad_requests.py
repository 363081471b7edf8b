"""Requests that a server of the contract must refuse, each for its own reason, in milliseconds."""

import json
from dataclasses import dataclass, field
from typing import Any

import httpx

from loadtest.dialects import Answer
from loadtest.wav import speech_wav


@dataclass(frozen=True)
class BadRequest:
    """``audio`` (None: no file) and ``options`` as posted; ``expected``: status and error code."""

    name: str
    expected: tuple[int, str]
    audio: bytes | None = None
    options: str = "{}"
    headers: dict[str, str] = field(default_factory=dict)

    def post(self, http: httpx.Client, url: str) -> Answer:
        """Post it to the server at ``url``; raises ``httpx.HTTPError``."""
        files: dict[str, Any] = {"generate_kwargs": (None, self.options)}
        if self.audio is not None:
            files["file"] = ("chunk.wav", self.audio, "audio/wav")
        response = http.post(f"{url.rstrip('/')}/transcribe", files=files, headers=self.headers)
        try:
            code = str(response.json()["error"]["code"])
        except (ValueError, KeyError, TypeError):
            code = ""
        return Answer(response.status_code, None, code, response.text[:500])


def bad_requests(key_header: str | None) -> list[BadRequest]:
    """One of each kind; ``key_header`` is the header of the server's API key, if it has one."""
    speech = speech_wav(2.0)
    found = [
        BadRequest("no file", (400, "missing_file")),
        BadRequest("an empty file", (400, "empty_audio"), b""),
        BadRequest("no audio", (415, "unsupported_audio"), b"this is no audio at all"),
        BadRequest("a file cut short", (400, "truncated_audio"), speech[: len(speech) // 2]),
        BadRequest("an unknown task", (422, "invalid_option"), speech, '{"task":"sing"}'),
        BadRequest("a beam of 0", (422, "invalid_option"), speech, json.dumps({"beam_size": 0})),
    ]
    if key_header is not None:
        wrong = {key_header: "wrong"}
        found.append(BadRequest("a wrong key", (401, "unauthorized"), speech, headers=wrong))
    return found

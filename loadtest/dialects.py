"""How a load run asks a server for a transcript: in our contract's words, or in OpenAI's.

OpenAI's: ``POST /v1/audio/transcriptions``, multipart with ``file``, ``model``, ``language`` and
``response_format``, as api-reference/audio/createTranscription describes it.
"""

from dataclasses import dataclass
from typing import Any, Protocol

import httpx

from loadtest.client import Reply, transcribe
from loadtest.options import english_options
from serve_app.errors import WhisperOxError
from serve_app.settings import ApiKey

CONTRACT, CONTRACT_ONCE = "contract", "contract:once"
OPENAI_MODEL = "whisper-1"


@dataclass(frozen=True)
class Answer:
    """``text`` is None without a transcript; then ``code`` and ``error`` say why not."""

    status: int
    text: str | None = None
    code: str = ""
    error: str = ""
    retry_after: float | None = None


class Dialect(Protocol):
    """One way of asking."""

    def headers(self, key: ApiKey) -> dict[str, str]:
        """What carries the key; {} without one."""

    def ask(self, http: httpx.Client, url: str, audio: bytes) -> Answer:
        """Have a WAV transcribed by the server at ``url``; raises ``httpx.HTTPError``."""


@dataclass(frozen=True)
class Contract:
    """Ours, with the options of the contract's example for ``model``.

    ``once``: no window is decoded again.
    """

    model: str
    once: bool = False

    def headers(self, key: ApiKey) -> dict[str, str]:
        """``WHISPER_API_KEY`` in ``WHISPER_API_KEY_HEADER``."""
        return {key.header: key.key} if key.key else {}

    def ask(self, http: httpx.Client, url: str, audio: bytes) -> Answer:
        """See :class:`Dialect`."""
        options = english_options(self.model, once=self.once)
        return self.answer(transcribe(url, audio, options, client=http))

    def answer(self, reply: Reply) -> Answer:
        """What the server's ``reply`` means."""
        retry = _retry_after(reply.headers)
        try:
            return Answer(reply.status, text=reply.text, retry_after=retry)
        except WhisperOxError as refused:
            return Answer(reply.status, None, reply.error_code, refused.message, retry)


@dataclass(frozen=True)
class OpenAI:
    """Any server with OpenAI's interface; ``model`` is what it calls its model."""

    model: str = OPENAI_MODEL

    def headers(self, key: ApiKey) -> dict[str, str]:
        """``WHISPER_API_KEY`` as a bearer token."""
        return {"Authorization": f"Bearer {key.key}"} if key.key else {}

    def ask(self, http: httpx.Client, url: str, audio: bytes) -> Answer:
        """See :class:`Dialect`."""
        return self.answer(http.send(self.request(http, url, audio)))

    def request(self, http: httpx.Client, url: str, audio: bytes) -> httpx.Request:
        """What is posted; ``url`` may end in ``/v1``, as OpenAI's clients want it."""
        return http.build_request(
            "POST",
            url.rstrip("/").removesuffix("/v1") + "/v1/audio/transcriptions",
            files={"file": ("chunk.wav", audio, "audio/wav")},
            data={"model": self.model, "language": "en", "response_format": "json"},
        )

    def answer(self, response: httpx.Response) -> Answer:
        """What the server's ``response`` means."""
        retry = _retry_after(response.headers)
        body = _json(response)
        if response.status_code == httpx.codes.OK and isinstance(body.get("text"), str):
            return Answer(response.status_code, text=body["text"].strip(), retry_after=retry)
        error = body.get("error")
        code = str(error.get("code") or error.get("type") or "") if isinstance(error, dict) else ""
        return Answer(response.status_code, None, code, response.text[:500], retry)


def dialect(name: str, model: str) -> Dialect:
    """``contract``, ``contract:once``, or ``openai``, as ``openai:MODEL`` where its model has
    another name.

    Raises ``WhisperOxError`` for anything else.
    """
    kind, _, other_model = name.partition(":")
    if name in (CONTRACT, CONTRACT_ONCE):
        return Contract(model, once=name == CONTRACT_ONCE)
    if kind == "openai":
        return OpenAI(other_model or OPENAI_MODEL)
    raise WhisperOxError(f"{name!r} is no way to ask; there are contract and openai")


def _retry_after(headers: httpx.Headers) -> float | None:
    """Seconds; None for a date, which none of the servers here sends."""
    try:
        return float(headers["retry-after"])
    except (KeyError, ValueError):
        return None


def _json(response: httpx.Response) -> dict[str, Any]:
    try:
        body = response.json()
    except ValueError:
        return {}
    return body if isinstance(body, dict) else {}

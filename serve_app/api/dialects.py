"""The kinds of HTTP API that are served here: their paths, their error bodies, their API keys.

The key check, the error answers and the proxies read this table. The command that starts HAProxy
does too and has to be quick, so nothing slow to import belongs here.
"""

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

from serve_app.errors import InvalidOption, WhisperOxError

KEY_PARAMETER = "ocp-apim-subscription-key"
"""Azure Speech's name for an API key, which its clients send as a header or in the query."""

KEY_PARAMETERS = (KEY_PARAMETER, "token")
"""Parameters of a query that may hold an API key: Azure Speech's, and what ElevenLabs' clients call
a token for one session."""

KEY_HEADERS = ("api-key", "authorization", "xi-api-key", KEY_PARAMETER)
"""Headers that may hold an API key in addition to the configured one, on every path: those of Azure
OpenAI, HTTP itself, ElevenLabs and Azure Speech."""

KEY_SCHEMES = ("bearer", "token")
"""Words that may stand before a key in any of these headers: OpenAI's and Deepgram's clients send
them."""


KEY_SUBPROTOCOL_PREFIX = "openai-insecure-api-key."
"""What OpenAI's client in a browser writes before a key, which it can only offer as a WebSocket's
subprotocol. Deepgram's offers it bare, beside the word ``token`` or ``bearer``."""


@dataclass(frozen=True)
class Dialect:
    """One kind of API.

    Its paths begin with one of ``path_prefixes``. ``option_prefix`` is what its callers write in
    front of an option's name. ``render`` makes the body of an error from the error and the request
    id. ``statuses`` are those of our errors that this API answers with another one.
    """

    path_prefixes: tuple[str, ...]
    option_prefix: str
    render: Callable[[WhisperOxError, str], dict[str, Any]]
    statuses: Mapping[int, int] = field(default_factory=dict)

    def status(self, error: WhisperOxError) -> int:
        """The HTTP status of the answer that tells a caller of ``error``."""
        return self.statuses.get(error.status, error.status)

    def error_body(
        self, error: WhisperOxError, request_id: str, bare_options: Collection[str] = ()
    ) -> dict[str, Any]:
        """The JSON body that tells a caller of ``error``.

        The caller wrote ``bare_options`` without the dialect's prefix.
        """
        if isinstance(error, InvalidOption):
            error = error.under(self.option_prefix, bare_options)
        return self.render(error, request_id)


def dialect_of(path: str) -> Dialect:
    """The dialect spoken under ``path``, which is :data:`NATIVE` unless a prefix says otherwise."""
    return next((one for one in DIALECTS if path.startswith(one.path_prefixes)), NATIVE)


def _native_error(error: WhisperOxError, request_id: str) -> dict[str, Any]:
    return {
        "error": {
            "code": error.code,
            "message": error.message,
            "field": error.field,
            "request_id": request_id,
        }
    }


def _openai_error(error: WhisperOxError, request_id: str) -> dict[str, Any]:
    # Clients expect all four fields in every error.
    kind = "invalid_request_error" if error.status < 500 else "server_error"
    return {
        "error": {
            "message": error.message,
            "type": "rate_limit_error" if error.status == 429 else kind,
            "param": error.field,
            "code": _OPENAI_CODES.get(error.code, error.code),
        }
    }


_OPENAI_CODES = {"unauthorized": "invalid_api_key", "overloaded": "rate_limit_exceeded"}
"""Our codes and those that OpenAI's clients know for the same errors."""


def _deepgram_error(error: WhisperOxError, request_id: str) -> dict[str, Any]:
    code = _DEEPGRAM_CODES.get(error.status, "Bad Request" if error.status < 500 else error.code)
    return {"err_code": code, "err_msg": error.message, "request_id": request_id}


_DEEPGRAM_CODES = {401: "INVALID_AUTH", 429: "TOO_MANY_REQUESTS"}
"""Deepgram's codes by status; its other refusals of a request are all called a bad request."""


def _elevenlabs_error(error: WhisperOxError, request_id: str) -> dict[str, Any]:
    if error.status == 422 and error.field:
        problem = {"loc": ["body", error.field], "msg": error.message, "type": error.code}
        return {"detail": [problem]}
    status = "invalid_api_key" if error.status == 401 else error.code
    detail = {"status": status, "message": error.message, "request_id": request_id}
    return {"detail": detail}


def _openrouter_error(error: WhisperOxError, request_id: str) -> dict[str, Any]:
    metadata = {"code": error.code, "field": error.field, "request_id": request_id}
    return {
        "error": {
            "code": OPENROUTER.status(error),  # its clients take nothing but a number
            "message": error.message,
            "metadata": metadata,
        }
    }


def _azure_speech_error(error: WhisperOxError, request_id: str) -> dict[str, Any]:
    other = "InvalidRequest" if error.status < 500 else "InternalServerError"
    return {
        "code": _AZURE_SPEECH_CODES.get(error.status, other),
        "message": error.message,
        "innerError": {"code": error.code, "message": error.message},
    }


_AZURE_SPEECH_CODES = {
    401: "Unauthorized",
    404: "NotFound",
    429: "TooManyRequests",
    503: "ServiceUnavailable",
}
"""Azure Speech's codes by status."""


def _dashscope_error(error: WhisperOxError, request_id: str) -> dict[str, Any]:
    code = "InvalidApiKey" if error.status == 401 else error.code
    return {"request_id": request_id, "code": code, "message": error.message}


NATIVE = Dialect(path_prefixes=(), option_prefix="generate_kwargs.", render=_native_error)
OPENAI = Dialect(
    path_prefixes=("/v1/audio/", "/v1/realtime", "/openai/", "/v1/models"),
    option_prefix="",
    render=_openai_error,
    statuses={415: 400, 422: 400},
)
ECHOKIT_VAD = Dialect(
    path_prefixes=("/v1/audio/vad", "/v1/audio/realtime_vad"),
    option_prefix="",
    render=lambda error, request_id: {"error": error.message},
)
DEEPGRAM = Dialect(
    path_prefixes=("/v1/listen",),
    option_prefix="",
    render=_deepgram_error,
    statuses={415: 400, 422: 400},
)
ELEVENLABS = Dialect(
    path_prefixes=("/v1/speech-to-text",),
    option_prefix="",
    render=_elevenlabs_error,
    statuses={415: 400},
)
OPENROUTER = Dialect(
    path_prefixes=("/api/v1/",),
    option_prefix="",
    render=_openrouter_error,
    statuses={415: 400, 422: 400},
)
AZURE_SPEECH = Dialect(
    path_prefixes=("/speechtotext/", "/speech/recognition/", "/stt/speech/"),
    option_prefix="",
    render=_azure_speech_error,
    statuses={415: 400, 422: 400},
)
DASHSCOPE = Dialect(
    path_prefixes=("/api-ws/",),
    option_prefix="",
    render=_dashscope_error,
)
DIALECTS = (ECHOKIT_VAD, OPENAI, OPENROUTER, DEEPGRAM, ELEVENLABS, AZURE_SPEECH, DASHSCOPE)
"""Every dialect but the native one. Where the prefixes of two match, the first one counts."""

"""The one exception hierarchy. Only ``serve_app.api.error_answers`` maps it to HTTP."""

import re
from collections.abc import Collection, Mapping
from typing import Any

_OPTION_NAME = re.compile(r"\w+(\.\w+)*")


class WhisperOxError(Exception):
    """An error with a stable ``code`` on which a client may branch.

    ``message`` tells the reader what to do. ``status`` is the HTTP status of the answer. ``field``
    names the field of the request that is at fault, if any. After ``retry_after_seconds`` the same
    request may succeed; None means that it will not without a change. Errors cross process borders,
    so pickling must keep all five.
    """

    code = "internal_error"
    status = 500
    retry_after_seconds: float | None = None

    def __init__(
        self,
        message: str,
        *,
        code: str | None = None,
        status: int | None = None,
        field: str | None = None,
        retry_after_seconds: float | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.code = code or type(self).code
        self.status = status or type(self).status
        self.field = field
        if retry_after_seconds is not None:
            self.retry_after_seconds = retry_after_seconds


class InvalidRequest(WhisperOxError):
    """The request is malformed: a missing file part, two of them, a broken multipart body."""

    code = "invalid_request"
    status = 400


class InvalidOption(WhisperOxError):
    """Options have the wrong type, are out of range or do not fit the model.

    Each of ``problems`` is a sentence that begins with the bare name of an option, such as
    ``beam_size``. ``field`` is the first of these names. :meth:`under` adds what callers of an API
    write before it, and :meth:`renamed` replaces it with the callers' own names.
    """

    code = "invalid_option"
    status = 422

    def __init__(self, *problems: str, **more: Any) -> None:
        super().__init__(". ".join(problems), **more)
        self.problems = problems

    def under(self, prefix: str, bare: Collection[str] = ()) -> "InvalidOption":
        """The same error with ``prefix`` before the name of every option that is not in ``bare``.

        A part of an option, such as ``vad_parameters.threshold``, goes with its option.
        """

        def placed(text: str) -> str:
            is_bare = any(text.startswith(name) and _ends(text[len(name) :]) for name in bare)
            return text if is_bare else f"{prefix}{text}"

        field = None if self.field is None else placed(self.field)
        return InvalidOption(*map(placed, self.problems), field=field)

    def renamed(self, names: Mapping[str, str]) -> "InvalidOption":
        """The same error with each option renamed as in ``names``, if it is there."""

        def rename(match: re.Match[str]) -> str:
            return names.get(match[0], match[0])

        problems = (_OPTION_NAME.sub(rename, problem, count=1) for problem in self.problems)
        field = None if self.field is None else names.get(self.field, self.field)
        return InvalidOption(*problems, field=field)


def _ends(rest: str) -> bool:
    """Whether a name ends where ``rest`` begins."""
    return not (rest[:1].isalnum() or rest[:1] == "_")


class InvalidSetting(WhisperOxError):
    """A setting or an environment variable has a value that is not allowed."""

    code = "invalid_setting"


class InvalidAudio(WhisperOxError):
    """The bytes claim to be audio but cannot be decoded: they are empty, truncated or contradict
    themselves.
    """

    code = "invalid_audio"
    status = 400


class UnsupportedAudio(WhisperOxError):
    """The bytes are not in an audio format that this server reads."""

    code = "unsupported_audio"
    status = 415


class UnsupportedEncoding(WhisperOxError):
    """The body or a part of it is compressed or otherwise encoded."""

    code = "unsupported_encoding"
    status = 415


class AudioTooLarge(WhisperOxError):
    """The audio is longer than the configured limit, or unpacks to more bytes."""

    code = "audio_too_large"
    status = 413


class AudioTooCostly(WhisperOxError):
    """Decoding needs far more memory or time than the audio is worth."""

    code = "audio_too_costly"
    status = 422


class BodyTooLarge(WhisperOxError):
    """The request's body is larger than the configured limit."""

    code = "body_too_large"
    status = 413


class RemoteAudioRefused(WhisperOxError):
    """The server does not fetch audio from the caller's URL."""

    code = "remote_audio_refused"
    status = 400


class RemoteAudioUnavailable(WhisperOxError):
    """Fetching audio from the caller's URL failed or took too long."""

    code = "remote_audio_unavailable"
    status = 400


class FormTooLarge(WhisperOxError):
    """A form has more parts or longer text fields than it may."""

    code = "form_too_large"
    status = 413


class HeadersTooLarge(WhisperOxError):
    """The request's head is larger than the configured limit."""

    code = "headers_too_large"
    status = 431


class UploadTimeout(WhisperOxError):
    """The request's body stopped coming, or comes too slowly."""

    code = "upload_timeout"
    status = 408


class RequestTimeout(WhisperOxError):
    """The work on a request took longer than the configured limit."""

    code = "request_timeout"
    status = 504


class Unauthorized(WhisperOxError):
    """The API key is missing or wrong."""

    code = "unauthorized"
    status = 401


class QuotaExceeded(WhisperOxError):
    """The API key has enough requests running, or has sent enough audio in the last minute."""

    code = "quota_exceeded"
    status = 429
    retry_after_seconds = 1.0


class NotReady(WhisperOxError):
    """No model replica can serve yet, or none is left."""

    code = "not_ready"
    status = 503
    retry_after_seconds = 5.0


class DeviceFailed(NotReady):
    """The device that runs the model failed, whatever the request was."""

    code = "device_failed"


class MessageTooLarge(WhisperOxError):
    """A message on a WebSocket is larger than the configured limit."""

    code = "message_too_large"
    status = 413


class IdleTimeout(WhisperOxError):
    """Nothing has come on a WebSocket for too long."""

    code = "idle_timeout"
    status = 408


class SessionLimit(WhisperOxError):
    """A live session has lasted for as long as it may."""

    code = "session_limit"
    status = 413


class SessionGone(WhisperOxError):
    """There is no live session to come back to."""

    code = "session_gone"
    status = 400


class DraftDropped(WhisperOxError):
    """A draft of a live session is of no use any more. No client sees this."""

    code = "draft_dropped"
    status = 400


class Overloaded(WhisperOxError):
    """The queue is longer than the configured limit."""

    code = "overloaded"
    status = 429
    retry_after_seconds = 5.0

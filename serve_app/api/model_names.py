"""What callers call the model: one is served, and it answers to the names of many.

Clients of other servers name a model that they know, so each name of a Whisper model means the one
that is served here.
"""

from collections.abc import Collection

from models.catalogue import ALIASES, CATALOGUE
from serve_app.errors import InvalidRequest
from serve_app.service import SpeechService

OPENAIS_NAME = "whisper-1"
"""OpenAI's own name of its Whisper model, which most clients send."""

_NAMES = frozenset(
    {
        *(OPENAIS_NAME, "whisper", "gpt-transcribe", "gpt-4o-transcribe"),
        *("gpt-4o-mini-transcribe", "gpt-4o-mini-transcribe-2025-12-15"),
        *CATALOGUE,
        *ALIASES,
    }
)


def is_known(name: str, aliases: Collection[str] = ()) -> bool:
    """Whether ``name`` means the served model, whichever that is.

    Besides the configured ``aliases`` these are OpenAI's names and those of the catalogue, also as
    OpenAI, Groq and Hugging Face write them: ``whisper-large-v3``,
    ``Systran/faster-whisper-large-v3``.
    """
    plain = name.lower().rpartition("/")[2].removeprefix("faster-")
    return name in aliases or plain in _NAMES or plain.removeprefix("whisper-") in _NAMES


async def require_model(
    name: str, service: SpeechService, aliases: Collection[str], code: str = "model_not_found"
) -> None:
    """Raise ``InvalidRequest`` (404, ``code``) for a name of no model here.

    Only for a name that is not known everywhere is the service asked, which may raise ``NotReady``.
    """
    if is_known(name, aliases):
        return
    served = (await service.model()).name
    if name != served:
        raise InvalidRequest(
            f"The model `{name[:80]}` does not exist. This server has {served}, which also answers "
            f"to {OPENAIS_NAME} and to the names of Whisper's sizes; the setting "
            "http.model_aliases adds others.",
            code=code,
            status=404,
            field="model",
        )

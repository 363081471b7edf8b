"""The served models by what callers call them, and which of them a request goes to.

1. The one that the caller names: a model's own name, as OpenAI, Groq and Hugging Face write it too
   (``whisper-large-v3``, ``Systran/faster-whisper-large-v3``), or one of its aliases.
2. Else the one that the settings give the language which the request states.
3. Else the default, which is the first. Translations are its work as well, and so is speech whose
   language is to be detected.

Clients of other servers have to name a model that they know. So OpenAI's names choose none, and
while there is only one model, neither do the names of Whisper's sizes.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from models.catalogue import ALIASES, CATALOGUE
from serve_app.caller import Caller
from serve_app.errors import InvalidRequest, NotReady, Overloaded
from serve_app.options import TranscribeOptions
from serve_app.service import SpeechService
from serve_app.settings import AppSettings

OPENAIS_NAME = "whisper-1"
"""OpenAI's own name of its Whisper model, which most clients send."""

_OPENAIS_NAMES = frozenset(
    {
        *(OPENAIS_NAME, "whisper", "gpt-transcribe", "gpt-4o-transcribe"),
        *("gpt-4o-mini-transcribe", "gpt-4o-mini-transcribe-2025-12-15"),
        *("gpt-realtime-whisper", "gpt-live-transcribe"),
    }
)


@dataclass(frozen=True)
class ServedModel:
    """One model: its name, its other names and the service that has it."""

    name: str
    aliases: tuple[str, ...]
    service: SpeechService


class ModelTable:
    """Every served model. ``service`` has the first one, ``others`` the rest by name."""

    def __init__(
        self,
        settings: AppSettings,
        service: SpeechService,
        others: Mapping[str, SpeechService] | None = None,
    ) -> None:
        served = settings.served
        first, *_ = served
        services = {first: service, **(others or {})}
        aliases = {name: own.aliases for name, own in served.items()}
        aliases[first] += settings.http.model_aliases
        self._models = {name: ServedModel(name, aliases[name], services[name]) for name in served}
        self.default = self._models[first]
        self._by_alias = {alias: model for model in self for alias in model.aliases}
        self._by_plain_name = {_plain(name): model for name, model in self._models.items()}
        self._by_language = {
            code: self._models[name] for name, own in served.items() for code in own.languages
        }

    def __iter__(self) -> Iterator[ServedModel]:
        return iter(self._models.values())

    @property
    def has_several(self) -> bool:
        """Whether callers can choose a model."""
        return len(self._models) > 1

    def named(self, name: str, code: str = "model_not_found") -> ServedModel | None:
        """The model that a caller names; None for a name that leaves the choice to the server.

        Raises ``InvalidRequest`` (404, ``code``) for any other name.
        """
        plain = _plain(name)
        model = self._by_alias.get(name) or self._models.get(name) or self._by_plain_name.get(plain)
        if model is not None:
            return model
        if name.lower().rpartition("/")[2] in _OPENAIS_NAMES:
            return None
        if plain in CATALOGUE and not self.has_several:
            return None
        raise InvalidRequest(
            f"The model `{name[:80]}` does not exist. This server has {self._names()}.",
            code=code,
            status=404,
            field="model",
        )

    def fitting(self, options: TranscribeOptions) -> ServedModel:
        """The model for a request whose caller leaves the choice to the server."""
        if options.task != "transcribe" or options.multilingual or options.language is None:
            return self.default
        return self._by_language.get(options.language, self.default)

    async def admit(self, caller: Caller, body_bytes: int | None) -> None:
        """Ask whether a request may come whose model is not known yet: if any model would have it.

        Raises what the default's :meth:`SpeechService.admit` raises if none would.
        """
        refusal: NotReady | Overloaded | None = None
        for model in self:
            try:
                return await model.service.admit(caller, body_bytes)
            except (NotReady, Overloaded) as error:
                refusal = refusal or error
        if refusal is not None:
            raise refusal

    def _names(self) -> str:
        names = ", ".join(self._models)
        if self.has_several:
            return f"{names}; {OPENAIS_NAME} leaves the choice to it"
        return (
            f"{names}, which also answers to {OPENAIS_NAME} and to the names of Whisper's sizes; "
            "the setting http.model_aliases adds others"
        )


def _plain(name: str) -> str:
    """The catalogue's form of a name that may be OpenAI's, Groq's or Hugging Face's."""
    last = name.lower().rpartition("/")[2].removeprefix("faster-")
    short = last.removeprefix("whisper-")
    return ALIASES.get(short, short)

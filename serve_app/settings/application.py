"""All settings of the application, and where its API keys are."""

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from pydantic import Field, model_validator
from typing_extensions import Self

from serve_app.audio.limits import AudioLimits, WorkerLimits
from serve_app.options import OptionLimits
from serve_app.settings.base import Settings
from serve_app.settings.engine import EngineSettings, ModelSettings
from serve_app.settings.http import HttpSettings, RemoteSettings, SubtitleSettings
from serve_app.settings.live import LiveSettings, WyomingSettings
from serve_app.settings.load import AdmissionSettings, DrainSettings, QuotaSettings


class LogSettings(Settings):
    """The application's log, on stderr."""

    level: Literal["debug", "info", "warning", "error"] = Field(
        default="info", description="Lowest level that is logged. LOG_LEVEL takes precedence."
    )
    format: Literal["text", "json"] = Field(
        default="text", description="text: one line per event. json: one JSON object per event."
    )
    transcripts: bool = Field(
        default=False,
        description="Log each transcript at level debug, and the messages of all exceptions, which "
        "may quote a caller. Off: neither.",
    )


class AppSettings(Settings):
    """Arguments of the Serve application (``args`` in a Serve config)."""

    engine: EngineSettings = EngineSettings()
    models: tuple[ModelSettings, ...] = ()
    http: HttpSettings = HttpSettings()
    subtitles: SubtitleSettings = SubtitleSettings()
    remote: RemoteSettings = RemoteSettings()
    quota: QuotaSettings = QuotaSettings()
    admission: AdmissionSettings = AdmissionSettings()
    live: LiveSettings = LiveSettings()
    wyoming: WyomingSettings = WyomingSettings()
    drain: DrainSettings = DrainSettings()
    log: LogSettings = LogSettings()
    audio: AudioLimits = AudioLimits()
    decoding: WorkerLimits = WorkerLimits()
    options: OptionLimits = OptionLimits()

    @property
    def served(self) -> dict[str, ModelSettings]:
        """Each model by its name, with all of its settings; the first one is the default.

        Raises ``models.ModelNotFound`` for what cannot be a model.
        """
        shared = self.engine.model_dump()
        models = self.models or (ModelSettings(model=self.engine.model),)
        return {
            own.name: ModelSettings(**shared | own.model_dump(exclude_unset=True)) for own in models
        }

    @model_validator(mode="after")
    def _names_are_clear(self) -> Self:
        if self.models and "model" in self.engine.model_fields_set:
            raise ValueError("engine.model and models both name models; leave one of them out")
        names = [name for own in self.models for name in (own.name, *own.aliases)]
        names += self.http.model_aliases if self.models else ()
        routed = [language for own in self.models for language in own.languages]
        for kind, given in (("name", names), ("language", routed)):
            if twice := [one for one in given if given.count(one) > 1]:
                raise ValueError(f"models: the {kind} {twice[0]!r} is given more than once")
        return self


@dataclass(frozen=True)
class ApiKey:
    """Where the API keys are. They come from the environment, never from a profile."""

    key: str = field(default="", repr=False)
    header: str = "X-API-Key"
    keys_file: Path | None = None

    @classmethod
    def from_environment(cls) -> "ApiKey":
        """Read ``WHISPER_API_KEY``, ``WHISPER_API_KEY_HEADER`` and ``WHISPER_API_KEYS_FILE``.

        An empty value is unset.
        """
        keys_file = os.environ.get("WHISPER_API_KEYS_FILE")
        return cls(
            os.environ.get("WHISPER_API_KEY", ""),
            os.environ.get("WHISPER_API_KEY_HEADER") or cls.header,
            Path(keys_file) if keys_file else None,
        )

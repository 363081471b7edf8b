"""Every setting and its default, stated once. Unknown keys are errors."""

from serve_app.settings.application import ApiKey, AppSettings, LogSettings
from serve_app.settings.engine import (
    DEFAULT_MODEL,
    EngineSettings,
    EngineTunables,
    ModelSettings,
)
from serve_app.settings.http import HttpSettings, RemoteSettings, SubtitleSettings
from serve_app.settings.live import MOST_MESSAGE_BYTES, LiveSettings, WyomingSettings
from serve_app.settings.load import AdmissionSettings, DrainSettings, QuotaSettings

__all__ = [
    "DEFAULT_MODEL",
    "MOST_MESSAGE_BYTES",
    "AdmissionSettings",
    "ApiKey",
    "AppSettings",
    "DrainSettings",
    "EngineSettings",
    "EngineTunables",
    "HttpSettings",
    "LiveSettings",
    "LogSettings",
    "ModelSettings",
    "QuotaSettings",
    "RemoteSettings",
    "SubtitleSettings",
    "WyomingSettings",
]

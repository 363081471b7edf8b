"""Settings: every unknown key is an error, every default is stated, the key comes from outside."""

from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel, ValidationError

from serve_app.settings import (
    DEFAULT_MODEL,
    ApiKey,
    AppSettings,
    EngineSettings,
    EngineTunables,
    HttpSettings,
    LogSettings,
)

CONCERNS = [
    *(
        field.annotation
        for name, field in AppSettings.model_fields.items()
        if name != "models"  # a list, whose items are tested with the models
    ),
    AppSettings,
    EngineTunables,
]


@pytest.mark.parametrize("model", CONCERNS)
def test_an_unknown_key_is_an_error(model: type[BaseModel]) -> None:
    with pytest.raises(ValidationError, match="Extra inputs are not permitted"):
        model.model_validate({"no_such_key": 1})


@pytest.mark.parametrize("model", CONCERNS)
def test_every_setting_has_a_default_and_says_what_it_is(model: type[BaseModel]) -> None:
    model.model_validate({})
    if model is not AppSettings:  # its fields are the concerns
        assert all(field.description for field in model.model_fields.values())


@pytest.mark.parametrize("model", CONCERNS)
def test_every_default_is_itself_allowed(model: type[BaseModel]) -> None:
    defaults = model().model_dump()
    assert model.model_validate(defaults) == model()


@pytest.mark.parametrize("model", CONCERNS)
def test_settings_cannot_change_once_read(model: type[BaseModel]) -> None:
    with pytest.raises(ValidationError, match="frozen"):
        setattr(model(), next(iter(model.model_fields)), None)


def test_the_stated_defaults() -> None:
    settings = AppSettings()
    assert settings.engine.model == DEFAULT_MODEL == "base"
    assert (settings.engine.device, settings.engine.compute_type) == ("auto", "auto")
    assert settings.http.transcribe_paths == ("/transcribe", "/v1/transcribe", "/")
    assert not settings.http.strict_options


@pytest.mark.parametrize(
    ("model", "values"),
    [
        (EngineSettings, {"device": "tpu"}),
        (EngineSettings, {"compute_type": "int4"}),
        (EngineSettings, {"workers": -1}),
        (EngineSettings, {"threads_per_worker": 0}),
        (EngineSettings, {"max_concurrent_requests": 0}),
        (EngineTunables, {"decode_batch": 0}),
        (EngineTunables, {"slack_seconds": -1}),
        (HttpSettings, {"max_body_bytes": 0}),
        (HttpSettings, {"cors_origins": ["https://app.example.com/"]}),
        (HttpSettings, {"cors_origins": ["app.example.com"]}),
        (HttpSettings, {"cors_origins": ["https://App.example.com"]}),
        (LogSettings, {"level": "loud"}),
    ],
)
def test_a_value_out_of_range_is_refused(model: type[BaseModel], values: dict[str, Any]) -> None:
    with pytest.raises(ValidationError, match=next(iter(values))):
        model.model_validate(values)


@pytest.mark.parametrize(
    "origin",
    ["*", "null", "http://[::1]:8080", "https://app.example.com", "chrome-extension://abc"],
)
def test_whatever_a_browser_sends_as_an_origin_may_be_allowed(origin: str) -> None:
    assert HttpSettings(cors_origins=(origin,)).cors_origins == (origin,)


@pytest.fixture
def environment(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """The process's environment, without a key."""
    monkeypatch.delenv("WHISPER_API_KEY", raising=False)
    monkeypatch.delenv("WHISPER_API_KEY_HEADER", raising=False)
    monkeypatch.delenv("WHISPER_API_KEYS_FILE", raising=False)
    return monkeypatch


def test_without_a_key_the_server_is_open(environment: pytest.MonkeyPatch) -> None:
    assert ApiKey.from_environment() == ApiKey()


def test_an_empty_value_is_unset(environment: pytest.MonkeyPatch) -> None:
    environment.setenv("WHISPER_API_KEY", "")
    environment.setenv("WHISPER_API_KEY_HEADER", "")
    environment.setenv("WHISPER_API_KEYS_FILE", "")
    assert ApiKey.from_environment() == ApiKey()


def test_key_and_header_come_from_the_environment(environment: pytest.MonkeyPatch) -> None:
    environment.setenv("WHISPER_API_KEY", " sesame ")
    environment.setenv("WHISPER_API_KEY_HEADER", "X-Door")
    api_key = ApiKey.from_environment()
    assert (api_key.key, api_key.header) == (" sesame ", "X-Door")


def test_the_keys_file_comes_from_the_environment(environment: pytest.MonkeyPatch) -> None:
    environment.setenv("WHISPER_API_KEYS_FILE", "/run/secrets/keys")
    assert ApiKey.from_environment().keys_file == Path("/run/secrets/keys")


def test_the_key_is_never_printed(environment: pytest.MonkeyPatch) -> None:
    environment.setenv("WHISPER_API_KEY", "sesame")
    api_key = ApiKey.from_environment()
    assert "sesame" not in f"{api_key} {api_key!r}"

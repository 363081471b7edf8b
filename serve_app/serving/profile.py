"""Profiles are Serve configs, read from ``configs/`` or from a file and checked to the last key."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, get_args

import yaml
from pydantic import BaseModel, ValidationError
from ray.serve.schema import ServeApplicationSchema, ServeDeploySchema

from serve_app.errors import WhisperOxError
from serve_app.settings import AppSettings, EngineTunables

PROFILES = Path(__file__).parents[2] / "configs"
"""The profiles that come with Whisper OX, beside this package wherever it is installed."""

USER_CONFIGS: dict[str, type[BaseModel] | None] = {"Ingress": None, "Transcriber": EngineTunables}
"""The model of each deployment's ``user_config``. The names are spelt out because importing
:mod:`serve_app.serving.deployments` would load the engine."""


class InvalidProfile(WhisperOxError):
    """A profile that cannot be read, or a key or value that Serve or the application refuses."""

    code = "invalid_profile"


@dataclass(frozen=True)
class Profile:
    """A checked profile with exactly one application."""

    config: ServeDeploySchema
    settings: AppSettings

    @property
    def application(self) -> ServeApplicationSchema:
        """The one application."""
        application: ServeApplicationSchema = self.config.applications[0]
        return application

    @property
    def deployment_options(self) -> dict[str, dict[str, Any]]:
        """Options of each deployment by its name, as ``Deployment.options`` takes them."""
        return {
            deployment.name: deployment.model_dump(exclude_unset=True, exclude={"name"})
            for deployment in self.application.deployments
        }

    def changed(self, *, model: str | None, host: str | None, port: int | None) -> "Profile":
        """The profile with the values of the command line. None keeps the profile's own."""
        http = self.config.http_options
        update = {"host": host or http.host, "port": port or http.port}
        config = self.config.model_copy(update={"http_options": http.model_copy(update=update)})
        engine = self.settings.engine
        engine = engine.model_copy(update={"model": model or engine.model})
        return replace(
            self, config=config, settings=self.settings.model_copy(update={"engine": engine})
        )


def profile_path(name: str) -> Path:
    """The file of a profile: ``name`` is a path, or a profile that comes with Whisper OX."""
    path = Path(name)
    if path.suffix in (".yaml", ".yml"):
        return path
    return PROFILES / f"{name}.yaml"


def load_profile(name: str) -> Profile:
    """Read and check a profile. Raises ``InvalidProfile`` with the file and what is wrong."""
    path = profile_path(name)
    try:
        return _check(yaml.safe_load(path.read_text(encoding="utf-8")))
    except FileNotFoundError as error:
        raise InvalidProfile(f"there is no profile {path}") from error
    except OSError as error:
        raise InvalidProfile(f"cannot read {path}: {error.strerror}") from error
    except ValidationError as error:
        raise InvalidProfile(f"{path}: {_one_line(error)}") from error
    except (yaml.YAMLError, ValueError) as error:
        raise InvalidProfile(f"{path}: {' '.join(str(error).split())}") from error


def _check(document: Any) -> Profile:
    """Raises ``ValueError`` with what is wrong, as far as that can be known without starting."""
    config = ServeDeploySchema.model_validate(document)
    unknown = [*_unknown_keys("", document, ServeDeploySchema)]
    if unknown:
        raise ValueError(f"unknown keys {', '.join(unknown)}")
    if len(config.applications) != 1:
        raise ValueError("one application is expected")
    profile = Profile(config, _validate("args", AppSettings, config.applications[0].args))
    for deployment, options in profile.deployment_options.items():
        if deployment not in USER_CONFIGS:
            raise ValueError(
                f"there is no deployment {deployment}; there are {', '.join(USER_CONFIGS)}"
            )
        tunables = USER_CONFIGS[deployment]
        if tunables:
            _validate(f"{deployment}.user_config", tunables, options.get("user_config") or {})
        elif "user_config" in options:
            raise ValueError(f"{deployment} takes no user_config")
    return profile


def _unknown_keys(where: str, given: Any, annotation: Any) -> Iterator[str]:
    """Paths of the keys that no model in ``annotation`` has.

    Serve drops keys that it does not know, so a typing error would pass in silence. Some dicts
    become models only when Serve starts, so their values are checked here; ``ValueError`` says
    which is wrong.
    """
    models = [*_models(annotation)]
    if isinstance(given, list):
        for number, item in enumerate(given):
            name = item.get("name") if isinstance(item, dict) else None
            yield from _unknown_keys(f"{where}[{name or number}]", item, annotation)
    elif isinstance(given, dict) and models:
        fields = {name: field for model in models for name, field in model.model_fields.items()}
        for key, value in given.items():
            path = f"{where}.{key}" if where else str(key)
            if key in fields:
                yield from _unknown_keys(path, value, fields[key].annotation)
            else:
                yield path
        if len(models) == 1:
            _validate(where, models[0], given)


def _models(annotation: Any) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for argument in get_args(annotation):
        yield from _models(argument)


def _validate(where: str, model: type[Any], given: Any) -> Any:
    try:
        return model.model_validate(given)
    except ValidationError as error:
        raise ValueError(f"{where}: {_one_line(error)}") from error


def _one_line(error: ValidationError) -> str:
    """Each field and what is wrong with it, without pydantic's type names and addresses."""
    return "; ".join(
        f"{'.'.join(map(str, problem['loc']))}: {problem['msg']}".lstrip(": ")
        for problem in error.errors(include_url=False)
    )

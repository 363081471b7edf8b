"""Profiles are Serve configs, read from ``configs/`` or from a file and checked to the last key."""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, get_args

import yaml
from pydantic import BaseModel, ValidationError
from ray.serve.schema import ServeApplicationSchema, ServeDeploySchema

from models import ModelError
from serve_app.errors import WhisperOxError
from serve_app.settings import AppSettings, EngineTunables

PROFILES = Path(__file__).parents[2] / "configs"
"""The profiles that come with Whisper OX, beside this package wherever it is installed."""

INGRESS, TRANSCRIBER = "Ingress", "Transcriber"
"""The names of the deployments, which are those of their classes. They are spelt out because
importing :mod:`serve_app.serving.deployments` would load the engine."""

QUIET = {"log_level": "WARNING", "enable_access_log": False}
"""Serve's ``logging_config`` for a local server whose profile has none. On a cluster, Serve reads
the profile itself, so those in ``configs/`` say the same."""


def transcribers(settings: AppSettings) -> dict[str, str]:
    """The name of each model's deployment, by that of the model.

    ``Transcriber`` if there is one model, else ``Transcriber-base`` and so on.
    """
    names = [*settings.served]
    if len(names) == 1:
        return {names[0]: TRANSCRIBER}
    return {name: f"{TRANSCRIBER}-{re.sub(r'[^A-Za-z0-9._-]', '-', name)}" for name in names}


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

    @property
    def serve_logging(self) -> dict[str, Any]:
        """Serve's ``logging_config``: the profile's, and :data:`QUIET` for what it leaves out."""
        own = self.config.logging_config
        return QUIET | (own.model_dump(exclude_unset=True) if own else {})

    @property
    def replicas(self) -> dict[str, int]:
        """The most replicas of each model, by its name."""
        found = {}
        for model, deployment in transcribers(self.settings).items():
            options = self.deployment_options.get(deployment, {})
            scaling = options.get("autoscaling_config") or {}
            found[model] = scaling.get("max_replicas") or options.get("num_replicas") or 1
        return found

    def changed(
        self, *, models: Sequence[str] = (), host: str | None = None, port: int | None = None
    ) -> "Profile":
        """The profile with what the command line says instead; None leaves the profile's own.

        ``models`` are served instead of the profile's, each as its first model is. Raises
        ``InvalidProfile``.
        """
        http = self.config.http_options
        update = {"host": host or http.host, "port": port or http.port}
        config = self.config.model_copy(update={"http_options": http.model_copy(update=update)})
        changed = replace(self, config=config)
        try:
            return changed._serving(models) if models else changed
        except (ValueError, ModelError) as error:
            raise InvalidProfile(str(error)) from error

    def with_cores(self, cores: Mapping[str, int]) -> "Profile":
        """The profile with so many cores for each of its several models, by name."""
        models = tuple(
            own.model_copy(update={"cores": cores[own.name]}) for own in self.settings.models
        )
        return replace(self, settings=self.settings.model_copy(update={"models": models}))

    def _serving(self, models: Sequence[str]) -> "Profile":
        engine = self.settings.engine.model_dump(exclude_unset=True, exclude={"model"})
        args = self.settings.model_dump(exclude_unset=True, exclude={"engine", "models"})
        if len(models) == 1:
            args["engine"] = engine | {"model": models[0]}
        else:
            args |= {"engine": engine, "models": [{"model": model} for model in models]}
        settings = _validate("--model", AppSettings, args)
        first, *_ = transcribers(self.settings).values()
        application = self.application
        known = {deployment.name: deployment for deployment in application.deployments}
        deployments = [known[INGRESS]] if INGRESS in known else []
        if first in known:
            deployments += [
                known[first].model_copy(update={"name": name})
                for name in transcribers(settings).values()
            ]
        application = application.model_copy(update={"deployments": deployments})
        config = self.config.model_copy(update={"applications": [application]})
        return Profile(config, settings)


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
    except (yaml.YAMLError, ValueError, ModelError) as error:
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
    models = [*transcribers(profile.settings).values()]
    deployments = [INGRESS, *models]
    if len(set(models)) < len(models):
        raise ValueError(f"args.models: several would be deployed as one of {', '.join(models)}")
    for deployment, options in profile.deployment_options.items():
        if deployment not in deployments:
            raise ValueError(
                f"there is no deployment {deployment}; there are {', '.join(deployments)}"
            )
        if deployment != INGRESS:
            tunables = options.get("user_config") or {}
            _validate(f"{deployment}.user_config", EngineTunables, tunables)
        elif "user_config" in options:
            raise ValueError(f"{deployment} takes no user_config")
    missing = set(deployments) - set(profile.deployment_options)
    if len(models) > 1 and missing:  # with Serve's defaults it would hold five requests
        raise ValueError(f"deployments: {', '.join(sorted(missing))} is missing")
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
    """Each field and what is wrong with it, without the type names and addresses of pydantic."""
    return "; ".join(
        ": ".join(
            filter(
                None,
                (".".join(map(str, problem["loc"])), problem["msg"].removeprefix("Value error, ")),
            )
        )
        for problem in error.errors()
    )

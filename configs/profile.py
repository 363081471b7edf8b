"""Reading profiles: a Serve config with what the command line changes in it."""

from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

import yaml
from ray.serve.schema import DeploymentSchema, ServeApplicationSchema, ServeDeploySchema

from serve_app.errors import WhisperOxError
from serve_app.settings import AppSettings


class InvalidProfile(WhisperOxError):
    """A profile cannot be read, or has a key or value that Serve or the application refuses."""

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


def profile_path(name: str) -> Path:
    """The file of a profile: a path, or the name of one that comes with Whisper OX."""
    path = Path(name)
    if path.suffix in (".yaml", ".yml"):
        return path
    return Path(str(files("configs") / f"{name}.yaml"))


def load_profile(name: str) -> Profile:
    """Read and check a profile. Raises ``InvalidProfile`` with the file and what is wrong."""
    path = profile_path(name)
    try:
        document = yaml.safe_load(path.read_text(encoding="utf-8"))
        config = ServeDeploySchema.model_validate(document)
        _refuse_unknown(document)
        if len(config.applications) != 1:
            raise InvalidProfile(f"{path}: one application is expected")
        settings = AppSettings.model_validate(config.applications[0].args)
    except FileNotFoundError as error:
        raise InvalidProfile(f"there is no profile {path}") from error
    except (yaml.YAMLError, ValueError) as error:
        raise InvalidProfile(f"{path}: {error}") from error
    return Profile(config, settings)


def _refuse_unknown(document: dict[str, Any]) -> None:
    """Serve drops keys that it does not know, so that a typing error passes in silence."""
    _check_keys("", document, ServeDeploySchema)
    for application in document.get("applications", []):
        _check_keys("applications: ", application, ServeApplicationSchema)
        for deployment in application.get("deployments", []):
            _check_keys(f"{deployment.get('name')}: ", deployment, DeploymentSchema)


def _check_keys(where: str, given: dict[str, Any], schema: type[Any]) -> None:
    unknown = sorted(set(given) - set(schema.model_fields))
    if unknown:
        raise ValueError(f"{where}unknown keys {', '.join(unknown)}")

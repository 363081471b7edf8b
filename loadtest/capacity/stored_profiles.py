"""Machine profiles in files: by name, by path, or derived from a measured ceiling."""

import json
from pathlib import Path

from pydantic import ValidationError

from loadtest.capacity.ceiling import from_ceiling
from loadtest.capacity.profile import MachineProfile
from serve_app.errors import WhisperOxError

FOLDER = Path(__file__).resolve().parents[1] / "profiles"


def profile_path(name: str) -> Path:
    """A path, or the name of a profile in ``loadtest/profiles``."""
    return Path(name) if name.endswith(".json") else FOLDER / f"{name}.json"


def read_profile(path: Path) -> MachineProfile:
    """A profile, or one derived from a results file of ``loadtest.engine_ceiling``.

    Raises ``WhisperOxError`` with the file and what is wrong.
    """
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
        if isinstance(document, dict) and document.get("tool") == "engine_ceiling":
            return from_ceiling(document, path.stem)
        return MachineProfile.model_validate(document)
    except FileNotFoundError as error:
        known = ", ".join(sorted(file.stem for file in FOLDER.glob("*.json"))) or "none"
        raise WhisperOxError(f"there is no profile {path}; known by name: {known}") from error
    except ValidationError as error:
        wrong = "; ".join(
            f"{'.'.join(map(str, problem['loc']))}: {problem['msg']}"
            for problem in error.errors(include_url=False)[:5]
        )
        raise WhisperOxError(f"{path} is no machine profile: {wrong}") from error
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise WhisperOxError(f"cannot read {path}: {type(error).__name__}: {error}") from error

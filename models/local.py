"""Finds a model on this machine by its name, or fetches it."""

import sys
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from models.failures import ChecksumMismatch, ModelInvalid, ModelNotFound, Offline
from models.fetch import fetch
from models.manifest import MODEL_FILES, Manifest, is_multilingual, record_files, require_files
from models.reference import ModelReference, parse_reference
from models.store import ModelStore


@dataclass(frozen=True)
class LocalModel:
    """A model whose files are complete on this machine.

    ``multilingual`` is False for a model that knows English only and cannot translate. ``revision``
    is the Hugging Face commit or None, ``licence`` None if it is unknown.
    """

    name: str
    path: Path
    multilingual: bool
    revision: str | None = None
    licence: str | None = None

    @classmethod
    def of(cls, manifest: Manifest, path: Path) -> "LocalModel":
        """The model in ``path``, which ``manifest`` describes."""
        return cls(manifest.name, path, manifest.multilingual, manifest.revision, manifest.licence)


def resolve(
    model: str, *, cache_dir: Path | None = None, allow_download: bool = True, quiet: bool = False
) -> LocalModel:
    """Find a model on this machine, or fetch it.

    ``model`` is a local directory, a catalogue name or alias, or a Hugging Face id
    ``org/repo[@revision]``. ``cache_dir`` defaults to ``$WHISPER_OX_MODELS_DIR``, else
    ``~/.cache/whisper-ox/models``. For an installed model only the sizes of its files are checked,
    without network; ``verify`` reads them all. Several processes may call this at once.

    Raises ``ModelNotFound``, ``ModelInvalid``, ``ChecksumMismatch``, ``Offline``,
    ``DownloadRefused``, ``DownloadInterrupted``, ``DiskFull``, all of them ``ModelError``.
    """
    reference = parse_reference(model)
    if isinstance(reference, Path):
        return _in_directory(reference)
    store = ModelStore.at(cache_dir)
    directory = store.directory(reference.folder)
    if store.has_unrecorded(reference.folder):
        return _adopt(reference, directory)
    fault = f"{reference.name} is not in {store.root}"
    try:
        if manifest := _sound_manifest(directory):
            return LocalModel.of(manifest, directory)
    except ModelInvalid as broken:
        fault = broken.message
        if not allow_download:
            raise
        print(f"{broken.message}; fetching {reference.name} again", file=sys.stderr)
    if not allow_download:
        raise Offline(
            f"{fault} and downloads are not allowed; run "
            f"python -m models fetch {reference.name}, or unbundle it there"
        )
    with store.locked(reference.folder, because=fault):
        # Another process may have installed it while this one waited for the lock.
        with suppress(ModelInvalid):
            if manifest := _sound_manifest(directory):
                return LocalModel.of(manifest, directory)
        fetch(reference, store, quiet=quiet)
    return resolve(model, cache_dir=cache_dir, allow_download=False)


def refetch(model: str, *, cache_dir: Path | None = None, quiet: bool = False) -> LocalModel:
    """Fetch a model although it is installed; the new files replace the old once verified.

    A Hugging Face id without a revision moves to the newest commit. Raises as ``resolve`` does.
    """
    reference = parse_reference(model)
    if isinstance(reference, Path):
        raise ModelInvalid(f"{reference} is a local directory, so there is nothing to fetch")
    store = ModelStore.at(cache_dir)
    store.require_free(reference.folder)
    with store.locked(reference.folder):
        fetch(reference, store, quiet=quiet)
    return resolve(model, cache_dir=cache_dir, allow_download=False)


def verify(model: str, *, cache_dir: Path | None = None) -> LocalModel:
    """Read every byte of an installed model and compare it with its manifest.

    Raises ``ChecksumMismatch`` and what ``recorded`` raises.
    """
    local, manifest = recorded(model, cache_dir=cache_dir)
    manifest.check_hashes(local.path)
    return local


def recorded(model: str, *, cache_dir: Path | None = None) -> tuple[LocalModel, Manifest]:
    """An installed model and its manifest, without network.

    Raises ``Offline`` if it is not installed, ``ModelInvalid`` if it has no manifest.
    """
    local = resolve(model, cache_dir=cache_dir, allow_download=False)
    manifest = Manifest.read(local.path)
    if manifest is None:
        raise ModelInvalid(
            f"{local.path} has no manifest, so its files cannot be verified; only fetched and "
            "unbundled models have one"
        )
    return local, manifest


def _sound_manifest(directory: Path) -> Manifest | None:
    """The manifest, if there is one and the files have its sizes; raises ``ModelInvalid``."""
    manifest = Manifest.read(directory)
    if manifest:
        manifest.check_sizes(directory)
    return manifest


def _in_directory(directory: Path) -> LocalModel:
    """The model in a directory that the operator named; it needs no manifest."""
    if not directory.is_dir():
        raise ModelNotFound(f"{directory} is not a directory")
    if manifest := _sound_manifest(directory):
        return LocalModel.of(manifest, directory)
    require_files((n for n in MODEL_FILES if (directory / n).is_file()), str(directory))
    return LocalModel(directory.name, directory, is_multilingual(directory))


def _adopt(reference: ModelReference, directory: Path) -> LocalModel:
    """Record a model that somebody copied into the store, after reading all of it once.

    Raises ``ModelInvalid`` if files are missing, ``ChecksumMismatch`` if no source has these files.
    """
    advice = "move it elsewhere and name it by its path, or remove it and fetch again"
    try:
        files = record_files(directory)
    except ModelInvalid as error:
        raise ModelInvalid(f"{error.message}; {advice}") from error
    source = reference.source_of(files)
    if source is None or reference.entry is None:
        raise ChecksumMismatch(
            f"{directory} has no manifest and its files are not the known ones of "
            f"{reference.name}; {advice}"
        )
    manifest = Manifest(
        name=reference.name,
        source=source.origin,
        revision=source.revision,
        licence=reference.entry.licence,
        multilingual=reference.entry.multilingual,
        files=files,
    )
    with suppress(OSError):  # in a read-only store it is read again at every start
        manifest.write(directory)
    return LocalModel.of(manifest, directory)

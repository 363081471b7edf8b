"""A model's name in, its directory on this machine out."""

import sys
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from models.catalogue import CATALOGUE
from models.download import Patience
from models.entry import CatalogueEntry
from models.errors import ChecksumMismatch, ModelError, ModelInvalid, ModelNotFound, Offline
from models.fetch import fetch
from models.inspection import is_multilingual
from models.manifest import MODEL_FILES, Manifest, record_files, require_files
from models.progress import ProgressMode
from models.reference import ModelReference, parse_reference
from models.store import ModelStore


@dataclass(frozen=True)
class LocalModel:
    """A model whose files are complete on this machine.

    ``multilingual`` False: it knows English alone and cannot translate. ``source`` says where the
    files came from; ``revision`` is the Hugging Face commit or None; ``licence`` None: unknown.
    """

    name: str
    path: Path
    multilingual: bool
    source: str
    revision: str | None
    licence: str | None

    @classmethod
    def of(cls, manifest: Manifest, path: Path) -> "LocalModel":
        """The model in ``path``, which ``manifest`` describes."""
        return cls(
            name=manifest.name,
            path=path,
            multilingual=manifest.multilingual,
            source=manifest.source,
            revision=manifest.revision,
            licence=manifest.licence,
        )


def resolve(
    model: str,
    *,
    cache_dir: Path | None = None,
    allow_download: bool = True,
    progress: ProgressMode = "auto",
    patience: Patience | None = None,
) -> LocalModel:
    """Find a model on this machine, or fetch it.

    ``model`` is a local directory, a catalogue name or alias, or a Hugging Face id
    ``org/repo[@revision]``. ``cache_dir`` defaults to ``$WHISPER_OX_MODELS_DIR``, else
    ``~/.cache/whisper-ox/models``. An installed model costs no network and a check of its files'
    sizes; ``verify`` reads them all. Safe to call from several processes at once.

    Raises ``ModelError``: ``ModelNotFound``, ``ModelInvalid``, ``Offline``, ``DownloadRefused``,
    ``DownloadInterrupted``, ``ChecksumMismatch``, ``DiskFull``.
    """
    reference = parse_reference(model)
    if isinstance(reference, Path):
        return _from_directory(reference)
    store = ModelStore.at(cache_dir)
    directory = store.directory(reference.folder)
    try:
        if manifest := _sound_manifest(directory):
            return LocalModel.of(manifest, directory)
    except ModelInvalid as broken:
        if not allow_download:
            raise
        print(f"{broken.message}; fetching {reference.name} again", file=sys.stderr)
    if not allow_download:
        if store.has_unrecorded(reference.folder):
            return _adopt(reference, directory)
        raise Offline(
            f"{reference.name} is not in {store.root} and downloads are not allowed; run "
            f"python -m models fetch {reference.name}, or unbundle it there"
        )
    with store.locked(reference.folder):
        # Another process may have installed it while this one waited.
        with suppress(ModelInvalid):
            if manifest := _sound_manifest(directory):
                return LocalModel.of(manifest, directory)
        if store.has_unrecorded(reference.folder):
            return _adopt(reference, directory)
        directory = fetch(reference, store, progress=progress, patience=patience)
    manifest = _sound_manifest(directory)
    if manifest is None:
        raise ModelInvalid(f"{directory} was removed while it was being installed")
    return LocalModel.of(manifest, directory)


def verify(model: str, *, cache_dir: Path | None = None) -> LocalModel:
    """Read every byte of an installed model and compare it with its record; no network.

    Raises ``ChecksumMismatch``, ``ModelInvalid``, and ``Offline`` if it is not installed.
    """
    local = resolve(model, cache_dir=cache_dir, allow_download=False)
    manifest = Manifest.read(local.path)
    if manifest is None:
        raise ModelInvalid(f"{local.path} has no manifest, so there is nothing to verify against")
    manifest.check_hashes(local.path)
    return local


def refetch(
    model: str,
    *,
    cache_dir: Path | None = None,
    progress: ProgressMode = "auto",
    patience: Patience | None = None,
) -> LocalModel:
    """Fetch a model although it is installed; the old files give way once the new are verified.

    An unpinned Hugging Face id moves to the newest commit. Raises as ``resolve`` does.
    """
    reference = parse_reference(model)
    if isinstance(reference, Path):
        raise ModelInvalid(f"{reference} is a local directory, there is nothing to fetch")
    store = ModelStore.at(cache_dir)
    store.require_free(reference.folder)
    with store.locked(reference.folder):
        fetch(reference, store, progress=progress, patience=patience)
    return resolve(model, cache_dir=cache_dir, allow_download=False)


def _sound_manifest(directory: Path) -> Manifest | None:
    """The manifest, if there is one and the files have its sizes; raises ``ModelInvalid``."""
    manifest = Manifest.read(directory)
    if manifest:
        manifest.check_sizes(directory)
    return manifest


def _from_directory(directory: Path) -> LocalModel:
    """A directory that the operator named. Without a manifest its files are taken as they are."""
    if not directory.is_dir():
        raise ModelNotFound(f"{directory} is not a directory")
    if manifest := _sound_manifest(directory):
        return LocalModel.of(manifest, directory)
    sizes = {n: (directory / n).stat().st_size for n in MODEL_FILES if (directory / n).is_file()}
    require_files(sizes, str(directory))
    entry = _entry_with_sizes(sizes)
    return LocalModel(
        name=directory.name,
        path=directory,
        multilingual=entry.multilingual if entry else is_multilingual(directory),
        source="local directory",
        revision=None,
        licence=entry.licence if entry else None,
    )


def _entry_with_sizes(sizes: dict[str, int]) -> CatalogueEntry | None:
    """The catalogue model that has files of these sizes: enough to tell a distillation for
    English from a multilingual model without reading gigabytes.
    """
    for entry in CATALOGUE.values():
        for source in entry.sources:
            if sizes == {file.name: file.size_bytes for file in source.files}:
                return entry
    return None


def _adopt(reference: ModelReference, directory: Path) -> LocalModel:
    """Record a model that was copied into the store by hand, after one look at all its bytes.

    Raises ``ModelInvalid`` if files are missing, ``ChecksumMismatch`` if no source has these.
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
    with suppress(OSError, ModelError):  # a read-only store is hashed at every start
        manifest.write(directory)
    return LocalModel.of(manifest, directory)

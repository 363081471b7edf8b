"""The table that ``python -m models list`` prints."""

from collections.abc import Sequence
from pathlib import Path

from models.catalogue import ALIASES, CATALOGUE
from models.entry import COMPUTE_TYPES, HuggingFaceSource, Source
from models.failures import ModelError
from models.manifest import Manifest
from models.store import ModelStore

_HEADINGS = (
    "name", "languages", "licence", "disk MB", *(f"{t} MB" for t in COMPUTE_TYPES),
    "cached", "sources",
)  # fmt: skip
_MEGABYTE = 1e6


def table(store: ModelStore) -> str:
    """The catalogue, then installed models from elsewhere, as aligned text.

    The columns named after a compute type give the memory of the loaded weights.
    """
    rows = [
        (
            entry.name,
            "many" if entry.multilingual else "English",
            entry.licence,
            f"{entry.disk_bytes / _MEGABYTE:.0f}",
            *(f"{entry.memory_bytes(t) / _MEGABYTE:.0f}" for t in COMPUTE_TYPES),
            _state(entry.name, store),
            ", ".join(_short(source) for source in entry.sources),
        )
        for entry in CATALOGUE.values()
    ]
    rows += [
        _unlisted(directory) for directory in store.installed() if directory.name not in CATALOGUE
    ]
    aliases = ", ".join(f"{alias} = {name}" for alias, name in ALIASES.items())
    return f"{_aligned([_HEADINGS, *rows])}\n\nAliases: {aliases}\nModels directory: {store.root}"


def _unlisted(directory: Path) -> tuple[str, ...]:
    """The row of an installed model that the catalogue does not know."""
    blanks = [""] * len(COMPUTE_TYPES)
    try:
        manifest = Manifest.read(directory)
    except ModelError:
        manifest = None
    if manifest is None:
        return (directory.name, "?", "?", "?", *blanks, "broken", "?")
    return (
        manifest.name,
        "many" if manifest.multilingual else "English",
        manifest.licence or "?",
        f"{manifest.size_bytes / _MEGABYTE:.0f}",
        *blanks,
        _state(directory.name, ModelStore(directory.parent)),
        f"{manifest.source} @ {(manifest.revision or '')[:10]}",
    )


def _state(folder: str, store: ModelStore) -> str:
    """Whether a model is installed, judged by file sizes: a list must not read gigabytes."""
    if store.has_unrecorded(folder):
        return "by hand"
    directory = store.directory(folder)
    try:
        manifest = Manifest.read(directory)
        if manifest is None:
            return "no"
        manifest.check_sizes(directory)
    except ModelError:
        return "broken"
    return "yes"


def _short(source: Source) -> str:
    return f"hf {source.repo}" if isinstance(source, HuggingFaceSource) else "package registry"


def _aligned(rows: Sequence[Sequence[str]]) -> str:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = ("  ".join(cell.ljust(w) for cell, w in zip(row, widths, strict=True)) for row in rows)
    return "\n".join(line.rstrip() for line in lines)

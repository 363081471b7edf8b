"""The table that ``python -m models list`` prints."""

from collections.abc import Sequence

from models.catalogue import ALIASES, CATALOGUE
from models.entry import COMPUTE_TYPES, HuggingFaceSource, Source
from models.errors import ModelError
from models.local import resolve
from models.reference import parse_name
from models.store import ModelStore

_HEADINGS = (
    "name", "languages", "licence", "disk MB", *(f"{t} MB" for t in COMPUTE_TYPES),
    "cached", "sources",
)  # fmt: skip
_MEGABYTE = 1e6


def table(store: ModelStore) -> str:
    """The catalogue, then installed models from elsewhere, as aligned text.

    The columns named by a compute type are the loaded weights' memory; see ``docs/models.md``.
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
        (
            manifest.name,
            "many" if manifest.multilingual else "English",
            manifest.licence or "?",
            f"{sum(file.size_bytes for file in manifest.files) / _MEGABYTE:.0f}",
            *("" for _ in COMPUTE_TYPES),
            _state(manifest.name, store),
            f"{manifest.source} @ {(manifest.revision or '')[:10]}",
        )
        for _, manifest in store.installed()
        if manifest.name not in CATALOGUE
    ]
    aliases = ", ".join(f"{alias} = {name}" for alias, name in ALIASES.items())
    return f"{_aligned([_HEADINGS, *rows])}\n\nAliases: {aliases}\nModels directory: {store.root}"


def _state(name: str, store: ModelStore) -> str:
    """By sizes, like ``resolve``: listing must not read gigabytes."""
    if store.has_unrecorded(parse_name(name).folder):
        return "by hand"
    try:
        resolve(name, cache_dir=store.root, allow_download=False)
    except ModelError as error:
        return "no" if error.code == "offline" else "broken"
    return "yes"


def _short(source: Source) -> str:
    return f"hf {source.repo}" if isinstance(source, HuggingFaceSource) else "package registry"


def _aligned(rows: Sequence[Sequence[str]]) -> str:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = ("  ".join(cell.ljust(w) for cell, w in zip(row, widths, strict=True)) for row in rows)
    return "\n".join(line.rstrip() for line in lines)

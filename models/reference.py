"""What a model string means: a directory, a catalogue name, or a Hugging Face id."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from models.catalogue import ALIASES, CATALOGUE, entry_for, entry_with_repo
from models.entry import CatalogueEntry, HuggingFaceSource, ModelFile, Source

_HUB_ID = re.compile(
    r"(?P<repo>[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*)(?:@(?P<revision>[A-Za-z0-9][\w./-]*))?",
    re.ASCII,
)


@dataclass(frozen=True)
class ModelReference:
    """A model that can be fetched. ``entry`` is None for a repository not in the catalogue."""

    name: str
    sources: tuple[Source, ...]
    entry: CatalogueEntry | None

    @property
    def folder(self) -> str:
        """The model's folder in the store."""
        return self.name.replace("/", "--")

    def source_of(self, files: Iterable[ModelFile]) -> Source | None:
        """The pinned source that delivers exactly these files, if one does."""
        found = {file.name: file for file in files}
        for source in self.sources:
            pins = {file.name: file for file in source.files}
            if not pins or found.keys() != pins.keys():
                continue
            if all(pin.admits(found[name]) for name, pin in pins.items()):
                return source
        return None


def parse_reference(model: str) -> Path | ModelReference:
    """Read a model string; an existing directory or anything that starts as a path is a ``Path``.

    A catalogue name wins over a directory of that name (write ``./base`` for that one).
    Raises ``ModelNotFound``.
    """
    if ALIASES.get(model, model) in CATALOGUE:
        return parse_name(model)
    path = Path(model).expanduser()
    if (
        model.startswith(("/", "./", "../", "~"))
        or model in {".", ".."}
        or (model and path.is_dir())
    ):
        return path.absolute()
    return parse_name(model)


def parse_name(name: str) -> ModelReference:
    """Read a name that is not a path: a catalogue name, an alias or a Hugging Face id.

    Raises ``ModelNotFound``.
    """
    match = _HUB_ID.fullmatch(name)
    if match and ".." not in name:
        return _hub_reference(match["repo"], match["revision"])
    entry = entry_for(name)
    return ModelReference(entry.name, entry.sources, entry)


def _hub_reference(repo: str, revision: str | None) -> ModelReference:
    name = f"{repo}@{revision}" if revision else repo
    known = entry_with_repo(repo)
    if known and revision in {None, known[1].revision}:
        return ModelReference(name, (known[1],), known[0])
    return ModelReference(name, (HuggingFaceSource(repo, revision),), None)

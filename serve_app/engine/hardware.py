"""What this process may use: CPUs by affinity and cgroup quota, memory, GPUs as CTranslate2 sees
them.
"""

import math
import os
from pathlib import Path

import ctranslate2
import psutil

from serve_app.errors import NotReady


def available_cpus(cgroup_root: Path = Path("/sys/fs/cgroup")) -> int:
    """CPUs that this process may keep busy: its affinity mask, limited by the cgroup's quota."""
    affinity = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    quota = _cgroup_quota(cgroup_root)
    return max(1, min(affinity or 1, math.floor(quota) if quota else affinity or 1))


def _cgroup_quota(root: Path) -> float | None:
    """CPUs granted by cgroup v2 ``cpu.max`` or v1 ``cpu.cfs_quota_us``; None if unlimited.

    Formats: kernel documentation, admin-guide/cgroup-v2 (cpu.max) and scheduler/sched-bwc.
    """
    try:
        quota, period = (root / "cpu.max").read_text().split()
        return None if quota == "max" else int(quota) / int(period)
    except (OSError, ValueError, ZeroDivisionError):
        pass
    try:
        micros = int((root / "cpu" / "cpu.cfs_quota_us").read_text())
        period_micros = int((root / "cpu" / "cpu.cfs_period_us").read_text())
        return micros / period_micros if micros > 0 else None
    except (OSError, ValueError, ZeroDivisionError):
        return None


def available_memory(cgroup_root: Path = Path("/sys/fs/cgroup")) -> int:
    """Bytes that this process and those beside it may take: the machine's, cut by the cgroup.

    Formats: kernel documentation, admin-guide/cgroup-v2 (memory.max) and cgroup-v1/memory.
    """
    machine: int = psutil.virtual_memory().total
    for limit in (cgroup_root / "memory.max", cgroup_root / "memory" / "memory.limit_in_bytes"):
        try:
            return min(machine, int(limit.read_text()))
        except (OSError, ValueError):  # there is no such file, or it says "max"
            continue
    return machine


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

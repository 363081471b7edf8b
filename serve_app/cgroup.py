"""Limits of the container or service that this process runs in: Linux control groups, v2 and v1.

Formats: kernel documentation, admin-guide/cgroup-v2 and cgroup-v1, scheduler/sched-bwc.
"""

from collections.abc import Iterator
from pathlib import Path

ROOT = Path("/sys/fs/cgroup")
OWN_GROUPS = Path("/proc/self/cgroup")


def cpu_quota(root: Path = ROOT) -> float | None:
    """CPUs that this process may keep busy; None without a limit."""
    quotas = []
    for group in _groups("cpu", root):
        quota, _, period = _text(group / "cpu.max").partition(" ")
        quota = quota or _text(group / "cpu.cfs_quota_us")
        period = period or _text(group / "cpu.cfs_period_us")
        if quota.isdecimal() and period.isdecimal() and int(period):
            quotas.append(int(quota) / int(period))
    return min(quotas, default=None)


def memory_bytes(root: Path = ROOT) -> int | None:
    """Memory that this process and those beside it may use; None without a limit."""
    return _least("memory", ("memory.max", "memory.limit_in_bytes"), root)


def max_processes(root: Path = ROOT) -> int | None:
    """Processes and threads that may exist at once; None without a limit."""
    return _least("pids", ("pids.max",), root)


def _least(controller: str, names: tuple[str, ...], root: Path) -> int | None:
    texts = [_text(group / name) for group in _groups(controller, root) for name in names]
    return min((int(text) for text in texts if text.isdecimal()), default=None)


def _groups(controller: str, root: Path) -> Iterator[Path]:
    """The group of this process and all above it, whose limits hold as well.

    A container often sees its own group as the root, but its path from outside.
    """
    yield from (root, root / controller)
    for line in _text(OWN_GROUPS).splitlines():
        _, controllers, path = line.split(":", 2)
        if not controllers or controller in controllers.split(","):
            base = root / controller if controllers else root
            group = base / path.strip("/")
            yield from (one for one in (group, *group.parents) if base in one.parents)


def _text(file: Path) -> str:
    try:
        return file.read_text(encoding="ascii").strip()
    except (OSError, ValueError):
        return ""

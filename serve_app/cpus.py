"""How many CPUs this process may keep busy."""

import math
import os
from pathlib import Path

from serve_app import cgroup


def available_cpus(cgroup_root: Path = cgroup.ROOT) -> int:
    """CPUs that this process may keep busy: its affinity mask, limited by the cgroup's quota."""
    affinity = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    quota = cgroup.cpu_quota(cgroup_root)
    return max(1, min(affinity or 1, math.floor(quota) if quota else affinity or 1))

"""Where Ray keeps audio on its way from process to process: shared memory, never a disk.

Ray's object store is a file in /dev/shm. When it is full, Ray would by default spill objects into
files below /tmp/ray, and put what does not fit into files there as well. Both go here instead.
"""

import os
import resource
import shutil
from pathlib import Path

from serve_app.errors import NotReady

SHARED_MEMORY = Path("/dev/shm")

ENVIRONMENT = {
    "RAY_automatic_object_spilling_enabled": "0",
    "RAY_object_spilling_directory": str(SHARED_MEMORY),
}
"""Of every process of a Ray cluster, from before its start (ray 2.60: _private/node.py).

With spilling off, an object that the store has no room for gets a file of its own in that directory
and, where that is full too, is refused.
"""


def keep_audio_off_disk() -> None:
    """For this process and those it starts; before Ray is imported.

    Nor does a crash leave a core file.
    """
    for name, value in ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    _, hard = resource.getrlimit(resource.RLIMIT_CORE)
    resource.setrlimit(resource.RLIMIT_CORE, (0, hard))


def require_shared_memory(n_bytes: int, directory: Path = SHARED_MEMORY) -> None:
    """Raise ``NotReady`` where the object store would not fit: Ray would put it on a disk."""
    if not directory.is_dir():
        return  # not Linux; docs/operations.md says what that means
    free = shutil.disk_usage(directory).free
    if free < n_bytes:
        raise NotReady(
            f"{directory} has {free >> 20} MiB free, {n_bytes >> 20} MiB are needed to hand audio "
            "from process to process. A container gets more with docker run --shm-size=1g, a pod "
            "with an emptyDir of medium Memory."
        )

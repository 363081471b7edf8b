"""The processes of a local server's private Ray, below the process that started it."""

import ctypes
import sys
from contextlib import suppress

import psutil

PILLARS = ("gcs_server", "raylet")
"""Ray's processes that nothing replaces. Without the first, this process would be aborted a minute
later, in the middle of whatever it does."""

EXIT_SECONDS = 3.0
"""Seconds in which processes should end by themselves."""

_SET_CHILD_SUBREAPER = 36
"""``PR_SET_CHILD_SUBREAPER`` of prctl(2)."""


class RayProcesses:
    """Whether Ray still runs, and an end to all that it has started."""

    def __init__(self) -> None:
        """Adopt orphans from now on, where the kernel is Linux.

        HAProxy would otherwise become a child of process 1 when the process that started it dies,
        and keep the server's port.
        """
        if sys.platform == "linux":
            ctypes.CDLL(None).prctl(_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
        self._pillars: dict[str, psutil.Process] = {}

    def watch(self) -> None:
        """Remember the processes that Ray has just started."""
        for process in psutil.Process().children():
            with suppress(psutil.NoSuchProcess):
                if process.name() in PILLARS:
                    self._pillars[process.name()] = process

    def lost(self) -> str | None:
        """The name of a process without which Ray cannot go on, if one has ended."""
        for name, process in self._pillars.items():
            try:
                if process.status() == psutil.STATUS_ZOMBIE:
                    return name
            except psutil.NoSuchProcess:
                return name
        return None

    def family(self) -> list[psutil.Process]:
        """Every process below this one."""
        return psutil.Process().children(recursive=True)


def end(processes: list[psutil.Process], *, within_seconds: float) -> None:
    """Kill what has not ended by itself after ``within_seconds``."""
    _, left = psutil.wait_procs(processes, timeout=within_seconds)
    for process in left:
        with suppress(psutil.NoSuchProcess):
            process.kill()
    psutil.wait_procs(left, timeout=EXIT_SECONDS)

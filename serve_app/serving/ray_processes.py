"""The processes of a local server's private Ray, below the process that started it."""

import ctypes
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import psutil

PILLARS = ("gcs_server", "raylet")
"""Ray's processes that nothing replaces. Without the first, this process would be aborted a minute
later, in the middle of whatever it does."""

KILL_ROUNDS, KILL_SECONDS = 5, 3.0
"""How often all processes are killed, because one of them may just have started another, and how
long each round waits for their end, in seconds."""

_SET_CHILD_SUBREAPER = 36
"""``PR_SET_CHILD_SUBREAPER`` of prctl(2)."""


class RayProcesses:
    """Watches Ray's processes, and ends everything that they have started."""

    def __init__(self) -> None:
        """Adopt orphans from now on, where the kernel is Linux.

        If the raylet is killed, HAProxy would otherwise become a child of process 1 and keep the
        server's port.
        """
        self._adopts = sys.platform == "linux"
        if self._adopts:
            ctypes.CDLL(None).prctl(_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
        self._started: dict[int, psutil.Process] = {}
        self._pillars: dict[str, psutil.Process] = {}

    def watch(self) -> None:
        """Remember the processes that Ray has just started."""
        for process in psutil.Process().children():
            with suppress(psutil.NoSuchProcess):
                self._started[process.pid] = process
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

    def reap(self) -> None:
        """Let orphans that have ended disappear. Ray's client waits for its own children."""
        if not self._adopts:
            return
        look = os.WEXITED | os.WNOHANG | os.WNOWAIT
        with suppress(ChildProcessError):  # there are no children
            while (ended := os.waitid(os.P_ALL, 0, look)) and ended.si_pid not in self._started:
                os.waitpid(ended.si_pid, 0)

    def kill(self) -> None:
        """Kill everything below this process. What Ray's client says about it is not shown."""
        with _silent():
            for _ in range(KILL_ROUNDS):
                family = psutil.Process().children(recursive=True)
                if not family:
                    return
                for process in family:
                    with suppress(psutil.NoSuchProcess):
                        process.kill()
                psutil.wait_procs(family, timeout=KILL_SECONDS)


@contextmanager
def _silent() -> Iterator[None]:
    """A block in which nothing reaches stderr, not even from C++."""
    stderr = os.dup(2)
    with open(os.devnull, "wb") as nowhere:
        os.dup2(nowhere.fileno(), 2)
    try:
        yield
    finally:
        os.dup2(stderr, 2)
        os.close(stderr)

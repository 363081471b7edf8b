"""The processes of a server under test. They share its session, even once orphaned."""

from contextlib import suppress
from pathlib import Path

import psutil

from loadtest.server import processes_of

RETRIED, READY = "once more", "workers) is ready"
"""In the server's log: a request that is tried again, a model replica that has loaded."""


def family(leader: int) -> list[psutil.Process]:
    """Live processes of the session that the process ``leader`` was started with."""
    members = []
    for _, process in processes_of(leader):
        with suppress(psutil.NoSuchProcess):
            if process.status() != psutil.STATUS_ZOMBIE:
                members.append(process)
    return members


def title(process: psutil.Process) -> str:
    """The command line, or what the process calls itself; empty once it has ended."""
    with suppress(psutil.NoSuchProcess):
        return " ".join(process.cmdline())
    return ""


def end(leader: int) -> None:
    """Kill what is left of a session."""
    for process in family(leader):
        with suppress(psutil.NoSuchProcess):
            process.kill()


def replica(leader: int, deployment: str) -> psutil.Process | None:
    """The replica of a deployment, by the title that Ray gives it; None while there is none."""
    for process in family(leader):
        if f"ServeReplica:whisper-ox:{deployment}" in title(process):
            return process
    return None


def cpu_seconds(process: psutil.Process) -> float:
    """CPU time that the process has used so far."""
    times = process.cpu_times()
    return float(times.user + times.system)


def page_faults(process: psutil.Process) -> int:
    """Pages that the kernel has given a process so far without a read from disk; Linux only.

    Field ``minflt`` of /proc/PID/stat (proc(5)).
    """
    after_name = Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2]
    return int(after_name.split()[7])

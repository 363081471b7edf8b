"""The processes of a server under test. They share its session, even once orphaned."""

import os
import signal
import socket
import subprocess
from contextlib import suppress
from pathlib import Path

import httpx
import psutil

from loadtest.server import Server, processes_of

RETRIED, READY = "once more", "workers) is ready"
"""Lines in the server's log: a request is tried again, a model replica has loaded."""

STOP_SECONDS = 20.0


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
    """Kill the rest of a session."""
    for process in family(leader):
        with suppress(psutil.NoSuchProcess):
            process.kill()


def signal_all(leader: int, number: int) -> None:
    """Signal every process of a session."""
    for process in family(leader):
        with suppress(psutil.NoSuchProcess):
            process.send_signal(number)


def ctrl_c(process: "subprocess.Popen[bytes]") -> None:
    """Signal every process of the foreground group, as a terminal does."""
    os.killpg(process.pid, signal.SIGINT)


def assert_gone(server: Server) -> None:
    """Fail unless the server ends by itself, without an error, a leftover process or a busy
    port.
    """
    assert server.process.wait(STOP_SECONDS) == 0
    assert family(server.process.pid) == []
    log = server.log.read_text()
    # Ray may still print what it knows of a process that a test has killed.
    assert "\nwhisper-ox: stopped\n" in log, log[-2000:]
    url = httpx.URL(server.url)
    with socket.socket() as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((url.host, url.port))


def replica(leader: int, deployment: str) -> psutil.Process | None:
    """The replica of a deployment, by the title that Ray gives it; None if there is none."""
    for process in family(leader):
        if f"ServeReplica:whisper-ox:{deployment}" in title(process):
            return process
    return None


def cpu_seconds(process: psutil.Process) -> float:
    """CPU seconds that the process has used so far."""
    times = process.cpu_times()
    return float(times.user + times.system)


def page_faults(process: psutil.Process) -> int:
    """Pages that the kernel has given a process so far without a read from disk; Linux only.

    Field ``minflt`` of /proc/PID/stat (proc(5)).
    """
    after_name = Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2]
    return int(after_name.split()[7])

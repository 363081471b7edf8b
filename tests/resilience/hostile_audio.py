"""What hostile audio costs a server, file by file.

``python -m tests.resilience.hostile_audio URL PID``, where PID is the process that decodes for URL,
prints a line of Markdown for each: the answer, seconds, processor seconds and memory of the process
and its workers, and how long ``/health`` took meanwhile (p50, p99).
"""

import http.client
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress

import httpx
import numpy as np
import psutil

from tests.unit.audio_files import written
from tests.unit.bombs import BOMBS

LEAVING_CLIENTS = 5
_ROW = "| {} | {:,} | {} | {:.1f} s | {:.1f} s | {:.0f} MiB | {:.0f} / {:.0f} ms |"


class Watch:
    """The peak memory and the processor time of a process and its descendants in the block."""

    def __init__(self, root: psutil.Process, health: str) -> None:
        self._root = root
        self._health = health
        self._ended = threading.Event()
        self._threads = [threading.Thread(target=run) for run in (self._look, self._poll)]
        self._before = self._mebibytes()
        self._cpu_before = self._cpu_seconds()
        self.peak_mib = 0.0
        self.cpu_seconds = 0.0
        self.waits: list[float] = []

    def __enter__(self) -> "Watch":
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._ended.set()
        for thread in self._threads:
            thread.join()
        self.cpu_seconds = self._cpu_seconds() - self._cpu_before

    def _look(self) -> None:
        while not self._ended.wait(0.02):
            self.peak_mib = max(self.peak_mib, self._mebibytes() - self._before)

    def _poll(self) -> None:
        with httpx.Client(timeout=60) as client:
            while not self.waits or not self._ended.wait(0.01):
                began = time.perf_counter()
                client.get(self._health)
                self.waits.append(1_000 * (time.perf_counter() - began))

    def _family(self) -> list[psutil.Process]:
        return [self._root, *self._root.children(recursive=True)]

    def _mebibytes(self) -> float:
        n_bytes = 0
        for process in self._family():
            with suppress(psutil.Error):
                n_bytes += process.memory_full_info().pss
        return n_bytes / 2**20

    def _cpu_seconds(self) -> float:
        seconds = 0.0
        for process in self._family():
            with suppress(psutil.Error):
                seconds += sum(process.cpu_times()[:4])  # with those of children that have ended
        return seconds


def send(url: str, payload: bytes) -> str:
    """Post a file and wait for the answer."""
    answer = httpx.post(f"{url}/transcribe", files={"file": payload}, timeout=300)
    return f"{answer.status_code} {answer.json().get('error', {}).get('code', '')}"


def rest(url: str, payload: bytes) -> str:
    """Send nothing."""
    time.sleep(5)
    return ""


def leave(url: str, payload: bytes) -> str:
    """Send a file several times and close each connection as soon as its last byte is out."""
    request = httpx.Request("POST", f"{url}/transcribe", files={"file": payload})
    body = request.read()
    for _ in range(LEAVING_CLIENTS):
        connection = http.client.HTTPConnection(request.url.host, request.url.port, timeout=60)
        connection.request("POST", "/transcribe", body, dict(request.headers))
        time.sleep(0.1)
        connection.close()
    time.sleep(5)
    return "closed"


def measure(name: str, url: str, pid: int, payload: bytes, do: Callable[[str, bytes], str]) -> None:
    """Print what one file cost."""
    began = time.perf_counter()
    with Watch(psutil.Process(pid), f"{url}/health") as watch:
        outcome = do(url, payload)
        seconds = time.perf_counter() - began
    p50, p99 = np.percentile(watch.waits, [50, 99])
    figures = (seconds, watch.cpu_seconds, watch.peak_mib, p50, p99)
    print(_ROW.format(name, len(payload), outcome, *figures), flush=True)


def main() -> None:
    """Measure every bomb, and an upload of 60 MB whose client leaves."""
    noise = np.random.default_rng(0).uniform(-1, 1, (30_000_000, 1))
    large = written(noise, 48_000, "PCM_16", "FLAC")
    url, pid = sys.argv[1], int(sys.argv[2])
    measure("nothing", url, pid, b"", rest)
    for name, make in BOMBS.items():
        measure(name, url, pid, make(), send)
    measure(f"{LEAVING_CLIENTS} clients that leave", url, pid, large, leave)


if __name__ == "__main__":
    main()

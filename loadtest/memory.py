"""Resident memory of a server's replicas over time."""

import threading
import time
from collections import defaultdict
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field

import numpy as np
import psutil

from loadtest.server import processes_of

REPLICA_TITLE = "ServeReplica:whisper-ox:"
"""How Ray titles a replica's process; the name of its deployment follows."""

PROXY_TITLES = {"ray::ProxyActor": "ProxyActor", "haproxy -": "HAProxy"}
"""What the command lines of Serve's two proxies contain, and their names here."""

MEBIBYTE = 2**20


@dataclass
class MemorySeries:
    """RSS of one deployment's replicas: ``seconds`` since the start, ``mebibytes``, their pids."""

    seconds: list[float] = field(default_factory=list)
    mebibytes: list[float] = field(default_factory=list)
    pids: set[int] = field(default_factory=set)


class MemoryWatch:
    """Samples the RSS of a server's replicas in a thread, while its context is open."""

    def __init__(self, leader: int, every_seconds: float, proxies: bool = False) -> None:
        """``leader`` is the process as which the server was started, with a session of its own.
        ``proxies``: also watch Serve's proxies.
        """
        self._leader = leader
        self._every_seconds = every_seconds
        self._titles = PROXY_TITLES if proxies else {}
        self._series: dict[str, MemorySeries] = {}
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> "MemoryWatch":
        self._thread.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._ended.set()
        self._thread.join()

    def series(self) -> dict[str, MemorySeries]:
        """The samples so far, by deployment."""
        return dict(self._series)

    def _watch(self) -> None:
        began = time.perf_counter()
        while not self._ended.is_set():
            found: dict[str, list[psutil.Process]] = defaultdict(list)
            for title, process in processes_of(self._leader):
                if name := self._name(title):
                    found[name].append(process)
            for name, replicas in found.items():
                with suppress(psutil.Error):
                    rss = sum(replica.memory_info().rss for replica in replicas)
                    series = self._series.setdefault(name, MemorySeries())
                    series.seconds.append(time.perf_counter() - began)
                    series.mebibytes.append(rss / MEBIBYTE)
                    series.pids.update(replica.pid for replica in replicas)
            self._ended.wait(self._every_seconds)

    def _name(self, command: str) -> str:
        """The deployment or proxy that a process of this command line is; "" for any other."""
        _, is_replica, name = command.partition(REPLICA_TITLE)
        if is_replica:
            return name.split(".")[0].strip()
        return next((name for title, name in self._titles.items() if title in command), "")


def slope_per_hour(seconds: Sequence[float], values: Sequence[float]) -> float | None:
    """:func:`later_slope` over time, in units of ``values`` per hour."""
    slope = later_slope(seconds, values)
    return None if slope is None else slope * 3600


def later_slope(positions: Sequence[float], values: Sequence[float]) -> float | None:
    """Least-squares slope of ``values`` over the second half of ascending ``positions``.

    None for fewer than three samples there.
    """
    places, samples = np.asarray(positions, dtype=float), np.asarray(values, dtype=float)
    if len(places) == 0:
        return None
    later = places >= (places[0] + places[-1]) / 2
    if later.sum() < 3:
        return None
    slope, _ = np.polyfit(places[later], samples[later], 1)
    return float(slope)

"""Who used the machine's cores during a measurement."""

import time
from dataclasses import dataclass

import psutil

from loadtest.capacity.calibrate import cpu_seconds
from loadtest.server import Server


@dataclass(frozen=True)
class CoreUse:
    """Cores on average over ``watched_seconds``: the server's, and those of neither server nor
    sender; ``stolen`` by the host.
    """

    watched_seconds: float
    server: float
    others: float
    stolen: float

    def work_seconds(self, idle_cores: float) -> float:
        """Core seconds of the server beyond what it takes while nobody asks it anything."""
        return (self.server - idle_cores) * self.watched_seconds


class CoreWatch:
    """Notes what the machine's cores do from here on."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self._began = time.perf_counter()
        self._busy, self._stolen = _machine_seconds()
        self._before = self._used()

    def seen(self, sender_seconds: float = 0.0) -> CoreUse:
        """Use so far. The sender has used so many CPU seconds besides this process."""
        watched = time.perf_counter() - self._began
        busy, stolen = _machine_seconds()
        server, own = (now - then for now, then in zip(self._used(), self._before, strict=True))
        others = busy - self._busy - server - own - sender_seconds
        return CoreUse(
            watched, server / watched, others / watched, (stolen - self._stolen) / watched
        )

    def _used(self) -> tuple[float, float]:
        """CPU seconds so far of the server and of this process."""
        own = psutil.Process().cpu_times()
        return sum(cpu_seconds(self._server).values()), own.user + own.system


def _machine_seconds() -> tuple[float, float]:
    times = psutil.cpu_times()
    stolen = float(getattr(times, "steal", 0.0))
    waiting = times.idle + float(getattr(times, "iowait", 0.0))
    return sum(times) - waiting - stolen - float(getattr(times, "guest", 0.0)), stolen

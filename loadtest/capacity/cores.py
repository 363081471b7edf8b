"""Cores that jobs share, in virtual time: how far each job is and which ends next."""

from collections.abc import Hashable
from dataclasses import dataclass


@dataclass
class _Job:
    left: float
    threads: int


class Cores:
    """``cores`` of which ``idle_use`` are always taken, shared evenly by the threads that run.

    A job's seconds hold while no core is shared.
    """

    def __init__(self, cores: int, idle_use: float = 0.0) -> None:
        self._free = max(0.05, cores - idle_use)
        self._jobs: dict[Hashable, _Job] = {}
        self._now = 0.0

    def add(self, name: Hashable, seconds: float, now: float, threads: int = 1) -> None:
        """Begin a job."""
        self._advance(now)
        self._jobs[name] = _Job(seconds, threads)

    def ended(self, now: float) -> list[Hashable]:
        """Jobs that are done by ``now``, first come first; they are forgotten."""
        self._advance(now)
        done = [name for name, job in self._jobs.items() if job.left <= 1e-9]
        for name in done:
            del self._jobs[name]
        return done

    def next_end(self, now: float) -> float | None:
        """When the next job ends if no other starts; None if there is none."""
        self._advance(now)
        if not self._jobs:
            return None
        return now + min(job.left for job in self._jobs.values()) / self._speed()

    def _speed(self) -> float:
        """The speed of each thread."""
        return min(1.0, self._free / sum(job.threads for job in self._jobs.values()))

    def _advance(self, now: float) -> None:
        passed, self._now = now - self._now, now
        if passed > 0 and self._jobs:
            done = passed * self._speed()
            for job in self._jobs.values():
                job.left = max(0.0, job.left - done)

"""Attempts and their outcomes: counted, the slow ones remembered, the failed ones kept."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from loadtest.memory import later_slope

MOST_FAILURES = 50
"""A run that is so wrong is not worth going on with."""

_SLOWEST_KEPT = 3


@dataclass(frozen=True)
class Attempt:
    """What became of one input, after ``seconds``.

    ``failure`` says why the outcome is none that may be; "" for one that may.
    """

    number: int
    outcome: str
    seconds: float = 0.0
    failure: str = ""
    rss_mib: float | None = None


@dataclass
class Tally:
    """Outcomes by name. Failed inputs are written to ``folder``, where there is one."""

    name: str
    seed: int
    folder: Path | None = None
    outcomes: Counter[str] = field(default_factory=Counter)
    failures: list[Attempt] = field(default_factory=list)
    slowest: list[Attempt] = field(default_factory=list)

    def note(self, attempt: Attempt, payload: bytes | None = None) -> None:
        """Count ``attempt``; ``payload`` is its input, needed where it failed."""
        self.outcomes[attempt.outcome] += 1
        ranked = sorted([*self.slowest, attempt], key=lambda one: -one.seconds)
        self.slowest = ranked[:_SLOWEST_KEPT]
        if attempt.failure:
            self.failures.append(attempt)
            if self.folder is not None and payload is not None:
                self.folder.mkdir(parents=True, exist_ok=True)
                path = self.folder / f"{self.name}-{self.seed}-{attempt.number}.bin"
                path.write_bytes(payload)

    @property
    def has_too_many_failures(self) -> bool:
        """Whether to end the run."""
        return len(self.failures) >= MOST_FAILURES

    def report(self) -> dict[str, Any]:
        """The counts as JSON. ``refused``: answered with a 4xx or its error in process."""
        refused = sum(n for outcome, n in self.outcomes.items() if outcome[:1] == "4")
        return {
            "inputs": self.outcomes.total(),
            "refused": refused,
            "failed": len(self.failures),
            "outcomes": dict(self.outcomes.most_common()),
            "slowest": [
                {"input": one.number, "outcome": one.outcome, "seconds": round(one.seconds, 3)}
                for one in self.slowest
            ],
            "failures": [
                {"input": one.number, "outcome": one.outcome, "reason": one.failure}
                for one in self.failures
            ],
        }


def memory_report(positions: Sequence[float], mebibytes: Sequence[float]) -> dict[str, Any]:
    """RSS in MiB: first, last, peak, and what the second half added by its least-squares slope."""
    slope = later_slope(positions, mebibytes)
    if slope is None:
        return {}
    return {
        "first_mib": round(mebibytes[0], 1),
        "last_mib": round(mebibytes[-1], 1),
        "peak_mib": round(max(mebibytes), 1),
        "second_half_growth_mib": round(slope * (positions[-1] - positions[0]) / 2, 2),
    }

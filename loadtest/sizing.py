"""The sizing table that customers buy hardware by, and whether a load run kept a row's promise.

``users`` (None: not promised) and ``rtfx`` (audio seconds transcribed per second) are the promised
ranges. A run is held to the least RTFx of its row: the highest is reached with the most users only.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from serve_app.errors import WhisperOxError


@dataclass(frozen=True)
class SizingRow:
    """One row: a profile of ``configs/`` by name, on ``hardware``."""

    profile: str
    hardware: str
    users: tuple[int, int] | None
    rtfx: tuple[float, float]


ROWS = (
    SizingRow("dev", "a laptop or workstation, held to the CPU row", None, (1.0, 3.0)),
    SizingRow("cpu", "8 or more cores, 16 GB, no GPU", None, (1.0, 3.0)),
    SizingRow("gpu-t4", "one NVIDIA T4", (1, 10), (5.0, 10.0)),
    SizingRow("gpu-a10g", "one NVIDIA A10G", (10, 50), (15.0, 20.0)),
    SizingRow("gpu-a10g-multi", "two to four NVIDIA A10G", (50, 200), (40.0, 80.0)),
)


def row_of(profile: str) -> SizingRow:
    """The row of a profile. Raises ``WhisperOxError`` with the names where there is none."""
    for row in ROWS:
        if row.profile == profile:
            return row
    known = ", ".join(row.profile for row in ROWS)
    raise WhisperOxError(f"there is no sizing row for the profile {profile!r}; there are {known}")


@dataclass(frozen=True)
class Check:
    """One thing that a run had to keep."""

    name: str
    passed: bool
    found: str


def verdict(
    row: SizingRow, figures: Mapping[str, Any], p95_limit: float, least_transcripts: int = 1
) -> list[Check]:
    """What ``figures`` (of :func:`loadtest.load_figures.figures`) say of ``row``.

    Nobody may meet an error or be turned away, the p95 latency of dictation must stay within
    ``p95_limit`` seconds, and the RTFx while there was something to do must reach the row's least.
    """
    p95 = figures["latency_seconds"].get("p95")
    rtfx = figures["busy_rtfx"]
    return [
        Check(
            f"at least {least_transcripts} transcripts",
            figures["transcripts"] >= least_transcripts,
            str(figures["transcripts"]),
        ),
        Check("no errors", figures["errors"] == 0, f"{figures['errors']} errors"),
        Check("nobody turned away", figures["refused"] == 0, f"{figures['refused']} refused"),
        Check(
            f"p95 latency up to {p95_limit:g} s",
            p95 is not None and p95 <= p95_limit,
            "no latency" if p95 is None else f"{p95:.2f} s",
        ),
        Check(
            f"at least {row.rtfx[0]:g} times real time ({row.hardware})",
            rtfx >= row.rtfx[0],
            f"{rtfx:.1f} times, {rtfx / row.rtfx[0]:.1f} of the promise",
        ),
    ]


def passed(checks: Sequence[Check]) -> bool:
    """Whether all of it was kept."""
    return all(check.passed for check in checks)

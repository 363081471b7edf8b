"""The sizing table by which customers buy hardware, and whether a load run kept a row's promise."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from serve_app.errors import WhisperOxError


@dataclass(frozen=True)
class SizingRow:
    """What a profile of ``configs/`` promises on ``hardware``.

    ``users`` (None: nothing is promised) and ``rtfx`` (audio seconds transcribed per second) are
    ranges. A run must reach the lowest RTFx, because only the most users reach the highest.
    """

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
    """The row of a profile. Raises ``WhisperOxError`` with the known names if there is none."""
    for row in ROWS:
        if row.profile == profile:
            return row
    known = ", ".join(row.profile for row in ROWS)
    raise WhisperOxError(f"there is no sizing row for the profile {profile!r}; there are {known}")


@dataclass(frozen=True)
class Check:
    """One condition that a run had to meet."""

    name: str
    passed: bool
    found: str


def verdict(row: SizingRow, figures: Mapping[str, Any], p95_limit: float) -> list[Check]:
    """Compare ``figures`` (of :func:`loadtest.load_figures.figures`) with ``row``.

    There must be no errors and no refusals. The p95 latency of dictation must stay within
    ``p95_limit`` seconds. The RTFx while there was something to do must reach the row's lowest.
    """
    p95 = figures["latency_seconds"].get("p95")
    transcripts, errors, refused = (figures[k] for k in ("transcripts", "errors", "refused"))
    rtfx, least = figures["busy_rtfx"], row.rtfx[0]
    return [
        Check("at least one transcript", transcripts > 0, str(transcripts)),
        Check("no errors", errors == 0, f"{errors} errors"),
        Check("nobody turned away", refused == 0, f"{refused} refused"),
        Check(
            f"p95 latency up to {p95_limit:g} s",
            p95 is not None and p95 <= p95_limit,
            "no latency" if p95 is None else f"{p95:.2f} s",
        ),
        Check(
            f"at least {least:g} times real time ({row.hardware})",
            rtfx >= least,
            f"{rtfx:.1f} times, {rtfx / least:.1f} of the promise",
        ),
    ]

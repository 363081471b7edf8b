"""What the clients of a server saw while processes of it were killed."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from statistics import median
from typing import Any

from loadtest.load import Outcome

RECOVERIES = ("first_transcript_seconds", "ready_seconds", "replaced_seconds")
"""What a recovery is measured by; :mod:`loadtest.kill` says how."""


@dataclass(frozen=True)
class Kill:
    """One SIGKILL ``at`` a time of ``time.perf_counter``, and the seconds until what it took was
    back; ``replaced_seconds`` is None for processes other than model replicas.
    """

    at: float
    ready_seconds: float
    replaced_seconds: float | None


def first_transcript_seconds(kill: Kill, outcomes: Sequence[Outcome]) -> float | None:
    """From the kill to the first transcript of a request sent after it; None if none came."""
    after = [o.ended - kill.at for o in outcomes if o.began > kill.at and o.is_transcript]
    return min(after, default=None)


def longest_gap_seconds(outcomes: Sequence[Outcome]) -> float:
    """The longest time of the run, from the first request to the last end, without a transcript."""
    if not outcomes:
        return 0.0
    times = [min(o.began for o in outcomes), max(o.ended for o in outcomes)]
    times += [o.ended for o in outcomes if o.is_transcript]
    return max(after - before for before, after in pairwise(sorted(times)))


def ends(outcomes: Sequence[Outcome]) -> dict[str, Any]:
    """How many requests ended in which way, each in one; ``errors`` by status and code of ours."""
    errors = Counter(f"{o.status} {o.code}" for o in outcomes if o.status and not o.is_transcript)
    broken = [o for o in outcomes if o.status is None and not o.gave_up]
    return {
        "sent": len(outcomes),
        "transcripts": sum(o.is_transcript for o in outcomes),
        "errors": {name: count for name, count in sorted(errors.items()) if name.split(" ")[1]},
        "unstated_errors": sum(n for name, n in errors.items() if not name.split(" ")[1]),
        "closed_connections": len(broken),
        "lost": sum(o.gave_up for o in outcomes),
    }


def is_good(document: Mapping[str, Any]) -> bool:
    """Whether every request had an end that its client could see, and every text was right."""
    requests = document["requests"]
    bad = requests["lost"] + requests["unstated_errors"] + document["texts"].get("different", 0)
    return bad == 0 and bool(document["same_after"])


def spread(kills: Sequence[Mapping[str, Any]], name: str) -> dict[str, float]:
    """Median and maximum of one of ``RECOVERIES`` over kills as JSON values; {} without any."""
    seconds = [kill[name] for kill in kills if kill[name] is not None]
    return {"median": median(seconds), "max": max(seconds)} if seconds else {}

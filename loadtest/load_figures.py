"""Figures of a load run from its journal: latency, rates, errors, words; in all, by level, in time.

Latency and refusals are those of dictation and of strangers, whose requests come when they are due.
Long files count where rates do, bad requests where errors do.
"""

from collections.abc import Iterable, Sequence
from typing import Any

from loadtest.dictation import Level, level_at
from loadtest.journal import DICTATION, STRANGER, Sent
from loadtest.load import latency_percentiles
from loadtest.wer import corpus_errors, word_errors

PACED = (DICTATION, STRANGER)

SAMPLE_ERRORS = 5


def figures(sent: Sequence[Sent], seconds: float) -> dict[str, Any]:
    """Figures of the requests of a span of ``seconds``, as JSON values.

    ``offered_rtfx`` and ``served_rtfx``: audio seconds that were posted and that came back as text,
    per second of the span. ``busy_rtfx``: the latter per second in which any of them was under way.
    """
    paced = [one for one in sent if one.kind in PACED]
    good = [one for one in sent if one.is_transcript]
    scored = [one for one in good if one.reference is not None]
    words = corpus_errors(word_errors(one.reference or "", one.text or "", "en") for one in scored)
    errors = [one for one in sent if one.is_error]
    busy = covered_seconds((one.posted, one.ended) for one in good)
    audio = sum(one.seconds for one in good)
    return {
        "seconds": seconds,
        "requests": len(sent),
        "by_kind": {kind: sum(one.kind == kind for one in sent) for kind in sorted(_kinds(sent))},
        "transcripts": len(good),
        "refused": sum(one.is_refused for one in sent),
        "errors": len(errors),
        "error_samples": sorted({f"{one.status} {one.error}"[:300] for one in errors})[
            :SAMPLE_ERRORS
        ],
        "latency_seconds": latency_percentiles([o.latency for o in paced if o.is_transcript]),
        "final_latency_seconds": latency_percentiles(
            [o.latency for o in paced if o.is_transcript and o.is_final]
        ),
        "posted_late_seconds": latency_percentiles([one.posted - one.due for one in paced]),
        "offered_rtfx": sum(one.seconds for one in sent) / seconds,
        "served_rtfx": audio / seconds,
        "busy_rtfx": audio / busy if busy else 0.0,
        "wer": words.rate if words.n_reference else None,
        "scored_words": words.n_reference,
    }


def by_level(sent: Sequence[Sent], levels: list[Level]) -> list[dict[str, Any]]:
    """:func:`figures` of each level of load, by when requests were due."""
    found = []
    for number, level in enumerate(levels):
        own = [one for one in sent if level_at(levels, one.due) == number]
        found.append({"users": level.users, **figures(own, level.seconds)})
    return found


def over_time(sent: Sequence[Sent], seconds: float, bin_seconds: float) -> dict[str, list[Any]]:
    """Series of bins of ``bin_seconds``: ``at`` (their middles), rates, counts, latencies.

    A request belongs to the bin in which it was due; served audio to the one of its answer. A bin
    without transcripts has None for latencies.
    """
    n_bins = max(1, round(seconds / bin_seconds))
    series: dict[str, list[Any]] = {"at": [(n + 0.5) * bin_seconds for n in range(n_bins)]}

    def spread(values: Iterable[tuple[float, float]]) -> list[list[float]]:
        bins: list[list[float]] = [[] for _ in range(n_bins)]
        for at, value in values:
            if 0 <= at < n_bins * bin_seconds:
                bins[int(at // bin_seconds)].append(value)
        return bins

    paced = [one for one in sent if one.kind in PACED and one.is_transcript]
    latencies = [latency_percentiles(own) for own in spread((o.due, o.latency) for o in paced)]
    for name in ("p50", "p95", "p99"):
        series[name] = [own.get(name) for own in latencies]
    offered = spread((one.due, one.seconds) for one in sent)
    served = spread((one.ended, one.seconds) for one in sent if one.is_transcript)
    series["offered_rtfx"] = [sum(own) / bin_seconds for own in offered]
    series["served_rtfx"] = [sum(own) / bin_seconds for own in served]
    series["refused"] = [sum(own) for own in spread((o.due, 1.0) for o in sent if o.is_refused)]
    series["errors"] = [sum(own) for own in spread((o.due, 1.0) for o in sent if o.is_error)]
    return series


def covered_seconds(spans: Iterable[tuple[float, float]]) -> float:
    """Length of the union of (start, end) spans."""
    total, reached = 0.0, float("-inf")
    for start, end in sorted(spans):
        if end > reached:
            total += end - max(start, reached)
            reached = end
    return total


def _kinds(sent: Sequence[Sent]) -> set[str]:
    return {one.kind for one in sent}

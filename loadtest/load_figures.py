"""Figures of a load run: latency, rates, errors, words; in all, by level of load, and over time.

Latency and refusals count for dictation and strangers, whose requests arrive when they are due.
Long files count only in rates, and bad requests only in errors.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

from loadtest.dictation import Level, level_at
from loadtest.load import latency_percentiles
from loadtest.sent import DICTATION, STRANGER, Sent
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
    heard = [one for one in paced if one.is_transcript]
    scored = [one for one in good if one.reference is not None]
    words = corpus_errors(word_errors(one.reference or "", one.text or "", "en") for one in scored)
    errors = [f"{one.status} {one.error}"[:300] for one in sent if one.is_error]
    busy = covered_seconds((one.posted, one.ended) for one in good)
    audio = sum(one.seconds for one in good)
    return {
        "seconds": seconds,
        "requests": len(sent),
        "by_kind": dict(Counter(one.kind for one in sent)),
        "transcripts": len(good),
        "refused": sum(one.is_refused for one in sent),
        "errors": len(errors),
        "error_samples": sorted(set(errors))[:SAMPLE_ERRORS],
        "latency_seconds": latency_percentiles([one.latency for one in heard]),
        "final_latency_seconds": latency_percentiles([o.latency for o in heard if o.is_final]),
        "posted_late_seconds": latency_percentiles([one.posted - one.due for one in paced]),
        "offered_rtfx": sum(one.seconds for one in sent) / seconds,
        "served_rtfx": audio / seconds,
        "busy_rtfx": audio / busy if busy else 0.0,
        "wer": words.rate if words.n_reference else None,
        "scored_words": words.n_reference,
    }


def by_level(sent: Sequence[Sent], levels: list[Level]) -> list[dict[str, Any]]:
    """:func:`figures` of each level of load, by when requests were due."""
    return [
        {
            "users": level.users,
            **figures([s for s in sent if level_at(levels, s.due) == number], level.seconds),
        }
        for number, level in enumerate(levels)
    ]


def over_time(sent: Sequence[Sent], seconds: float, bin_seconds: float) -> dict[str, list[float]]:
    """Series of bins of ``bin_seconds``: ``at`` (their middles), audio per second, counts.

    A request belongs to the bin in which it was due, served audio to that of its answer.
    """
    n_bins = max(1, round(seconds / bin_seconds))

    def spread(values: Iterable[tuple[float, float]]) -> list[float]:
        bins = [0.0] * n_bins
        for at, value in values:
            if 0 <= at < n_bins * bin_seconds:
                bins[int(at // bin_seconds)] += value
        return bins

    offered = spread((one.due, one.seconds) for one in sent)
    served = spread((one.ended, one.seconds) for one in sent if one.is_transcript)
    return {
        "at": [(n + 0.5) * bin_seconds for n in range(n_bins)],
        "offered_rtfx": [audio / bin_seconds for audio in offered],
        "served_rtfx": [audio / bin_seconds for audio in served],
        "refused": spread((one.due, 1.0) for one in sent if one.is_refused),
        "errors": spread((one.due, 1.0) for one in sent if one.is_error),
    }


def covered_seconds(spans: Iterable[tuple[float, float]]) -> float:
    """Length of the union of (start, end) spans."""
    total, reached = 0.0, float("-inf")
    for start, end in sorted(spans):
        if end > reached:
            total += end - max(start, reached)
            reached = end
    return total

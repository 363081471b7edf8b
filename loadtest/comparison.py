"""One clip's server transcript against plain faster-whisper's: equal text, and how far apart."""

import difflib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from loadtest.plain import PlainTranscript

DIFF_CONTEXT_WORDS = 3
MAX_DIFF_CHARACTERS = 400


@dataclass(frozen=True)
class Comparison:
    """``text_equal``: the same texts in the same segments, but for outer spaces.

    The differences are the largest over segments, times in seconds; None where the texts or
    their segments differ, since segments then have no counterpart. ``diff`` is "" if equal.
    """

    text_equal: bool
    max_time_difference: float | None
    max_logprob_difference: float | None
    diff: str


def compare(plain: PlainTranscript, segments: Sequence[dict[str, Any]]) -> Comparison:
    """Compare with ``segments`` of the contract's response."""
    expected = [segment.text.strip() for segment in plain.segments]
    heard = [str(segment["text"]).strip() for segment in segments]
    if expected != heard:
        return Comparison(False, None, None, _diff(expected, heard))
    pairs = list(zip(plain.segments, segments, strict=True))
    return Comparison(
        text_equal=True,
        max_time_difference=max(
            (
                max(abs(ours["start"] - theirs.start), abs(ours["end"] - theirs.end))
                for theirs, ours in pairs
            ),
            default=0.0,
        ),
        max_logprob_difference=max(
            (abs(ours["sequence_confidence"] - theirs.avg_logprob) for theirs, ours in pairs),
            default=0.0,
        ),
        diff="",
    )


def _diff(expected: Sequence[str], heard: Sequence[str]) -> str:
    """Changed words as ``[-plain-] {+server+}`` with a few words around them."""
    old, new = " ".join(expected).split(), " ".join(heard).split()
    if old == new:
        return f"same words in other segments: {len(expected)} plain, {len(heard)} server"
    parts = []
    matcher = difflib.SequenceMatcher(a=old, b=new, autojunk=False)
    for group in matcher.get_grouped_opcodes(DIFF_CONTEXT_WORDS):
        words: list[str] = []
        for tag, old_from, old_to, new_from, new_to in group:
            if tag == "equal":
                words += old[old_from:old_to]
                continue
            if old_to > old_from:
                words.append(f"[-{' '.join(old[old_from:old_to])}-]")
            if new_to > new_from:
                words.append(f"{{+{' '.join(new[new_from:new_to])}+}}")
        parts.append(" ".join(words))
    return " ... ".join(parts)[:MAX_DIFF_CHARACTERS]

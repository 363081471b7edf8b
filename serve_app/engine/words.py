"""What was heard in a window: words with times, from an aligned text.

The alignment is faster-whisper's (``WhisperModel.find_alignment``): cross-attention and dynamic
time warping in CTranslate2, cut into words.
"""

import copy
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from types import SimpleNamespace
from typing import Any

from faster_whisper import WhisperModel
from faster_whisper.tokenizer import Tokenizer
from faster_whisper.transcribe import merge_punctuations

from serve_app.engine.attempts import Attempt
from serve_app.engine.coverage import Interval
from serve_app.engine.speech import Cut

LONGEST_WORD_SECONDS = 1.0
"""Longest time that one word covers, in seconds. Alignment stretches words over speech that the
text leaves out."""

LEAST_WORD_SECONDS = 0.1
"""A word keeps this much of its time, in seconds, when silence is taken from its start."""

SECONDS_PER_DIGIT = 0.5
"""A telephone number is one word, but people read it digit by digit."""

PAUSE_SECONDS = 0.5
"""Silence between two words that starts a new segment, in seconds."""

LONGEST_SEAM = 4
"""Most words at the end of one hearing that are looked for at the beginning of the next."""

SEAM_SECONDS = 1.0
"""How far apart two hearings may place the same word, in seconds. Farther apart, it was said
twice."""


@dataclass(frozen=True)
class HeardWord:
    """A word with its times in seconds.

    ``text`` begins with a space in languages that have them. ``tokens`` are ids of the model's
    vocabulary. ``probability`` is their mean, in [0, 1]. ``attempt`` is what the word was decoded
    in.
    """

    start: float
    end: float
    text: str
    tokens: tuple[int, ...]
    probability: float
    attempt: Attempt

    @property
    def middle(self) -> float:
        """The time in the middle of the word, which errors of alignment affect least."""
        return (self.start + self.end) / 2

    def in_clip(self, cut: Cut) -> "HeardWord":
        """The same word with times in the clip from which the window was cut.

        Alignment knows no pauses, so a stretch's first word seems to begin with the silence before
        it.
        """
        spoken_from = cut.spoken_from(self.middle)
        begin = max(self.start, min(spoken_from, self.end - LEAST_WORD_SECONDS))
        start, end = (cut.original(time, self.middle) for time in (begin, self.end))
        return replace(self, start=start, end=max(start, end))


@dataclass(frozen=True)
class Heard:
    """What was heard in a window.

    ``language`` is the token id of the window's language, with its probability, if it was detected.
    ``words`` have times from the start of the window; None if nobody asked for them.
    """

    best: Attempt
    language: int | None = None
    language_probability: float = 0.0
    words: tuple[HeardWord, ...] | None = None


def aligned_words(
    whisper: WhisperModel,
    tokenizer: Tokenizer,
    tokens: Sequence[int],
    alignment: Any,
    attempt: Attempt,
) -> tuple[HeardWord, ...]:
    """The words of ``attempt``, with times from the start of the window.

    ``tokens`` are those of its text, and ``alignment`` is their ``WhisperAlignmentResult``.
    faster-whisper would ask the model for it. Here it exists already, so a stand-in hands it over.
    """
    aligned = copy.copy(whisper)
    aligned.model = SimpleNamespace(align=lambda *arguments, **options: [alignment])
    [words] = aligned.find_alignment(tokenizer, [tokens], None, 0)
    return tuple(
        HeardWord(
            float(word["start"]),
            float(word["end"]),
            word["word"],
            tuple(word["tokens"]),
            float(word["probability"]),
            attempt,
        )
        for word in words
    )


def trimmed(words: Sequence[HeardWord]) -> list[HeardWord]:
    """``words`` without the silence or lost speech over which alignment has stretched them.

    Alignment adds a pause to the mark that ends a sentence or to the first word of the next one,
    and sound after the text to the last word.
    """
    cut = []
    for before, word, after in zip([None, *words], words, [*words[1:], None], strict=False):
        longest = _longest_seconds(word)
        if word.end - word.start <= longest:
            cut.append(word)
        elif after is not None and _plain(word) and (before is None or not _plain(before)):
            cut.append(replace(word, start=word.end - longest))
        else:
            cut.append(replace(word, end=word.start + longest))
    return cut


def _longest_seconds(word: HeardWord) -> float:
    return max(LONGEST_WORD_SECONDS, SECONDS_PER_DIGIT * sum(map(str.isdigit, word.text)))


def joined_punctuation(
    words: Sequence[HeardWord], prepended: str, appended: str
) -> list[HeardWord]:
    """``words`` with punctuation marks joined to the words to which they belong."""
    alignment: list[dict[str, Any]] = [
        {"word": word.text, "tokens": list(word.tokens)} for word in words
    ]
    merge_punctuations(alignment, prepended, appended)
    return [
        replace(word, text=merged["word"], tokens=tuple(merged["tokens"]))
        for word, merged in zip(words, alignment, strict=True)
        if merged["word"]
    ]


def without_seam(
    before: Sequence[HeardWord], words: Sequence[HeardWord], after: Sequence[HeardWord]
) -> list[HeardWord]:
    """``words`` without a repetition of the end of ``before`` or the beginning of ``after``.

    They were heard in a gap between the two, and its edges sometimes lie within a word.
    """
    n_before = _overlap(before, words)
    kept = list(words[n_before:])
    n_after = _overlap(kept, after)
    return kept[: len(kept) - n_after]


def _overlap(first: Sequence[HeardWord], second: Sequence[HeardWord]) -> int:
    """How many words at the end of ``first`` also begin ``second``."""
    longest = min(LONGEST_SEAM, len(first), len(second))
    return next(
        (n for n in range(longest, 0, -1) if all(map(_is_one, first[-n:], second[:n]))),
        0,
    )


def _is_one(word: HeardWord, other: HeardWord) -> bool:
    """Whether two hearings have heard the same word at the same time."""
    return _plain(word) == _plain(other) and abs(word.middle - other.middle) < SEAM_SECONDS


def spoken_times(words: Iterable[HeardWord]) -> list[Interval]:
    """The times of ``words``, without those of lone punctuation marks."""
    return [(word.start, word.end) for word in words if _plain(word)]


def _plain(word: HeardWord) -> str:
    """The letters and digits of a word, in lower case."""
    return "".join(filter(str.isalnum, word.text.lower()))


def split_at_pauses(
    words: Iterable[HeardWord], pause_seconds: float = PAUSE_SECONDS
) -> list[list[HeardWord]]:
    """``words``, ascending in time, in runs of one attempt without a pause."""
    runs: list[list[HeardWord]] = []
    for word in words:
        last = runs[-1][-1] if runs else word
        if runs and word.attempt is last.attempt and word.start - last.end < pause_seconds:
            runs[-1].append(word)
        else:
            runs.append([word])
    return runs

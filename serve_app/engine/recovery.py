"""Speech that no word covers: where it is, and how the words found in it join the others.

A chunk of dictation holds several utterances, and Whisper often writes down only the first ones. So
speech that VAD found and no word covers is heard again as a window of its own, with the same checks
as any other. Much of it is not speech after all, but music, breath or crosstalk. There an unsure
text would be an invention, so it is left out.
"""

import math
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple

import numpy as np

from serve_app.audio.clip import SAMPLE_RATE_HZ
from serve_app.engine.attempts import Checks, ends_in_repetition
from serve_app.engine.coverage import Interval, uncovered
from serve_app.engine.request import WINDOW_SECONDS
from serve_app.engine.speech import Cut
from serve_app.engine.words import (
    LONGEST_SEAM,
    Heard,
    HeardWord,
    spoken_times,
    without_seam,
)

BEFORE_SECONDS, AFTER_SECONDS = 0.3, 0.4
"""Seconds of audio around a gap that are heard with it. Alignment is about as exact as this."""

JOINED_SECONDS = 1.0
"""Gaps with a shorter pause and no word between them are one gap. Often they are one lost
utterance."""

MOST_ROUNDS = 3
"""Words found in a gap may leave a smaller gap, and so on. This is the limit."""

SOUND_LOGPROB, SURE_LOGPROB = -0.85, -0.25
"""Least average log-probability of a text found in a gap, whatever the caller allows. The second
value applies if the model says that nobody speaks."""

SLACK_SECONDS = 0.15
"""How far outside a gap the middle of a word found in it may lie, in seconds."""


class Gap(NamedTuple):
    """Speech without words; ``start`` and ``end`` in seconds of the clip."""

    start: float
    end: float

    def cut(self, n_samples: int) -> Cut:
        """The window around it in a clip of ``n_samples``."""
        start = max(0, round((self.start - BEFORE_SECONDS) * SAMPLE_RATE_HZ))
        end = min(n_samples, round((self.end + AFTER_SECONDS) * SAMPLE_RATE_HZ))
        return Cut(((start, end),))

    @property
    def middle(self) -> float:
        """The middle of the gap, farthest from the words around it."""
        return (self.start + self.end) / 2

    def holds(self, seconds: float) -> bool:
        """Whether a word whose middle is at this time belongs to the gap."""
        return self.start - SLACK_SECONDS < seconds < self.end + SLACK_SECONDS


@dataclass
class Part:
    """Neighbouring windows whose gaps reach into no other window. So nothing outside the part
    changes what is found in them.

    ``speech`` and ``words`` have times in the clip. ``before`` are the last words before the part.
    """

    speech: list[Interval]
    words: list[HeardWord]
    before: Sequence[HeardWord] = ()

    @property
    def lost(self) -> list[Interval]:
        """The parts of its speech that no word covers."""
        return uncovered(self.speech, spoken_times(self.words))

    def reaches(self, seconds: float) -> bool:
        """Whether its last gap and a gap that begins at ``seconds``, after its end, are one gap."""
        lost = self.lost
        return bool(lost) and not _is_apart(lost[-1][1], seconds, self.words)

    def joined(self, after: "Part") -> "Part | None":
        """Both parts as one; None if no gap reaches from one into the
        other.
        """
        both = Part(self.speech + after.speech, self.words + after.words, self.before)
        lost, next_lost = self.lost, after.lost
        if not lost or not next_lost or _is_apart(lost[-1][1], next_lost[0][0], both.words):
            return None
        return both


async def parts(
    cuts: Sequence[Cut], hearings: Iterable[Awaitable[Heard]], speech: Sequence[Interval]
) -> AsyncIterator[Part]:
    """The parts of a clip in order, each as soon as its windows have been heard. If a gap lies at
    its end, the next window must have been heard as well.
    """
    left = deque(speech)
    part: Part | None = None
    before: Sequence[HeardWord] = ()
    for cut, following, hearing in zip(cuts, [*cuts, None][1:], hearings, strict=True):
        next_start = math.inf if following is None else following.stretches[0][0] / SAMPLE_RATE_HZ
        heard = await hearing
        new = Part([], [word.in_clip(cut) for word in heard.words or ()], before)
        while left and left[0][0] < next_start:
            new.speech.append(left.popleft())
        if part is not None:
            if both := part.joined(new):
                new = both
            else:
                yield part
        before = [*before, *new.words][-LONGEST_SEAM:]
        part = new if new.reaches(next_start) else None
        if part is None:
            yield new


def gaps_in(speech: Sequence[Interval], words: Sequence[HeardWord]) -> list[Gap]:
    """The gaps that ``words`` leave in ``speech``; all times are in the clip."""
    longest = WINDOW_SECONDS - BEFORE_SECONDS - AFTER_SECONDS
    gaps: list[Gap] = []
    for start, end in _joined(uncovered(speech, spoken_times(words)), words):
        n_windows = math.ceil((end - start) / longest)
        edges = np.linspace(start, end, n_windows + 1).tolist()
        gaps += [Gap(*edge) for edge in pairwise(edges)]
    return gaps


def _joined(lost: Sequence[Interval], words: Sequence[HeardWord]) -> list[Interval]:
    joined: list[Interval] = []
    for start, end in lost:
        last_start, last_end = joined[-1] if joined else (start, start - 2 * JOINED_SECONDS)
        if _is_apart(last_end, start, words):
            joined.append((start, end))
        else:
            joined[-1] = (last_start, end)
    return joined


def _is_apart(end: float, start: float, words: Sequence[HeardWord]) -> bool:
    """Whether a gap that ends and one that starts at these times are two: see
    ``JOINED_SECONDS``.
    """
    return start - end > JOINED_SECONDS or any(end <= word.middle <= start for word in words)


def spliced(
    words: Sequence[HeardWord], gap: Gap, cut: Cut, heard: Heard, checks: Checks
) -> list[HeardWord]:
    """``words``, with those heard in the window around ``gap`` if they are sound."""
    least = SURE_LOGPROB if checks.hears_nobody(heard.best) else SOUND_LOGPROB
    if checks.fails(heard.best) or heard.best.avg_logprob < least:
        return list(words)
    found = [word.in_clip(cut) for word in heard.words or ()]
    found = [word for word in found if gap.holds(word.middle)]
    if ends_in_repetition(heard.best.text):  # what is said once too often gets no time
        found = [word for word in found if word.start < word.end]
    before = [word for word in words if word.middle < gap.middle]
    after = [word for word in words if word.middle >= gap.middle]
    return [*before, *without_seam(before, found, after), *after]

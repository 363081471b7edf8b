"""The utterance that goes on: what its drafts have said, and when the next one is due."""

import asyncio
from collections.abc import Coroutine, Sequence
from typing import Any

from serve_app.audio.clip import SAMPLE_RATE_HZ
from serve_app.live.agreement import Agreement
from serve_app.transcript import Word

FIRST_DRAFT_SECONDS = 1.0
"""Speech before the first draft: in less Whisper hears words that nobody said."""

WHOLE_SECONDS = 10.0
"""A draft of an utterance up to this length hears all of it, since what begins within speech is
often heard wrongly."""

MOST_DRAFTS = 3
"""Drafts of one session on their way at once. One is heard while the next one waits."""


class CurrentUtterance:
    """Utterance ``number``, which begins at the sample ``start`` of the stream."""

    def __init__(self, number: int, start: int) -> None:
        self.number = number
        self.agreement = Agreement()
        self.heard_to = 0
        self._start = start
        self._drafted_to = 0
        self._drafts: set[asyncio.Task[None]] = set()

    def is_due(self, now: int, step_seconds: float) -> bool:
        """Whether there is enough new audio at the sample ``now`` for another draft."""
        new_seconds = (now - max(self._drafted_to, self._start)) / SAMPLE_RATE_HZ
        least = step_seconds if self._drafted_to else FIRST_DRAFT_SECONDS
        return new_seconds >= least and len(self._drafts) < MOST_DRAFTS

    def draft_from(self, now: int) -> int:
        """The sample at which a draft up to ``now`` begins."""
        if now - self._start <= WHOLE_SECONDS * SAMPLE_RATE_HZ:
            return self._start
        return round(self.agreement.hear_from(self._start / SAMPLE_RATE_HZ) * SAMPLE_RATE_HZ)

    def begin(self, drafting: Coroutine[Any, Any, None], now: int) -> None:
        """Have a draft of the audio up to ``now`` made."""
        self._drafted_to = now
        task = asyncio.create_task(drafting)
        self._drafts.add(task)
        task.add_done_callback(self._drafts.discard)

    def take(self, words: Sequence[Word], heard_to: int) -> bool:
        """Take the words of a draft; returns whether it is newer than the latest one taken."""
        if heard_to <= self.heard_to:
            return False
        self.heard_to = heard_to
        self.agreement.add(words)
        return True

    def drop(self) -> None:
        """Give up the drafts on their way."""
        for task in self._drafts:
            task.cancel()

"""The turns of an OpenAI Realtime session. Plain data: nothing is sent or heard here.

A turn, which becomes one item of the conversation, is what is said between two silences or two
commits of the client. It may be several utterances of our session.
"""

import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field

from serve_app.errors import WhisperOxError
from serve_app.live.events import Final, Partial
from serve_app.transcript import Word


@dataclass(eq=False)
class Turn:
    """The utterances from ``first`` to ``last``, which is None until the turn is committed.

    Of ``utterance``, the latest one, ``n_told`` words have been sent.
    """

    first: int
    last: int | None = None
    utterance: int = -1
    n_told: int = 0
    has_deltas: bool = False
    text: str = ""
    words: list[Word] = field(default_factory=list)
    seconds: float = 0.0
    language: str | None = None
    error: WhisperOxError | None = None
    id: str = field(default_factory=lambda: f"item_{uuid.uuid4().hex[:20]}")

    def is_complete(self, n_heard: int) -> bool:
        """Whether the turn is committed, and heard once ``n_heard`` utterances are."""
        return self.last is not None and (self.last < self.first or self.last < n_heard)

    def hear(self, event: Partial | Final) -> list[Word]:
        """Take what is certain; returns the words that are new.

        A final text may word differently what was sent of it. What was sent stays: the whole text
        comes when the turn is complete.
        """
        if event.utterance != self.utterance:
            self.utterance, self.n_told = event.utterance, 0
        certain = event.words[: event.n_certain] if isinstance(event, Partial) else event.words
        new = [*certain[self.n_told :]]
        self.n_told += len(new)
        if isinstance(event, Final):
            is_apart = bool(self.text and event.words and event.words[0].word.startswith(" "))
            self.text += f" {event.text}" if is_apart else event.text
            self.words += event.words
            self.seconds += event.end - event.start
            self.language = event.language
        return new


class Turns:
    """All turns that are not complete, in order."""

    def __init__(self) -> None:
        self._turns: list[Turn] = []
        self._first = 0  # the first utterance of the next turn
        self._n_heard = 0

    @property
    def open(self) -> Turn | None:
        """The turn that goes on."""
        return self._turns[-1] if self._turns and self._turns[-1].last is None else None

    def begin(self, utterance: int) -> Turn | None:
        """A new turn from ``utterance`` on; None if one goes on, or this has been cleared."""
        return self.current() if self.open is None and utterance >= self._first else None

    def current(self) -> Turn:
        """The turn that goes on, or else a new one."""
        if self.open is None:
            self._turns.append(Turn(self._first))
        return self._turns[-1]

    def of(self, utterance: int) -> Turn | None:
        """The turn that an utterance belongs to; None if it has been cleared."""
        for turn in self._turns:
            if turn.first <= utterance and (turn.last is None or utterance <= turn.last):
                return turn
        return self.current() if utterance >= self._first else None

    def commit(self, last: int) -> Turn:
        """End the turn that goes on with the utterance ``last``."""
        turn = self.current()
        turn.last, self._first = last, last + 1
        return turn

    def clear(self, n_utterances: int) -> None:
        """Forget the turn that goes on, with the utterances of the session so far."""
        self._turns = [turn for turn in self._turns if turn.last is not None]
        self._first = n_utterances

    def heard(self, utterance: int) -> None:
        """The last word has been spoken on this utterance; they come in order."""
        self._n_heard = utterance + 1

    def complete(self) -> Iterator[Turn]:
        """Take out the committed turns of which nothing is left to hear."""
        while self._turns and self._turns[0].is_complete(self._n_heard):
            yield self._turns.pop(0)

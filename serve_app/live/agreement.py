"""Which words of an utterance that goes on are certain: those on which two drafts in a row agree.

This is LocalAgreement-2 (Liu, Spanakis and Niehues, "Low-Latency Sequence-to-Sequence Speech
Recognition and Translation by Partial Hypothesis Selection", Interspeech 2020) over words with
times. Plain data in and out.
"""

from collections.abc import Sequence
from itertools import takewhile

from serve_app.transcript import Word

SAME_WORD_SECONDS = 1.0
"""How far apart two drafts may place one word."""

# tiny.en, 60 s read aloud: 0.19 words are revised for every word. Other rules, replayed on the
# drafts of 240 s: all words shown at once 0.28, a last word below 0.8 held back 0.10, only words on
# which two drafts agree 0.02 but half a second later.
LEAST_PROBABILITY, LAST_PROBABILITY = 0.5, 0.8
"""A less probable word, and a last one that is less probable, are held back with what follows until
the next draft has them as well. They have often been heard in half."""

OVERLAP_SECONDS = 1.0
"""Certain audio that a draft hears again, so that it begins between words."""


class Agreement:
    """The words of one utterance; times are in seconds of the stream."""

    def __init__(self) -> None:
        self.certain: list[Word] = []
        self.uncertain: list[Word] = []

    @property
    def words(self) -> list[Word]:
        """The words so far, without those at the end that are likely to change."""
        shown = list(takewhile(lambda w: w.probability >= LEAST_PROBABILITY, self.uncertain))
        while shown and shown[-1].probability < LAST_PROBABILITY:
            shown.pop()
        return [*self.certain, *shown]

    def add(self, draft: Sequence[Word]) -> None:
        """Take the words of the next draft, which may begin with some that are certain already."""
        new = draft
        if self.certain:
            new = draft[n_known(self.certain[-1], draft, self.certain[-1].end) :]
        agreed = [
            word
            for _, word in takewhile(
                lambda pair: _plain(pair[0]) == _plain(pair[1]),
                zip(self.uncertain, new, strict=False),
            )
        ]
        self.certain += agreed
        self.uncertain = list(new[len(agreed) :])

    def hear_from(self, seconds: float) -> float:
        """From when the next draft has to hear, at the earliest from ``seconds``."""
        if not self.certain:
            return seconds
        latest = self.certain[-1].end - OVERLAP_SECONDS
        starts = [word.start for word in self.certain if word.start <= latest]
        return max([seconds, *starts])


def n_known(last: Word | None, words: Sequence[Word], until: float) -> int:
    """How many words at the beginning of ``words`` have been told already, up to ``last``.

    It is looked for by its text; if it is not there, what was said before ``until`` is known.
    """
    same = [
        (abs(word.end - last.end), n + 1)
        for n, word in enumerate(words)
        if last is not None
        and _plain(word) == _plain(last)
        and abs(word.end - last.end) < SAME_WORD_SECONDS
    ]
    return min(same)[1] if same else sum(_middle(word) < until for word in words)


def _middle(word: Word) -> float:
    return (word.start + word.end) / 2


def _plain(word: Word) -> str:
    """The letters and digits of a word, in lower case."""
    return "".join(filter(str.isalnum, word.word.lower()))

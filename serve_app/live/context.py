"""What was said before an utterance and is heard along with it."""

from serve_app.audio.clip import SAMPLE_RATE_HZ
from serve_app.live.endpointing import Utterance

MOST_PAUSE_SAMPLES = 3 * SAMPLE_RATE_HZ
"""After a longer pause somebody else may speak, of something else."""

MOST_TIMES = 20
"""How many times as long as an utterance what is heard with it may be. It matters only where a
flush leaves less than a word: each would otherwise have many seconds heard."""


class Context:
    """The utterances that fit into ``seconds`` of audio together with a new one.

    They give the model the voice and the subject.
    """

    def __init__(self, seconds: float) -> None:
        self._most_samples = int(seconds * SAMPLE_RATE_HZ)
        self._before: list[Utterance] = []

    def start(self, start: int, end: int) -> int:
        """The sample at which to begin to hear an utterance from ``start`` to ``end``."""
        most_samples = min(self._most_samples, MOST_TIMES * (end - start))
        for before in reversed(self._before):
            is_far = start - before.end > MOST_PAUSE_SAMPLES
            if is_far or end - before.start > most_samples:
                break
            start = before.start
        return start

    def clear(self) -> None:
        """Begin anew, because the audio from here to the next utterance is not to be heard."""
        self._before = []

    def add(self, utterance: Utterance) -> None:
        """Remember an utterance that has ended."""
        earliest = utterance.end - self._most_samples
        self._before = [*(one for one in self._before if one.start >= earliest), utterance]

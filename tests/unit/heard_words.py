"""Words as heard in a window."""

from collections.abc import Sequence

from hypothesis import strategies as st

from serve_app.engine.attempts import Attempt
from serve_app.engine.coverage import Interval
from serve_app.engine.request import WINDOW_SECONDS
from serve_app.engine.words import HeardWord

ATTEMPT = Attempt((), "what was said", avg_logprob=-0.2, no_speech_prob=0.0)


def word(text: str, start: float, end: float, attempt: Attempt = ATTEMPT) -> HeardWord:
    return HeardWord(start, end, text, tuple(text.encode()), 0.5, attempt)


def words_at(*times: Interval) -> list[HeardWord]:
    """Words of different texts at these times."""
    return [word(f" w{n}", start, end) for n, (start, end) in enumerate(times)]


def spoken(text: str, start: float = 0.0, each: float = 0.3) -> list[HeardWord]:
    """The words of ``text`` one right after the other, ``each`` so many seconds long."""
    return [
        word(f" {one}", start + n * each, start + (n + 1) * each)
        for n, one in enumerate(text.split())
    ]


def texts(words: Sequence[HeardWord]) -> list[str]:
    return [one.text for one in words]


def times(words: Sequence[HeardWord]) -> list[Interval]:
    return [(one.start, one.end) for one in words]


@st.composite
def ascending_words(
    draw: st.DrawFn, longest: float = WINDOW_SECONDS, after: float = 0.0
) -> list[HeardWord]:
    """Words in order, with marks among them, as the alignment of a window gives them."""
    seconds = st.floats(after, after + longest, allow_nan=False)
    edges = sorted(draw(st.lists(seconds, max_size=16)))
    texts = st.sampled_from([" one", " two", " Three", ".", "!", " (", ""])
    return [
        word(draw(texts), start, end) for start, end in zip(edges[::2], edges[1::2], strict=False)
    ]

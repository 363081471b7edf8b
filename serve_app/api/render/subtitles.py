"""Transcripts as subtitles: SubRip (``.srt``) and WebVTT (W3C, https://www.w3.org/TR/webvtt1/).

A subtitle, or cue, holds neighbouring words of one segment, so that none stays over a pause. It
begins with its first word and ends with its last one, to the millisecond, unless that leaves too
little time to read it. Text stays in logical order: players themselves set Arabic and Hebrew from
right to left, and a mark tells them where they could not know.
"""

import html
import re
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import takewhile

from serve_app.settings import SubtitleSettings
from serve_app.transcript import Segment, Transcript, Word

SENTENCE_ENDS = tuple(".?!…。！？؟।")
CLAUSE_ENDS = tuple(",;:、，；：،؛—–")

NEVER_FIRST = frozenset(
    "、。，．・：；？！…‥”’」』）〕】》〉］｝ー々ヽヾゝゞぁぃぅぇぉっゃゅょゎァィゥェォッャュョヮヵヶ"
    ",.;:?!)]}%％"
    "ะาำๅๆฯະາຳໆ"
)
NEVER_LAST = frozenset("“‘「『（〔【《〈［｛([{$￥¥เแโใไເແໂໃໄ")
"""What a line does not begin or end with in scripts without spaces: for Japanese JIS X 4051 has it,
and some vowels of Thai and Lao belong to the letter before or after them."""

SPACELESS = re.compile("[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff]")
"""Thai, Lao, Burmese and Khmer. All wide scripts but Korean lack spaces as well."""
HANGUL = re.compile("[\u1100-\u11ff\u3130-\u318f\uac00-\ud7ff]")

RIGHT_TO_LEFT_MARK = "\u200f"


@dataclass(frozen=True)
class Cue:
    """One subtitle; times in milliseconds from the start of the audio."""

    start: int
    end: int
    lines: tuple[str, ...]


@dataclass(frozen=True)
class _Piece:
    """A word or joined words that no line breaks. Whisper writes the space before a word, and none
    where a language has none. ``columns`` is the width of ``text``.
    """

    word: Word
    gap: str
    text: str
    columns: int


@dataclass
class _Line:
    """``columns`` is its width, without a space before its first word."""

    pieces: list[_Piece]
    columns: int

    @property
    def text(self) -> str:
        return "".join(piece.gap + piece.text for piece in self.pieces).lstrip()


def srt(cues: Sequence[Cue]) -> str:
    """A SubRip file. The format has no escapes, so its arrow becomes another one in a text."""
    return "".join(
        f"{number}\n{_clock(cue.start, ',')} --> {_clock(cue.end, ',')}\n"
        + _text(cue).replace("-->", "→")
        + "\n\n"
        for number, cue in enumerate(cues, start=1)
    )


def vtt(cues: Sequence[Cue]) -> str:
    """A WebVTT file."""
    return "WEBVTT\n\n" + "".join(
        f"{_clock(cue.start, '.')} --> {_clock(cue.end, '.')}\n"
        + html.escape(_text(cue), quote=False)
        + "\n\n"
        for cue in cues
    )


def _text(cue: Cue) -> str:
    return "\n".join(map(_directed, cue.lines))


def _directed(line: str) -> str:
    """``line`` with a mark in front if a player would else set it in the wrong direction.

    Players take the direction from the first letter (WebVTT, section 6.3), which may be that of a
    Latin name in a line of Arabic.
    """
    letters = [kind for kind in map(unicodedata.bidirectional, line) if kind in ("L", "R", "AL")]
    is_mostly_left = letters.count("L") * 2 >= len(letters)
    return line if is_mostly_left or letters[0] != "L" else RIGHT_TO_LEFT_MARK + line


def cues_of(transcript: Transcript, settings: SubtitleSettings) -> list[Cue]:
    """The subtitles of a transcript with words, in order; none overlaps the next one."""
    groups = [
        group for segment in transcript.segments for group in _groups(_pieces(segment), settings)
    ]
    starts = [_milliseconds(group[0].word.start) for group in groups]
    ends = [*starts, _milliseconds(transcript.duration_seconds)][1:]
    cues = []
    for group, start, next_start in zip(groups, starts, ends, strict=True):
        lines = _balanced(group, settings)
        reading = sum(line.columns for line in lines) / settings.characters_per_second
        end = max(_milliseconds(group[-1].word.end), start + _milliseconds(reading))
        # A cue must take some time, even where two words are said to begin at once.
        texts = tuple(line.text for line in lines)
        cues.append(Cue(start, max(min(end, next_start), start + 1), texts))
    return cues


def _pieces(segment: Segment) -> list[_Piece]:
    pieces = []
    for word in _whole(segment):
        text = " ".join(word.word.split())
        gap = " " if word.word[:1].isspace() else ""
        pieces.append(_Piece(word, gap, text, _columns(text)))
    return pieces


def _whole(segment: Segment) -> Sequence[Word]:
    """The segment's words, joined where no line may break between them.

    Whisper ends a word at a point or a hyphen too, and Chinese and Thai ones almost anywhere.
    """
    whole: list[Word] = []
    for word in _words(segment):
        if not whole or _may_break(whole[-1].word, word.word):
            whole.append(word)
        else:
            joined = whole[-1].word + word.word
            whole[-1] = Word(whole[-1].start, word.end, joined, whole[-1].probability)
    return whole


def _words(segment: Segment) -> Iterator[Word]:
    """The segment's words; without any, parts of its text that share its time by their length."""
    if segment.words:
        yield from (word for word in segment.words if word.word.strip())
        return
    parts = re.findall(r"\s*\S+", segment.text)
    n_characters, at, each = sum(map(len, parts)), segment.start, segment.end - segment.start
    for part in parts:
        end = at + each * len(part) / n_characters
        yield Word(at, end, part, 1.0)
        at = end


def _may_break(before: str, after: str) -> bool:
    """Whether a line may end after ``before``: at a space, or where a script has none (after the
    rules of Unicode's UAX 14).
    """
    if before[-1:].isspace() or after[:1].isspace():
        return True
    last, first = before[-1], after[0]
    if unicodedata.category(first)[0] == "M" or first in NEVER_FIRST or last in NEVER_LAST:
        return False
    return _is_spaceless(last) or _is_spaceless(first)


def _is_spaceless(character: str) -> bool:
    """Whether it belongs to a script that is written without spaces between words."""
    is_wide = unicodedata.east_asian_width(character) in "WF"
    return bool(SPACELESS.match(character) or (is_wide and not HANGUL.match(character)))


def _groups(pieces: Sequence[_Piece], settings: SubtitleSettings) -> Iterator[Sequence[_Piece]]:
    """What of a segment goes into each cue."""
    while pieces:
        fitting = _n_fitting(pieces, settings)
        if fitting < len(pieces):
            fitting = _best_break(pieces[:fitting])
        yield pieces[:fitting]
        pieces = pieces[fitting:]


def _n_fitting(pieces: Sequence[_Piece], settings: SubtitleSettings) -> int:
    """How many of ``pieces`` one cue can hold; at least one."""
    start, most = pieces[0].word.start, settings.max_seconds
    in_time = takewhile(lambda piece: piece.word.end - start <= most, pieces)
    lines = _wrapped(in_time, settings.line_characters)
    return max(1, sum(len(line.pieces) for line in lines[: settings.lines]))


def _best_break(pieces: Sequence[_Piece]) -> int:
    """After how many of ``pieces`` to break: in the second half, where a sentence ends or else a
    clause does, or else after all of them.
    """
    for marks in (SENTENCE_ENDS, CLAUSE_ENDS):
        for count in range(len(pieces), len(pieces) // 2, -1):
            if pieces[count - 1].word.word.rstrip("\"'”’»)]").endswith(marks):
                return count
    return len(pieces)


def _balanced(pieces: Sequence[_Piece], settings: SubtitleSettings) -> list[_Line]:
    """As few lines as they need, and those of about the same length."""
    lines = _wrapped(pieces, settings.line_characters)
    # Less than the average line, which has no space before its first word, is too narrow.
    average = sum(len(piece.gap) + piece.columns for piece in pieces) // len(lines) - 1
    widest = max(piece.columns for piece in pieces)
    for width in range(max(1, average, widest), settings.line_characters):
        narrower = _wrapped(pieces, width)
        if len(narrower) == len(lines) and max(line.columns for line in narrower) <= width:
            return narrower
    return lines


def _wrapped(pieces: Iterable[_Piece], width: int) -> list[_Line]:
    """Lines of up to ``width`` columns, broken between pieces only."""
    lines: list[_Line] = []
    for piece in pieces:
        columns = lines[-1].columns + len(piece.gap) + piece.columns if lines else 0
        if not lines or columns > width:
            lines.append(_Line([piece], piece.columns))
        else:
            lines[-1].pieces.append(piece)
            lines[-1].columns = columns
    return lines


def _columns(text: str) -> int:
    """The width of ``text``: wide characters take two columns, combining marks none."""
    if text.isascii():
        return len(text)
    return sum(
        2 if unicodedata.east_asian_width(character) in "WF" else 1
        for character in text
        if unicodedata.category(character) not in ("Mn", "Me", "Cf")
    )


def _milliseconds(seconds: float) -> int:
    return round(seconds * 1000)


def _clock(milliseconds: int, point: str) -> str:
    seconds, milliseconds = divmod(milliseconds, 1000)
    minutes, seconds = divmod(seconds, 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours:02}:{minutes:02}:{seconds:02}{point}{milliseconds:03}"

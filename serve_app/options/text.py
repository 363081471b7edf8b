"""Options that are language, text or token ids."""

import difflib
import re
from dataclasses import dataclass

from typing_extensions import override

from serve_app.languages import LANGUAGES, language_code
from serve_app.options.kinds import Kind, number
from serve_app.options.limits import OptionLimits

# The tokenizer turns such a piece of text into a control token, and one of those inside a prompt
# moves <|startoftranscript|> or ends the text.
_CONTROL_TOKEN = re.compile(r"<\|[^|<>\s]{1,32}\|>")
_MOST_TOKENS = 2**31 - 1


def clean(text: str) -> str:
    """``text`` without what no tokenizer takes or no one can say.

    Lone surrogates (a JavaScript string cut inside an emoji) and control characters go; tab, line
    feed and carriage return become spaces.
    """
    text = re.sub(r"[\t\r\n]", " ", text)
    return re.sub(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff\ufffe\uffff]", "", text)


@dataclass(frozen=True)
class Language(Kind):
    """A language; "auto" and the empty string mean that it is to be detected."""

    @override
    def read(self, value: object, limits: OptionLimits) -> str | None:
        if not isinstance(value, str):
            raise ValueError
        if value.strip().lower() in ("", "auto"):
            return None
        code = language_code(value)
        if code is None:
            raise ValueError(*_closest(value))
        return code

    @override
    def allowed(self, limits: OptionLimits) -> str:
        return (
            'null or "auto" to detect it, the English name of a language or one of the codes '
            + ", ".join(sorted(LANGUAGES))
        )


@dataclass(frozen=True)
class Text(Kind):
    """Words for the decoder; nothing but blanks is the same as none given."""

    tokens: bool = False  # whether a list of token ids will do as well

    @override
    def read(self, value: object, limits: OptionLimits) -> str | tuple[int, ...] | None:
        if self.tokens and isinstance(value, (list, tuple)):
            return _token_ids(value, least=0) or None
        if not isinstance(value, str):
            raise ValueError
        text = clean(value)
        if found := _CONTROL_TOKEN.search(text):
            raise ValueError(f"{found.group()} is a control token of Whisper's")
        return text if text.strip() else None

    @override
    def allowed(self, limits: OptionLimits) -> str:
        return "text without control tokens" + (" or a list of token ids" if self.tokens else "")


@dataclass(frozen=True)
class Punctuation(Kind):
    """A string of which each character counts."""

    @override
    def read(self, value: object, limits: OptionLimits) -> str:
        if not isinstance(value, str):
            raise ValueError
        return clean(value)

    @override
    def allowed(self, limits: OptionLimits) -> str:
        return "a string of punctuation marks"


@dataclass(frozen=True)
class SuppressedTokens(Kind):
    """Token ids, as a list, one number or a comma-separated string; -1 is Whisper's own set."""

    @override
    def read(self, value: object, limits: OptionLimits) -> tuple[int, ...]:
        if isinstance(value, str):
            value = [part for part in value.split(",") if part.strip()]
        if not isinstance(value, (list, tuple)):
            value = [value]
        return _token_ids(value, least=-1)

    @override
    def allowed(self, limits: OptionLimits) -> str:
        return "a list of token ids, -1 among them for the symbols that no one says, [] for none"


def _token_ids(values: "list[object] | tuple[object, ...]", least: int) -> tuple[int, ...]:
    ids = tuple(number(value) for value in values)
    if any(token != int(token) or not least <= token <= _MOST_TOKENS for token in ids):
        raise ValueError
    return tuple(int(token) for token in ids)


def _closest(language: str) -> tuple[str, ...]:
    names = {**LANGUAGES, **{name: name for name in LANGUAGES.values()}}
    close = difflib.get_close_matches(language.strip().lower()[:40], names, n=1, cutoff=0.7)
    return (f'the closest is "{close[0]}"',) if close else ()

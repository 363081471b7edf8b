"""Options that are text or token ids."""

import re
from dataclasses import dataclass

from typing_extensions import override

from serve_app.options.kinds import Kind, items, number
from serve_app.options.limits import OptionLimits

# The tokenizer turns such a piece of text into a control token, which inside a prompt would move
# <|startoftranscript|> or end the text.
_CONTROL_TOKEN = re.compile(r"<\|[^|<>\s]{1,32}\|>")
_MOST_TOKENS = 2**31 - 1


def clean(text: str) -> str:
    """``text`` without characters that a tokenizer rejects or nobody can say.

    Lone surrogates (a JavaScript string cut inside an emoji) and control characters are removed.
    Tabs, line feeds and carriage returns become spaces.
    """
    text = re.sub(r"[\t\r\n]", " ", text)
    return re.sub(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff\ufffe\uffff]", "", text)


@dataclass(frozen=True)
class Text(Kind):
    """Words for the decoder. Blanks alone count as no text. ``tokens`` also allows token ids."""

    tokens: bool = False

    @override
    def read(self, value: object, limits: OptionLimits) -> str | tuple[int, ...] | None:
        if self.tokens and isinstance(value, (list, tuple)):
            return _token_ids(value, least=0) or None
        if not isinstance(value, str):
            raise ValueError
        text = clean(value)
        if found := _CONTROL_TOKEN.search(text):
            raise ValueError(f"{found.group()} is a control token of Whisper")
        return text if text.strip() else None

    @override
    def allowed(self, limits: OptionLimits) -> str:
        return "text without control tokens" + (" or a list of token ids" if self.tokens else "")


@dataclass(frozen=True)
class Punctuation(Kind):
    """A string of single characters; blanks count."""

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
    """Token ids as a list, one number or a comma-separated string. -1 stands for Whisper's set."""

    is_list = True

    @override
    def read(self, value: object, limits: OptionLimits) -> tuple[int, ...]:
        return _token_ids(value, least=-1)

    @override
    def allowed(self, limits: OptionLimits) -> str:
        return "a list of token ids, where -1 stands for the symbols that no one says; [] for none"


def _token_ids(value: object, least: int) -> tuple[int, ...]:
    ids = tuple(number(token) for token in items(value))
    if any(token != int(token) or not least <= token <= _MOST_TOKENS for token in ids):
        raise ValueError
    return tuple(int(token) for token in ids)

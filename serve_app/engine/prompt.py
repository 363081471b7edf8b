"""The tokens before a window's text: what they mean, and whether they leave room for it."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from faster_whisper import WhisperModel
from faster_whisper.tokenizer import Tokenizer

from serve_app.errors import InvalidOption
from serve_app.options import TranscribeOptions


@dataclass(frozen=True)
class Vocabulary:
    """``tokenizer`` is a ``tokenizers.Tokenizer``; the other fields are ids of its control
    tokens.
    """

    tokenizer: Any
    sot: int
    eot: int
    no_timestamps: int

    @classmethod
    def of(cls, tokenizer: Any) -> "Vocabulary":
        """The vocabulary of a model's tokenizer."""
        return cls(
            tokenizer,
            sot=tokenizer.token_to_id("<|startoftranscript|>"),
            eot=tokenizer.token_to_id("<|endoftext|>"),
            no_timestamps=tokenizer.token_to_id("<|notimestamps|>"),
        )

    def words_of(self, tokens: Sequence[int]) -> list[int]:
        """``tokens`` without control tokens and timestamps."""
        return [token for token in tokens if token < self.eot]

    def text(self, tokens: Sequence[int]) -> str:
        """What ``tokens`` spell, without control tokens and timestamps."""
        text: str = self.tokenizer.decode(self.words_of(tokens))
        return text

    def language_token(self, code: str) -> int | None:
        """The id of a language; None if the model does not know it."""
        token: int | None = self.tokenizer.token_to_id(f"<|{code}|>")
        return token

    def language_code(self, token: int) -> str:
        """Whisper's code of a language token, such as ``en``."""
        name: str = self.tokenizer.id_to_token(token)
        return name[2:-2]

    def in_language(self, prompt: Sequence[int], language: int) -> tuple[int, ...]:
        """``prompt`` with another language, which follows the start token of a multilingual
        model.
        """
        place = prompt.index(self.sot) + 1
        return (*prompt[:place], language, *prompt[place + 1 :])

    def text_language(self, prompt: Sequence[int]) -> str:
        """The code of the language of the text that follows ``prompt``. Translations are into
        English, which is also the only language of some models.
        """
        control = self.start_sequence(prompt)
        if len(control) == 1 or control[2] == self.tokenizer.token_to_id("<|translate|>"):
            return "en"
        return self.language_code(control[1])

    def start_sequence(self, prompt: Sequence[int]) -> Sequence[int]:
        """The control tokens at the end of ``prompt``: the start and, for a multilingual model, the
        language and the task. The token that forbids timestamps is not one of them.
        """
        start = prompt.index(self.sot)
        end = len(prompt) - (prompt[-1] == self.no_timestamps)
        return prompt[start:end]

    def prompt_shape(self, prompt: Sequence[int]) -> tuple[int, int, bool]:
        """What must be equal in a batch (ctranslate2 4.8 src/models/whisper.cc).

        These are the position of the start token, the prompt's length, and whether timestamps are
        wanted. CTranslate2 reads the last one from the batch's first prompt only.
        """
        return (prompt.index(self.sot), len(prompt), self.no_timestamps in prompt)


def request_prompt(
    whisper: WhisperModel,
    tokenizer: Tokenizer,
    options: TranscribeOptions,
    *,
    without_timestamps: bool,
    batched: bool,
) -> list[int]:
    """The prompt of a request's first window, as faster-whisper builds it.

    The batched pipeline encodes the initial prompt as it is and ignores the prefix. The sequential
    one puts a blank before the prompt. Raises ``InvalidOption`` if the caller's texts leave no room
    for the window's text, in this window or in a later one.
    """
    previous: Sequence[int] = ()
    if isinstance(options.initial_prompt, tuple):
        previous = options.initial_prompt
    elif options.initial_prompt is not None:
        text = options.initial_prompt if batched else f" {options.initial_prompt.strip()}"
        previous = tokenizer.encode(text)

    def prompt_of(previous: Sequence[int], prefix: str | None) -> list[int]:
        prompt: list[int] = whisper.get_prompt(
            tokenizer,
            list(previous),
            without_timestamps=without_timestamps,
            prefix=prefix,
            hotwords=options.hotwords,
        )
        return prompt

    first = prompt_of(previous, None if batched else options.prefix)
    # Only the first window has the prefix, beside which faster-whisper leaves out the hotwords.
    for prompt in (first, prompt_of((), None)):
        if room_beside(whisper, prompt, options) < 0:
            raise _too_long(whisper, prompt, options)
    return first


def room_beside(whisper: WhisperModel, prompt: Sequence[int], options: TranscribeOptions) -> int:
    """How many tokens longer ``prompt`` may be; negative if it is already too long.

    The decoder holds prompt and text together, in ``whisper.max_length`` tokens.
    """
    room: int = whisper.max_length - len(prompt) - (options.max_new_tokens or 1)
    return room


def _too_long(
    whisper: WhisperModel, prompt: Sequence[int], options: TranscribeOptions
) -> InvalidOption:
    asked = {
        "initial_prompt": options.initial_prompt,
        "hotwords": options.hotwords,
        "prefix": options.prefix,
        "max_new_tokens": options.max_new_tokens,
    }
    names = [name for name, value in asked.items() if value is not None]
    text = "the text" if options.max_new_tokens is None else f"{options.max_new_tokens} new tokens"
    return InvalidOption(
        f"{' with '.join(names)}: the prompt takes {len(prompt)} of the decoder's "
        f"{whisper.max_length} tokens, which leaves no room for {text}; shorten the prompt"
        f"{'' if options.max_new_tokens is None else ' or lower max_new_tokens'}",
        field=names[0],
    )

"""The model's tokens: those with a meaning of their own, and the way from tokens to text."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Vocabulary:
    """``tokenizer`` is a ``tokenizers.Tokenizer``; the others are ids of its control tokens."""

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
        """The id of a language, None if the model does not know it."""
        token: int | None = self.tokenizer.token_to_id(f"<|{code}|>")
        return token

    def language_code(self, token: int) -> str:
        """Whisper's code of a language token, such as ``en``."""
        name: str = self.tokenizer.id_to_token(token)
        return name[2:-2]

    def in_language(self, prompt: Sequence[int], language: int) -> tuple[int, ...]:
        """``prompt`` of a multilingual model with another language: it follows the start token."""
        place = prompt.index(self.sot) + 1
        return (*prompt[:place], language, *prompt[place + 1 :])

    def prompt_shape(self, prompt: Sequence[int]) -> tuple[int, int, bool]:
        """What must be equal in a batch (ctranslate2 4.8 src/models/whisper.cc).

        The position of the start token, the prompt's length, and whether timestamps are wanted,
        which CTranslate2 reads off the batch's first prompt only.
        """
        return (prompt.index(self.sot), len(prompt), self.no_timestamps in prompt)

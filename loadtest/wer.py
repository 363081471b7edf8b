"""Word error rate under one normaliser: Whisper's own (Radford et al. 2022, appendix C).

English goes through ``EnglishTextNormalizer``, every other language through
``BasicTextNormalizer``, both as packaged by ``whisper-normalizer``. Languages written without
spaces (appendix D of the paper) are scored by character, spaces removed: a character error rate.
The basic normaliser turns combining marks into spaces, so that a "word" of Hindi is a fragment of
one: figures of such languages compare two systems, they are not word error rates.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from importlib.metadata import version

import jiwer
from whisper_normalizer.basic import BasicTextNormalizer
from whisper_normalizer.english import EnglishTextNormalizer

CHARACTER_LANGUAGES = frozenset({"ja", "zh", "yue", "th", "lo", "my"})
"""Scored by character, as in Radford et al. 2022 (Cantonese as Chinese)."""

NORMALISER = (
    f"whisper-normalizer {version('whisper-normalizer')}: EnglishTextNormalizer for en, "
    "BasicTextNormalizer otherwise; by character for " + ", ".join(sorted(CHARACTER_LANGUAGES))
)
"""The description of the normaliser beside every figure."""


@dataclass(frozen=True)
class Errors:
    """Edit counts of hypotheses against references, in words (or characters); they add up."""

    substitutions: int = 0
    deletions: int = 0
    insertions: int = 0
    n_reference: int = 0

    def __add__(self, other: "Errors") -> "Errors":
        return Errors(
            self.substitutions + other.substitutions,
            self.deletions + other.deletions,
            self.insertions + other.insertions,
            self.n_reference + other.n_reference,
        )

    @property
    def total(self) -> int:
        """Substitutions, deletions and insertions together: the edit distance."""
        return self.substitutions + self.deletions + self.insertions

    @property
    def rate(self) -> float:
        """Errors per reference word, 0.0 and up (insertions can exceed 1.0).

        Without reference words: 0.0 if nothing was inserted, else infinity.
        """
        if self.n_reference == 0:
            return float("inf") if self.total else 0.0
        return self.total / self.n_reference


def normalised_units(text: str, language: str) -> list[str]:
    """The words of ``text`` that are scored, or its characters in ``CHARACTER_LANGUAGES``."""
    normalised: str = _normaliser(language == "en")(text)
    if language in CHARACTER_LANGUAGES:
        return [character for character in normalised if not character.isspace()]
    return normalised.split()


def word_errors(reference: str, hypothesis: str, language: str) -> Errors:
    """Errors of ``hypothesis``, both texts normalised for ``language`` (ISO 639-1)."""
    expected = normalised_units(reference, language)
    heard = normalised_units(hypothesis, language)
    if not expected:
        return Errors(insertions=len(heard))
    alignment = jiwer.process_words(" ".join(expected), " ".join(heard))
    return Errors(
        substitutions=alignment.substitutions,
        deletions=alignment.deletions,
        insertions=alignment.insertions,
        n_reference=len(expected),
    )


def corpus_errors(errors: Iterable[Errors]) -> Errors:
    """Sum over clips; its ``rate`` weighs every reference word alike, not every clip."""
    return sum(errors, Errors())


@cache
def _normaliser(english: bool) -> EnglishTextNormalizer | BasicTextNormalizer:
    return EnglishTextNormalizer() if english else BasicTextNormalizer()

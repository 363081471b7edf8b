"""What the files of an unnamed model tell about it."""

import json
from pathlib import Path

from models.errors import ModelInvalid

#: openai/whisper: ``is_multilingual = n_vocab >= 51865``; English-only models have one id less.
MULTILINGUAL_VOCABULARY_SIZE = 51_865


def is_multilingual(directory: Path) -> bool:
    """Whether the model's vocabulary is a multilingual one; raises ``ModelInvalid``.

    An English distillation may have that vocabulary as well; only the catalogue knows.
    """
    return vocabulary_size(directory) >= MULTILINGUAL_VOCABULARY_SIZE


def vocabulary_size(directory: Path) -> int:
    """Number of tokens in CTranslate2's vocabulary file; raises ``ModelInvalid``."""
    path = directory / "vocabulary.json"
    if path.is_file():
        try:
            tokens = json.loads(path.read_bytes())
        except ValueError as error:
            raise ModelInvalid(f"{path} is not JSON: {error}") from error
        if not isinstance(tokens, list):
            raise ModelInvalid(f"{path} is not a list of tokens")
        return len(tokens)
    # One token a line; bytes, since a token need not be valid UTF-8.
    return (directory / "vocabulary.txt").read_bytes().rstrip(b"\n").count(b"\n") + 1

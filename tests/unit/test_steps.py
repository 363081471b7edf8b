"""Which windows may share a batch."""

from collections.abc import Hashable, Sequence
from typing import Any

import numpy as np
import pytest
from faster_whisper.tokenizer import Tokenizer

from serve_app.engine.engine import Engine
from serve_app.engine.steps import Encoded, generate_step

OPTIONS = {"beam_size": 5, "patience": 1.0, "max_length": 448, "suppress_tokens": [1, 2]}


def key_of(engine: Engine, prompt: Sequence[int], n_frames: int = 3_000, **other: Any) -> Hashable:
    encoded = Encoded(np.zeros((1, n_frames // 2, 4), np.float32), n_frames)
    return generate_step(encoded, prompt, {**OPTIONS, **other}, engine.vocabulary).key


def prompt(engine: Engine, task: str = "transcribe", language: str = "en") -> list[int]:
    tokenizer = Tokenizer(engine.whisper.hf_tokenizer, True, task, language)
    return [*tokenizer.sot_sequence, tokenizer.no_timestamps]


@pytest.mark.parametrize(
    "other",
    [
        {"beam_size": 4},
        {"patience": 2.0},
        {"max_length": 96},
        {"suppress_tokens": [1]},
        {"repetition_penalty": 1.1},
        {"n_frames": 800},
    ],
)
def test_windows_that_are_decoded_in_another_way_do_not(base: Engine, other: Any) -> None:
    given = prompt(base)
    assert key_of(base, given) == key_of(base, given)
    assert key_of(base, given, **other) != key_of(base, given)


def test_windows_whose_prompts_are_built_alike_do(base: Engine) -> None:
    keys = {
        key_of(base, prompt(base, task, language))
        for task in ("transcribe", "translate")
        for language in ("en", "de")
    }
    assert len(keys) == 1


def test_windows_whose_prompts_are_built_otherwise_do_not(base: Engine) -> None:
    plain = prompt(base)
    with_timestamps = [*plain[:-1], 50]  # as long as the plain one
    prompts = [plain, with_timestamps, [50, *plain], [*plain, 50], [50, 51, *plain[:-1]]]
    assert len({key_of(base, given) for given in prompts}) == len(prompts)

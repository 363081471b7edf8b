"""A request's answer does not depend on what else is in its batch."""

import random
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from loadtest.server import Server
from loadtest.speech import registry_clips
from tests.contract.wire import post

LOGPROB_TOLERANCE = 1e-3
"""Floats are summed in another order in a batch of another shape or with other threads. The CPU
kernels of CTranslate2 have given the same bits throughout; one part in a thousand leaves room for
other processors, while a mix-up of rows, padding or prompts shows in the first digit."""
TIME_TOLERANCE_SECONDS = 0.02
"""One step of Whisper's timestamp tokens and of word alignment."""

VARIANTS: tuple[Mapping[str, Any], ...] = (
    {"batch_size": 8},
    {"batch_size": 8, "word_timestamps": True},
    {"batch_size": 1, "condition_on_previous_text": True},
    {"batch_size": 8, "task": "translate"},
    {"batch_size": 8, "language": None},
    {"batch_size": 8, "beam_size": 2, "without_timestamps": True},
    {"batch_size": 8, "initial_prompt": "Glossary: Whisper, Ray, Serve."},
)


def test_answers_are_the_same_alone_and_among_random_batch_mates(base: Server) -> None:
    rng = random.Random(0)
    requests = [
        # At temperature 0 only: fallback draws tokens at random.
        (clip.audio_bytes(), {"language": clip.language, "temperature": 0, **variant})
        for clip, variant in zip(
            rng.sample(registry_clips(), 2 * len(VARIANTS)), 2 * VARIANTS, strict=True
        )
    ]

    def answer(request: tuple[bytes, dict[str, Any]]) -> dict[str, Any]:
        response = post(f"{base.url}/transcribe", *request)
        assert response.status_code == 200, response.text
        body: dict[str, Any] = response.json()
        return body

    alone = [answer(request) for request in requests]
    order = rng.sample(range(len(requests)), len(requests))
    with ThreadPoolExecutor(len(requests)) as threads:
        together = list(threads.map(lambda number: answer(requests[number]), order))
    for number, mixed in zip(order, together, strict=True):
        assert_same(alone[number], mixed)


def assert_same(alone: dict[str, Any], mixed: dict[str, Any]) -> None:
    """Texts to the letter; times and confidences within the tolerances."""
    assert mixed["language"] == alone["language"]
    assert [s["text"] for s in mixed["segments"]] == [s["text"] for s in alone["segments"]]
    for mine, other in zip(mixed["segments"], alone["segments"], strict=True):
        assert mine["sequence_confidence"] == pytest.approx(
            other["sequence_confidence"], abs=LOGPROB_TOLERANCE
        )
        pairs = [(mine, other)]
        assert (mine["words"] is None) == (other["words"] is None)
        if mine["words"]:
            assert [w["word"] for w in mine["words"]] == [w["word"] for w in other["words"]]
            pairs += zip(mine["words"], other["words"], strict=True)
        for one, two in pairs:
            for edge in ("start", "end"):
                assert one[edge] == pytest.approx(two[edge], abs=TIME_TOLERANCE_SECONDS)
            assert one.get("probability") == pytest.approx(
                two.get("probability"), abs=LOGPROB_TOLERANCE
            )

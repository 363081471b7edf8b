"""The one primitive: a window is encoded, its language detected, its text decoded and aligned.

Everything that turns speech into text is a caller of :meth:`Ear.hearing`.
"""

from collections.abc import Generator, Hashable, Mapping, Sequence
from dataclasses import dataclass
from math import ceil
from typing import Any

import numpy as np
import numpy.typing as npt

from serve_app import metrics
from serve_app.engine.attempts import (
    Attempt,
    Checks,
    average_logprob,
    best_of_failed,
    bounded,
    ends_in_repetition,
    first_bound,
    sampling_options,
    settled,
)
from serve_app.engine.prompt import Vocabulary
from serve_app.engine.queue import Stage, Step
from serve_app.engine.window import (
    FULL_FRAMES,
    MEL_FRAMES_PER_SECOND,
    Heard,
    Policy,
    Window,
)

WIDEN = Checks(compression_ratio=2.4, log_prob=-1.0, no_speech=None)
"""When a window that was encoded in part is decoded again in full, whatever the caller's own
thresholds: the text must not suffer from the cut."""

MEDIAN_FILTER_WIDTH = 7
"""Of the alignment, as faster-whisper sets it."""


@dataclass(frozen=True)
class Encoded:
    """Encoder output, [1, n_frames / 2, d_model], of a window's first ``n_frames`` mel frames."""

    output: npt.NDArray[Any]
    n_frames: int


def encode_step(mel: npt.NDArray[np.float32]) -> Step:
    """Encode a padded window, float32 [1, n_mels, n_frames]; gives [1, n_frames / 2, d_model]."""
    n_frames = mel.shape[-1]
    return Step(Stage.ENCODE, mel.shape[1:], mel, n_frames / MEL_FRAMES_PER_SECOND)


def detect_step(encoded: Encoded) -> Step:
    """Detect the language: (language token, probability) pairs, best first."""
    return Step(Stage.DETECT, ((), encoded.n_frames), (encoded.output, None))


def generate_step(
    encoded: Encoded,
    prompt: Sequence[int],
    options: Mapping[str, Any],
    vocabulary: Vocabulary,
) -> Step:
    """Decode: a ``WhisperGenerationResult``."""
    key = (hashable(options), vocabulary.prompt_shape(prompt), encoded.n_frames)
    return Step(Stage.GENERATE, key, (encoded.output, list(prompt)))


def align_step(
    encoded: Encoded,
    start_sequence: Sequence[int],
    text_tokens: Sequence[int],
    n_audio_frames: int,
    options: Mapping[str, Any],
) -> Step:
    """Align ``text_tokens`` with the first ``n_audio_frames``: a ``WhisperAlignmentResult``."""
    key = (hashable({**options, "start_sequence": start_sequence}), encoded.n_frames)
    return Step(Stage.ALIGN, key, (encoded.output, (list(text_tokens), n_audio_frames)))


def hashable(options: Mapping[str, Any]) -> Hashable:
    """Options in an order of their own, lists as tuples."""
    return tuple(
        sorted(
            (name, tuple(value) if isinstance(value, (list, tuple)) else value)
            for name, value in options.items()
        )
    )


class Ear:
    """Makes the hearings of one model."""

    def __init__(self, vocabulary: Vocabulary, sink: metrics.Sink = metrics.NO_METRICS) -> None:
        self._vocabulary = vocabulary
        self._sink = sink

    def hearing(self, window: Window, policy: Policy) -> Generator[Step, Any, Heard]:
        """The steps of one window, and what was heard in it."""
        n_frames = window.context_frames(policy.context_margin_seconds)
        encoded = Encoded((yield encode_step(window.padded(n_frames))), n_frames)
        prompt, language, probability = policy.prompt, None, 0.0
        if policy.detects_language:
            name, probability = (yield detect_step(encoded))[0]
            language = self._vocabulary.tokenizer.token_to_id(name)
            prompt = self._vocabulary.in_language(prompt, language)
        encoded, best = yield from self._decode(window, encoded, prompt, policy)
        alignment = None
        words = self._vocabulary.words_of(best.tokens)
        if policy.aligns and words:
            alignment = yield align_step(
                encoded,
                self._start_sequence(prompt),
                words,
                # Whole seconds, as faster-whisper's batched pipeline has it.
                ceil(window.seconds) * MEL_FRAMES_PER_SECOND,
                {"median_filter_width": MEDIAN_FILTER_WIDTH},
            )
        return Heard(best, language, probability, alignment)

    def _decode(
        self, window: Window, encoded: Encoded, prompt: Sequence[int], policy: Policy
    ) -> Generator[Step, Any, tuple[Encoded, Attempt]]:
        """The best attempt at a window, and the encoding that it was made with."""
        attempt = (yield from self._attempts(encoded, prompt, policy.options))[0]
        if encoded.n_frames < FULL_FRAMES and _is_doubtful(attempt):
            encoded = Encoded((yield encode_step(window.padded(FULL_FRAMES))), FULL_FRAMES)
            attempt = (yield from self._attempts(encoded, prompt, policy.options))[0]
        failed = []
        bound = first_bound(attempt, policy.checks)
        for temperature in policy.temperatures[1:]:
            if not policy.checks.fails(attempt):
                return encoded, attempt
            if temperature > 0:  # at 0 the text stays the same
                failed.append(attempt)
                self._sink.count(metrics.FALLBACKS)
                options = sampling_options(policy.options, temperature, policy.best_of)
                attempt = yield from self._sample(encoded, prompt, options, bound, policy.checks)
        if failed and policy.checks.fails(attempt):
            attempt = best_of_failed([*failed, attempt], policy.checks)
        return encoded, attempt

    def _sample(
        self,
        encoded: Encoded,
        prompt: Sequence[int],
        options: dict[str, Any],
        bound: int,
        checks: Checks,
    ) -> Generator[Step, Any, Attempt]:
        """One attempt above temperature 0."""
        stopped = bounded(options, len(prompt), bound)
        if stopped is not None:
            samples = yield from self._attempts(encoded, prompt, stopped)
            if (sample := settled(samples, bound, checks.fails)) is not None:
                return sample
        return (yield from self._attempts(encoded, prompt, options))[0]

    def _attempts(
        self, encoded: Encoded, prompt: Sequence[int], options: Mapping[str, Any]
    ) -> Generator[Step, Any, list[Attempt]]:
        """All hypotheses of one decoding, most probable first."""
        result = yield generate_step(encoded, prompt, options, self._vocabulary)
        return [
            Attempt(
                tokens=tuple(tokens),
                text=self._vocabulary.text(tokens).strip(),
                avg_logprob=average_logprob(score, len(tokens), options["length_penalty"]),
                no_speech_prob=result.no_speech_prob,
                temperature=options["sampling_temperature"],
            )
            for tokens, score in zip(result.sequences_ids, result.scores, strict=True)
        ]

    def _start_sequence(self, prompt: Sequence[int]) -> Sequence[int]:
        """The control tokens of a prompt: start, language and task, without a prefix."""
        start = prompt.index(self._vocabulary.sot)
        end = next(
            (n for n in range(start, len(prompt)) if prompt[n] == self._vocabulary.no_timestamps),
            len(prompt),
        )
        return prompt[start:end]


def _is_doubtful(attempt: Attempt) -> bool:
    return WIDEN.fails(attempt) or ends_in_repetition(attempt.text)

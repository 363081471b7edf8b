"""Decoding windows again where the first attempt is not good enough.

Two reasons to try again: a window whose padding was cut (:mod:`serve_app.engine.audio_context`)
gets its full context back, and a window of the batched pipeline, which has no temperature fallback
of its own, gets the next temperatures as faster-whisper's sequential pipeline gives them, save that
samples which run away are stopped (:mod:`serve_app.engine.sampling`).
"""

from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any, Protocol

from serve_app.engine.checks import (
    Checks,
    Decoded,
    average_logprob,
    compression_ratio,
    ends_in_repetition,
)
from serve_app.engine.policy import Stage
from serve_app.engine.sampling import FIRST_BOUND, bound_after, bounded, settled
from serve_app.metrics import catalogue as metrics

Key = tuple[tuple[str, Hashable], ...]

WIDEN = Checks(compression_ratio=2.4, log_prob=-1.0, no_speech=None)
"""When a window that was encoded in part is decoded again in full, whatever the caller's own
thresholds: it must come out no worse than without the cut."""


class Decodable(Protocol):
    """A window, as :class:`serve_app.engine.window_model.EncodedWindow` is one."""

    @property
    def is_partial(self) -> bool:
        """Whether its padding was cut."""

    def widen(self) -> None:
        """Encode it whole."""

    def decode(self, stage: Stage, key: Key, payload: Any) -> "Future[Any]":
        """Queue a decoder stage."""


@dataclass(frozen=True)
class SpecialTokens:
    """The token ids that decide which prompts CTranslate2 can decode in one batch."""

    sot: int
    no_timestamps: int
    eot: int

    def shape(self, prompt: Sequence[int]) -> tuple[int, int, bool]:
        """What must be equal in a batch (ctranslate2 4.8 src/models/whisper.cc): position of
        ``<|startoftranscript|>``, prompt length, and whether timestamps are wanted, which is read
        off the batch's first prompt only.
        """
        return (prompt.index(self.sot), len(prompt), self.no_timestamps in prompt)


class Attempts:
    """The attempts of one request. ``temperatures`` are those after the first; none: no fallback.

    ``decode_text`` turns token ids into text without special tokens.
    """

    def __init__(
        self,
        tokens: SpecialTokens,
        decode_text: Callable[[Sequence[int]], str],
        checks: Checks,
        temperatures: Sequence[float],
        best_of: int,
        *,
        sink: metrics.Sink = metrics.NO_METRICS,
    ) -> None:
        self._sink = sink
        self._tokens = tokens
        self._decode_text = decode_text
        self._checks = checks
        self._temperatures = [t for t in temperatures if t > 0]  # at 0 the text stays the same
        self._best_of = best_of

    def generate(
        self,
        windows: Sequence[Decodable],
        prompts: Sequence[Sequence[int]],
        options: dict[str, Any],
    ) -> list[Any]:
        """One ``WhisperGenerationResult`` per window."""
        everything = range(len(windows))
        results = self._decode(windows, prompts, dict.fromkeys(everything, options))
        length_penalty = options["length_penalty"]

        def judge(result: Any) -> Decoded:
            return self._judge(result, length_penalty)

        def fails(result: Any) -> bool:
            return self._checks.fails(judge(result))

        again = [n for n in everything if windows[n].is_partial and _is_doubtful(judge(results[n]))]
        for n in again:
            windows[n].widen()
        results |= self._decode(windows, prompts, dict.fromkeys(again, options))
        if not self._temperatures:
            return [results[n] for n in everything]

        attempts = {n: [results[n]] for n in everything if fails(results[n])}
        bounds = {n: self._bound(results[n], judge(results[n])) for n in attempts}
        left = list(attempts)
        for temperature in self._temperatures:
            self._sink.count(metrics.FALLBACKS, len(left))
            asked = dict.fromkeys(left, self._sampling(options, temperature))
            for n, result in self._sample(windows, prompts, asked, bounds, fails).items():
                results[n] = result
                attempts[n].append(result)
            left = [n for n in left if fails(results[n])]
        for n in left:  # all failed: the most probable that does not repeat itself
            judged = [(judge(result), result) for result in attempts[n]]
            sound = [pair for pair in judged if not self._checks.is_repetitive(pair[0])]
            results[n] = max(sound or judged, key=lambda pair: pair[0].avg_logprob)[1]
        return [results[n] for n in everything]

    def _sample(
        self,
        windows: Sequence[Decodable],
        prompts: Sequence[Sequence[int]],
        asked: Mapping[int, dict[str, Any]],
        bounds: Mapping[int, int],
        fails: Callable[[Any], bool],
    ) -> dict[int, Any]:
        """One attempt above temperature 0 per window of ``asked``; ``bounds``: tokens, of each."""
        stopped = {
            n: options
            for n, unbounded in asked.items()
            if (options := bounded(unbounded, len(prompts[n]), bounds[n])) is not None
        }
        sampled = {
            n: hypothesis
            for n, result in self._decode(windows, prompts, stopped).items()
            if (hypothesis := settled(result, bounds[n], fails)) is not None
        }
        unsettled = {n: options for n, options in asked.items() if n not in sampled}
        return sampled | self._decode(windows, prompts, unsettled)

    def _decode(
        self,
        windows: Sequence[Decodable],
        prompts: Sequence[Sequence[int]],
        asked: Mapping[int, dict[str, Any]],
    ) -> dict[int, Any]:
        """Decodes the windows of ``asked``, which has each one's options."""
        results = gather(
            windows[n].decode(
                Stage.GENERATE,
                (*hashable(options), ("prompt_shape", self._tokens.shape(prompts[n]))),
                list(prompts[n]),
            )
            for n, options in asked.items()
        )
        return dict(zip(asked, results, strict=True))

    def _bound(self, result: Any, decoded: Decoded) -> int:
        """Where to stop samples of a window whose first attempt failed: of one that repeats itself
        the length says nothing.
        """
        if self._checks.is_repetitive(decoded):
            return FIRST_BOUND
        return bound_after(len(result.sequences_ids[0]))

    def _sampling(self, options: dict[str, Any], temperature: float) -> dict[str, Any]:
        """Decode options as faster-whisper sets them above temperature 0."""
        changed = {name: value for name, value in options.items() if name != "patience"}
        return {
            **changed,
            "beam_size": 1,
            "num_hypotheses": self._best_of,
            "sampling_topk": 0,
            "sampling_temperature": temperature,
        }

    def _judge(self, result: Any, length_penalty: float) -> Decoded:
        tokens = result.sequences_ids[0]
        text = self._decode_text(tokens).strip()
        return Decoded(
            avg_logprob=average_logprob(result.scores[0], len(tokens), length_penalty),
            compression_ratio=compression_ratio(text),
            no_speech_prob=result.no_speech_prob,
            text=text,
        )


def _is_doubtful(decoded: Decoded) -> bool:
    return WIDEN.fails(decoded) or ends_in_repetition(decoded.text)


def hashable(options: dict[str, Any]) -> Key:
    """Options in an order of their own, lists as tuples."""
    return tuple(
        sorted(
            (name, tuple(value) if isinstance(value, (list, tuple)) else value)
            for name, value in options.items()
        )
    )


def gather(futures: "Iterable[Future[Any]]") -> list[Any]:
    """Results in order. Every window is queued before the first is waited for."""
    queued = list(futures)
    return [future.result() for future in queued]

"""Decoding windows again where the first attempt is not good enough.

Two reasons to try again: a window whose padding was cut (:mod:`serve_app.engine.audio_context`)
gets its full context back, and a window of the batched pipeline, which has no temperature fallback
of its own, gets the next temperatures as faster-whisper's sequential pipeline gives them.
"""

from collections.abc import Callable, Hashable, Iterable, Sequence
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
        self._temperatures = temperatures
        self._best_of = best_of

    def generate(
        self,
        windows: Sequence[Decodable],
        prompts: Sequence[Sequence[int]],
        options: dict[str, Any],
    ) -> list[Any]:
        """One ``WhisperGenerationResult`` per window."""
        everything = range(len(windows))
        results = dict(enumerate(self._decode(windows, prompts, options, everything)))
        length_penalty = options["length_penalty"]

        def failing(among: Iterable[int]) -> list[int]:
            return [n for n in among if self._checks.fails(self._judge(results[n], length_penalty))]

        again = [
            n
            for n in everything
            if windows[n].is_partial and _is_doubtful(self._judge(results[n], length_penalty))
        ]
        for n in again:
            windows[n].widen()
        for n, result in zip(again, self._decode(windows, prompts, options, again), strict=True):
            results[n] = result

        attempts = {n: [results[n]] for n in failing(everything)} if self._temperatures else {}
        left = list(attempts)
        for temperature in self._temperatures:
            sampling = self._sampling(options, temperature)
            for n, result in zip(left, self._decode(windows, prompts, sampling, left), strict=True):
                attempts[n].append(result)
                results[n] = result
            left = failing(left)
        for n in left:  # all failed: the most probable that does not repeat itself
            judged = [(self._judge(result, length_penalty), result) for result in attempts[n]]
            sound = [pair for pair in judged if not self._checks.is_repetitive(pair[0])]
            results[n] = max(sound or judged, key=lambda pair: pair[0].avg_logprob)[1]
        return [results[n] for n in everything]

    def _decode(
        self,
        windows: Sequence[Decodable],
        prompts: Sequence[Sequence[int]],
        options: dict[str, Any],
        chosen: Sequence[int],
    ) -> list[Any]:
        if options.get("sampling_temperature"):
            self._sink.count(metrics.FALLBACKS, len(chosen))
        shared = hashable(options)
        return gather(
            windows[n].decode(
                Stage.GENERATE,
                (*shared, ("prompt_shape", self._tokens.shape(prompts[n]))),
                list(prompts[n]),
            )
            for n in chosen
        )

    def _sampling(self, options: dict[str, Any], temperature: float) -> dict[str, Any]:
        """Decode options as faster-whisper sets them above temperature 0."""
        if temperature <= 0:
            return options
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

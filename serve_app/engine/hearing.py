"""The one primitive: a window is encoded, its text decoded and checked, and its words aligned.

Everything that turns speech into text calls :meth:`Ear.hearing`.
"""

from collections.abc import Generator, Sequence
from math import ceil
from typing import Any

from faster_whisper import WhisperModel
from faster_whisper.tokenizer import Tokenizer

from serve_app import metrics
from serve_app.engine.attempts import (
    Attempt,
    Checks,
    average_logprob,
    best_of_failed,
    best_of_samples,
    bounded,
    ends_in_repetition,
    length_bound,
    sample_bound,
    sampling_options,
    samplings,
)
from serve_app.engine.prompt import Vocabulary
from serve_app.engine.queue import Step
from serve_app.engine.silence import SilentTail
from serve_app.engine.steps import Encoded, align_step, detect_step, encode_step, generate_step
from serve_app.engine.window import (
    FULL,
    MEL_FRAMES_PER_SECOND,
    Context,
    Detection,
    Policy,
    Window,
    short_context,
    wide_context,
)
from serve_app.engine.words import Heard, HeardWord, aligned_words, trimmed

WIDEN = Checks(compression_ratio=2.4, log_prob=-0.6, no_speech=None)
"""When a window is encoded again with a wider context. These thresholds do not depend on the
caller's, because the short context must not harm the text."""

SURE_LOGPROB = -0.25
"""A text that is this probable per token is in the right language, so no other one is tried. None
of 468 windows that were decoded in a wrong language reached this value."""

OTHER_LANGUAGE_PROBABILITY = 0.9
OTHER_LANGUAGE_GAIN = 0.1
"""Another language than the caller's is believed if the model detects it with this probability and
its text is more probable per token by this much."""

MEDIAN_FILTER_WIDTH = 7
"""For the alignment; faster-whisper's value."""

Words = tuple[HeardWord, ...]


class Ear:
    """Makes the hearings for one model.

    ``tail`` follows what is encoded of a short window. ``encodes_batches`` may be set: windows are
    encoded several at a time, so there must be few lengths of them.
    """

    def __init__(
        self,
        whisper: WhisperModel,
        vocabulary: Vocabulary,
        tail: SilentTail,
        sink: metrics.Sink = metrics.NO_METRICS,
    ) -> None:
        self.whisper = whisper
        self.vocabulary = vocabulary
        self.tail = tail
        self.sink = sink
        self.encodes_batches = False

    def hearing(self, window: Window, policy: Policy) -> Generator[Step, Any, Heard]:
        """The steps of one window, and what was heard in it."""
        return _Hearing(self, window, policy).steps()

    def tokenizer(self, language: str) -> Tokenizer:
        """What splits a text in a language into words."""
        whisper = self.whisper
        return Tokenizer(
            whisper.hf_tokenizer, whisper.model.is_multilingual, "transcribe", language
        )


class _Hearing:
    """One window on its way through the model."""

    def __init__(self, ear: Ear, window: Window, policy: Policy) -> None:
        self._ear = ear
        self._vocabulary = ear.vocabulary
        self._window = window
        self._policy = policy
        self._prompt: Sequence[int] = policy.prompt
        self._encoded: Encoded
        self._is_decoded = False
        self._bound: int
        self._language: int | None = None
        self._language_probability = 0.0

    def steps(self) -> Generator[Step, Any, Heard]:
        policy = self._policy
        context = short_context(self._window.seconds) if policy.partial_context else FULL
        can_widen = policy.widens and context != FULL
        self._bound = length_bound(context.most_seconds) * (1 if can_widen else 2)
        best = yield from self._first(context)
        if can_widen and _is_doubtful(best):
            self._bound *= 2
            best = yield from self._first(wide_context(self._window.seconds))
        if policy.detection is Detection.IN_DOUBT and not _is_sure(best):
            best = yield from self._other_language(best)
        if policy.checks.fails(best):
            best = yield from self._sample(best)
        words = (yield from self._align(best)) if policy.aligns else None
        return Heard(best, self._language, self._language_probability, words)

    def _first(self, context: Context) -> Generator[Step, Any, Attempt]:
        """Encode the window in a context, detect its language if it chooses its own, and decode."""
        yield from self._encode(context)
        if self._policy.detection is Detection.ALWAYS:
            self._language, self._language_probability = yield from self._detect()
            self._prompt = self._vocabulary.in_language(self._prompt, self._language)
        return (yield from self._decode())

    def _encode(self, context: Context) -> Generator[Step, Any, None]:
        n_frames = context.decoded if self._ear.encodes_batches else context.encoded
        output = yield encode_step(self._window.padded(n_frames))
        whole = self._ear.tail.after(output, context.decoded)
        self._encoded = Encoded(whole, context.decoded)
        self._is_decoded = False

    def _detect(self) -> Generator[Step, Any, tuple[int, float]]:
        """The token of the most probable language, and its probability."""
        name, probability = (yield detect_step(self._encoded))[0]
        return self._vocabulary.tokenizer.token_to_id(name), probability

    def _decode(self) -> Generator[Step, Any, Attempt]:
        """The first attempt with the encoding and the prompt at hand."""
        return (yield from self._attempts(self._prompt, self._policy.options, self._bound))[0]

    def _other_language(self, given: Attempt) -> Generator[Step, Any, Attempt]:
        """``given``, the text in the caller's language, or a text in a language that fits better.

        A window of noise or names is easily detected as any language. So the model must be certain
        of the other language, and its text must be clearly more probable.
        """
        token, probability = yield from self._detect()
        prompt = self._vocabulary.in_language(self._prompt, token)
        if prompt == self._prompt or probability < OTHER_LANGUAGE_PROBABILITY:
            return given
        callers, self._prompt = self._prompt, prompt
        other = yield from self._decode()
        gain = other.avg_logprob - given.avg_logprob
        if gain > OTHER_LANGUAGE_GAIN or (_is_doubtful(given) and not _is_doubtful(other)):
            return other
        self._prompt = callers
        return given

    def _sample(self, first: Attempt) -> Generator[Step, Any, Attempt]:
        """The best attempt when the ``first`` one fails: one at a higher temperature, or the first
        itself.
        """
        policy, bound = self._policy, sample_bound(first, self._policy.checks)
        failed = [first]
        for temperature in samplings(policy.temperatures[1:]):
            self._ear.sink.count(metrics.FALLBACKS)
            options = sampling_options(policy.options, temperature, policy.best_of)
            samples = yield from self._attempts(self._prompt, options, bound)
            best = best_of_samples(samples, policy.checks)
            if not policy.checks.fails(best):
                return best
            failed.append(best)
        return best_of_failed(failed, policy.checks)

    def _align(self, attempt: Attempt) -> Generator[Step, Any, Words]:
        """The words of an attempt, with their times in the window."""
        tokens = self._vocabulary.words_of(attempt.tokens)
        if not tokens:
            return ()
        alignment = yield align_step(
            self._encoded,
            self._vocabulary.start_sequence(self._prompt),
            tokens,
            # Whole seconds, as faster-whisper's batched pipeline has it. CTranslate2 does not check
            # that they are no more than was encoded.
            min(ceil(self._window.seconds) * MEL_FRAMES_PER_SECOND, self._encoded.n_frames),
            {"median_filter_width": MEDIAN_FILTER_WIDTH},
        )
        tokenizer = self._ear.tokenizer(self._vocabulary.text_language(self._prompt))
        words = aligned_words(self._ear.whisper, tokenizer, tokens, alignment, attempt)
        return tuple(trimmed(words))

    def _attempts(
        self, prompt: Sequence[int], options: dict[str, Any], bound: int
    ) -> Generator[Step, Any, list[Attempt]]:
        """All hypotheses of one decoding of at most ``bound`` tokens, most probable first."""
        stopped = bounded(options, len(prompt), bound)
        is_bounded = stopped["max_length"] < options["max_length"]
        step = generate_step(
            self._encoded, prompt, stopped, self._vocabulary, again=self._is_decoded
        )
        self._is_decoded = True
        result = yield step
        return [
            Attempt(
                tokens=tuple(tokens),
                text=self._vocabulary.text(tokens).strip(),
                avg_logprob=average_logprob(score, len(tokens), options["length_penalty"]),
                no_speech_prob=result.no_speech_prob,
                temperature=options["sampling_temperature"],
                is_cut=is_bounded and len(tokens) >= bound,
            )
            for tokens, score in zip(result.sequences_ids, result.scores, strict=True)
        ]


def _is_sure(attempt: Attempt) -> bool:
    return attempt.avg_logprob > SURE_LOGPROB and not _is_doubtful(attempt)


def _is_doubtful(attempt: Attempt) -> bool:
    return attempt.is_cut or WIDEN.fails(attempt) or ends_in_repetition(attempt.text)

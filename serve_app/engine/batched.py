"""The parallel pipeline: speech -> windows -> hearings -> segments.

It gives the text of faster-whisper's ``BatchedInferencePipeline``, without the barrier after each
group of windows and without a second encoding to detect the language.
"""

import asyncio
import copy
from collections.abc import Sequence
from dataclasses import dataclass, replace
from types import SimpleNamespace
from typing import Any

from faster_whisper import WhisperModel
from faster_whisper.tokenizer import Tokenizer
from faster_whisper.transcribe import Segment, Word, get_suppressed_tokens

from serve_app.engine.attempts import Checks, compression_ratio
from serve_app.engine.engine import Engine
from serve_app.engine.prompt import request_prompt
from serve_app.engine.request import Request
from serve_app.engine.speech import Cut, Samples
from serve_app.engine.window import MEL_FRAMES_PER_SECOND, Heard, Policy
from serve_app.options import TranscribeOptions

_NO_ALIGNMENT = SimpleNamespace(alignments=[], text_token_probs=[])
"""The alignment of a window without text."""


@dataclass(frozen=True)
class Language:
    """Whisper's code, and the probability with which it was detected (1.0 if it was given)."""

    code: str
    probability: float = 1.0


class BatchedPipeline:
    """Hears the windows of one request in parallel, ``batch_size`` of them at a time."""

    def __init__(self, engine: Engine, request: Request, options: TranscribeOptions) -> None:
        self._engine = engine
        self._request = request
        self._options = options
        self._slots = asyncio.Semaphore(options.batch_size)

    async def hear(
        self, samples: Samples, cuts: Sequence[Cut], language: Language | None
    ) -> tuple[list[Segment], Language]:
        """faster-whisper's segments of ``cuts``, on their own time line, and the language.

        ``language`` None: it is detected in the first windows.
        """
        heard: dict[int, Heard] = {}
        if language is None:
            language, heard = await self._listen(samples, cuts)
        tokenizer = self._tokenizer(language.code)
        policy = self._policy(tokenizer)
        hearings = {
            n: asyncio.ensure_future(self._hear_one(samples, cut, policy))
            for n, cut in enumerate(cuts)
            if n not in heard
        }
        try:
            heard.update(zip(hearings, await asyncio.gather(*hearings.values()), strict=True))
        finally:
            for hearing in hearings.values():  # those that a failure leaves behind
                hearing.cancel()
        in_order = [heard[n] for n in range(len(cuts))]
        return self._segments(cuts, in_order, tokenizer), language

    async def _listen(
        self, samples: Samples, cuts: Sequence[Cut]
    ) -> tuple[Language, dict[int, Heard]]:
        """Detect the language in the first windows; also what was heard in them, by their number.

        As in faster-whisper, one probability above the threshold settles it; if none of the windows
        that may be listened to has one, the language found most often wins.
        """
        vocabulary = self._engine.vocabulary
        policy = replace(self._policy(self._tokenizer("en")), detects_language=True)
        heard: list[Heard] = []
        for cut in cuts[: self._options.language_detection_segments]:
            heard.append(await self._hear_one(samples, cut, policy))
            if heard[-1].language_probability > self._options.language_detection_threshold:
                chosen = heard[-1]
                break
        else:
            found = [one.language for one in heard]
            chosen = max(
                heard, key=lambda one: (found.count(one.language), one.language_probability)
            )
        assert chosen.language is not None
        language = Language(vocabulary.language_code(chosen.language), chosen.language_probability)
        # What was heard in another language is heard again.
        kept = {
            n: one
            for n, one in enumerate(heard)
            if self._options.multilingual or one.language == chosen.language
        }
        return language, kept

    async def _hear_one(self, samples: Samples, cut: Cut, policy: Policy) -> Heard:
        engine = self._engine
        async with self._slots:
            window = await engine.prepare(cut.window, samples, engine.whisper.feature_extractor)
            return await engine.hear(self._request, window, policy)

    def _tokenizer(self, language: str) -> Tokenizer:
        whisper = self._engine.whisper
        multilingual = whisper.model.is_multilingual
        return Tokenizer(whisper.hf_tokenizer, multilingual, self._options.task, language)

    def _policy(self, tokenizer: Tokenizer) -> Policy:
        options, engine = self._options, self._engine
        without_timestamps = options.without_timestamps is not False
        prompt = request_prompt(
            engine.whisper, tokenizer, options, without_timestamps=without_timestamps, batched=True
        )
        max_length = engine.whisper.max_length
        if options.max_new_tokens is not None:
            max_length = len(prompt) + options.max_new_tokens
        suppressed = list(options.suppress_tokens)
        return Policy(
            prompt=tuple(prompt),
            options={
                "beam_size": options.beam_size,
                "patience": options.patience,
                "length_penalty": options.length_penalty,
                "max_length": max_length,
                "suppress_blank": options.suppress_blank,
                "suppress_tokens": suppressed and get_suppressed_tokens(tokenizer, suppressed),
                "return_scores": True,
                "return_no_speech_prob": True,
                "sampling_temperature": options.temperature[0],
                "repetition_penalty": options.repetition_penalty,
                "no_repeat_ngram_size": options.no_repeat_ngram_size,
            },
            checks=Checks.of(options),
            temperatures=options.temperature if engine.tunables.batched_fallback else (),
            best_of=options.best_of,
            detects_language=options.multilingual,
            context_margin_seconds=engine.tunables.context_margin_seconds,
            aligns=options.word_timestamps,
        )

    def _segments(
        self, cuts: Sequence[Cut], heard: Sequence[Heard], tokenizer: Tokenizer
    ) -> list[Segment]:
        whisper = self._engine.whisper
        windows = [_split(whisper, tokenizer, *pair) for pair in zip(cuts, heard, strict=True)]
        if self._options.word_timestamps:
            _add_words(whisper, tokenizer, windows, heard, self._options)
        return [segment for window in windows for segment in map(_segment, window)]


def _split(
    whisper: WhisperModel, tokenizer: Tokenizer, cut: Cut, heard: Heard
) -> list[dict[str, Any]]:
    """The segments of one window; without timestamp tokens it is one."""
    parts, _, _ = whisper._split_segments_by_timestamps(
        tokenizer=tokenizer,
        tokens=list(heard.best.tokens),
        time_offset=cut.offset_seconds,
        segment_size=0,  # only for where to seek next
        segment_duration=cut.seconds,
        seek=0,
    )
    best = heard.best
    for part in parts:
        part["text"] = tokenizer.decode(part["tokens"])
        part["avg_logprob"] = best.avg_logprob
        part["no_speech_prob"] = best.no_speech_prob
        part["compression_ratio"] = compression_ratio(part["text"])
        part["temperature"] = best.temperature
        part["seek"] = int(cut.offset_seconds * MEL_FRAMES_PER_SECOND)
    return list(parts)


def _add_words(
    whisper: WhisperModel,
    tokenizer: Tokenizer,
    windows: list[list[dict[str, Any]]],
    heard: Sequence[Heard],
    options: TranscribeOptions,
) -> None:
    """Give the segments their words, and the times that those imply.

    faster-whisper asks the model to align the text and derives the words from that. Here the
    alignments are there already, so the model that it asks only hands them out.
    """
    alignments = [one.alignment or _NO_ALIGNMENT for one in heard]
    aligned = copy.copy(whisper)
    aligned.model = SimpleNamespace(align=lambda *arguments, **options: alignments)
    aligned.add_word_timestamps(
        windows,
        tokenizer,
        encoder_output=None,
        num_frames=0,
        prepend_punctuations=options.prepend_punctuations,
        append_punctuations=options.append_punctuations,
        last_speech_timestamp=0.0,
    )


def _segment(part: dict[str, Any]) -> Segment:
    words = part.get("words")
    return Segment(
        id=0,
        seek=part["seek"],
        start=round(part["start"], 3),
        end=round(part["end"], 3),
        text=part["text"],
        tokens=part["tokens"],
        avg_logprob=part["avg_logprob"],
        compression_ratio=part["compression_ratio"],
        no_speech_prob=part["no_speech_prob"],
        words=None if words is None else [Word(**word) for word in words],
        temperature=part["temperature"],
    )

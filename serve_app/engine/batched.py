"""The parallel pipeline: speech -> windows -> hearings -> segments.

Its plain text is that of faster-whisper's ``BatchedInferencePipeline``, without the barrier after
each group of windows and without a second encoding to detect the language. Where VAD says where
speech is, every word of it is looked for: :mod:`serve_app.engine.recovery`.
"""

import asyncio
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import chain

from faster_whisper.tokenizer import Tokenizer
from faster_whisper.transcribe import Segment, get_suppressed_tokens

from serve_app import metrics
from serve_app.audio.clip import Samples
from serve_app.engine.attempts import Checks
from serve_app.engine.coverage import Coverage, Interval, uncovered
from serve_app.engine.engine import Engine
from serve_app.engine.prompt import request_prompt
from serve_app.engine.recovery import MOST_ROUNDS, Gap, gaps_in, spliced
from serve_app.engine.request import WINDOW_SECONDS, Request
from serve_app.engine.segments import segments_of_window, segments_of_words
from serve_app.engine.speech import Cut
from serve_app.engine.window import Alignment, Detection, Policy, context_seconds
from serve_app.engine.words import Heard, HeardWord, spoken_times
from serve_app.options import TranscribeOptions


@dataclass(frozen=True)
class Language:
    """Whisper's code, and the probability with which it was detected (1.0 if it was given)."""

    code: str
    probability: float = 1.0


class BatchedPipeline:
    """Hears the windows of one request in parallel, ``batch_size`` of them at a time.

    ``speech`` is what VAD has heard in the clip, None if it was not asked. ``recovers``: what is
    lost or fails the checks is heard again; otherwise the text is faster-whisper's to the letter.
    """

    def __init__(
        self,
        engine: Engine,
        request: Request,
        options: TranscribeOptions,
        samples: Samples,
        speech: Sequence[Interval] | None,
        *,
        recovers: bool,
    ) -> None:
        self._engine = engine
        self._request = request
        self._options = options
        self._samples = samples
        # What is lost is told from the text by alignment, which knows no translations.
        self._speech = speech if recovers and options.task == "transcribe" else None
        self._recovers = recovers
        self._partial_context = recovers and engine.tunables.partial_context
        self._slots = asyncio.Semaphore(options.batch_size)

    async def hear(
        self, cuts: Sequence[Cut], language: Language | None
    ) -> tuple[list[Segment], Language, Coverage | None]:
        """The segments of ``cuts``, the language, and how much of the speech is covered, if known.

        ``language`` None: it is detected in the first windows.
        """
        self._expect(cuts)
        heard: dict[int, Heard] = {}
        if language is None:
            language, heard = await self._listen(cuts)
        tokenizer = self._tokenizer(language.code)
        policy = self._policy(tokenizer, self._detection(is_given=not heard))
        rest = [n for n in range(len(cuts)) if n not in heard]
        found = await self._hear_all([cuts[n] for n in rest], policy)
        heard.update(zip(rest, found, strict=True))
        in_order = [(cut, heard[n]) for n, cut in enumerate(cuts)]
        if self._speech is None:
            whisper, options = self._engine.whisper, self._options
            split = (
                segments_of_window(whisper, tokenizer, cut, one, options) for cut, one in in_order
            )
            return [*chain.from_iterable(split)], language, None
        words = [word.in_clip(cut) for cut, one in in_order for word in one.words or ()]
        lost = uncovered(self._speech, spoken_times(words))
        # Much in the gaps is not speech: one attempt must do, or it is talked into words.
        policy = replace(policy, temperatures=(), widens=False, alignment=Alignment.ALWAYS)
        if policy.detection is Detection.ALWAYS:  # a second of speech tells too little
            policy = replace(policy, detection=Detection.IN_DOUBT)
        words = await self._recover(self._speech, words, policy)
        missing = uncovered(self._speech, spoken_times(words))
        coverage = Coverage.of(self._speech, lost, missing)
        return segments_of_words(words, self._options), language, coverage

    async def _listen(self, cuts: Sequence[Cut]) -> tuple[Language, dict[int, Heard]]:
        """Detect the language in the first windows.

        Returns it with what was heard in it meanwhile, by the number of the window. As in
        faster-whisper, one probability above the threshold settles it; if none of the windows that
        may be listened to has one, the language found most often wins.
        """
        vocabulary = self._engine.vocabulary
        policy = self._policy(self._tokenizer("en"), Detection.ALWAYS)
        heard: list[Heard] = []
        for cut in cuts[: self._options.language_detection_segments]:
            heard += await self._hear_all([cut], policy)
            if heard[-1].language_probability > self._options.language_detection_threshold:
                chosen = heard[-1]
                break
        else:
            votes = Counter(one.language for one in heard)
            chosen = max(heard, key=lambda one: (votes[one.language], one.language_probability))
        assert chosen.language is not None
        language = Language(vocabulary.language_code(chosen.language), chosen.language_probability)
        # What was heard in another language is heard again.
        kept = {
            n: one
            for n, one in enumerate(heard)
            if self._options.multilingual or one.language == chosen.language
        }
        return language, kept

    async def _recover(
        self, speech: Sequence[Interval], words: list[HeardWord], policy: Policy
    ) -> list[HeardWord]:
        """``words`` and those in speech that they leave out, until no sound ones come."""
        tried: set[Gap] = set()
        for _ in range(MOST_ROUNDS):
            gaps = [gap for gap in gaps_in(speech, words) if gap not in tried]
            if not gaps:
                break
            tried.update(gaps)
            cuts = [gap.cut(len(self._samples)) for gap in gaps]
            self._expect(cuts)
            self._engine.sink.count(metrics.RECOVERY_WINDOWS, len(gaps))
            heard = await self._hear_all(cuts, policy, again=True)
            for gap, cut, one in zip(gaps, cuts, heard, strict=True):
                words = spliced(words, gap, cut, one, policy.checks)
        return words

    def _expect(self, cuts: Sequence[Cut]) -> None:
        """Tell the scheduler what work comes next."""
        work_seconds = WINDOW_SECONDS * len(cuts)
        if self._partial_context:
            work_seconds = sum(context_seconds(cut.seconds) for cut in cuts)
        self._engine.scheduler.expect(self._request, work_seconds)

    async def _hear_all(
        self, cuts: Iterable[Cut], policy: Policy, *, again: bool = False
    ) -> list[Heard]:
        """What is heard in each window, in order. ``again``: parts of windows heard before."""
        hearings = [asyncio.ensure_future(self._hear_one(cut, policy, again)) for cut in cuts]
        try:
            return await asyncio.gather(*hearings)
        finally:
            for hearing in hearings:  # those that a failure leaves behind
                hearing.cancel()

    async def _hear_one(self, cut: Cut, policy: Policy, again: bool) -> Heard:
        engine = self._engine
        async with self._slots:
            extract = engine.whisper.feature_extractor
            window = await engine.prepare(cut.window, self._samples, extract)
            return await engine.hear(self._request, window, policy, again=again)

    def _detection(self, *, is_given: bool) -> Detection:
        """Whether windows choose their language themselves, as they do in faster-whisper if the
        caller says ``multilingual``. A language that the caller names beside that is believed.
        """
        if not (self._options.multilingual and self._engine.facts.multilingual):
            return Detection.NEVER
        return Detection.IN_DOUBT if is_given and self._recovers else Detection.ALWAYS

    def _alignment(self) -> Alignment:
        if self._options.word_timestamps:
            return Alignment.ALWAYS
        return Alignment.NEVER if self._speech is None else Alignment.IN_DOUBT

    def _tokenizer(self, language: str) -> Tokenizer:
        whisper = self._engine.whisper
        multilingual = whisper.model.is_multilingual
        return Tokenizer(whisper.hf_tokenizer, multilingual, self._options.task, language)

    def _policy(self, tokenizer: Tokenizer, detection: Detection) -> Policy:
        options, engine = self._options, self._engine
        prompt = request_prompt(
            engine.whisper,
            tokenizer,
            options,
            without_timestamps=options.without_timestamps is not False,
            batched=True,
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
            temperatures=options.temperature if self._recovers else (),
            best_of=options.best_of,
            detection=detection,
            partial_context=self._partial_context,
            alignment=self._alignment(),
        )

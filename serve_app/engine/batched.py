"""The parallel pipeline: speech -> windows -> hearings -> segments.

Without recovery its text is that of faster-whisper's ``BatchedInferencePipeline``, but it has no
barrier after each group of windows and does not encode twice to detect the language. With recovery,
and if VAD has found the speech, it looks for all words: :mod:`serve_app.engine.recovery`.
"""

import asyncio
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeAlias

from faster_whisper.tokenizer import Tokenizer
from faster_whisper.transcribe import Segment, get_suppressed_tokens

from serve_app import metrics
from serve_app.audio.clip import Samples
from serve_app.engine.attempts import Checks
from serve_app.engine.coverage import Coverage, Interval, uncovered
from serve_app.engine.engine import Engine
from serve_app.engine.prompt import request_prompt
from serve_app.engine.recovery import MOST_ROUNDS, Gap, Part, gaps_in, parts, spliced
from serve_app.engine.request import WINDOW_SECONDS, Request
from serve_app.engine.segments import segments_of_window, segments_of_words
from serve_app.engine.speech import Cut
from serve_app.engine.tasks import Tasks
from serve_app.engine.window import Detection, Policy, short_context
from serve_app.engine.words import Heard, HeardWord, spoken_times
from serve_app.options import TranscribeOptions

Told: TypeAlias = Callable[[Sequence[Segment]], None]
"""Called with segments as soon as they are final, in order of time."""


LONE_WINDOWS = 3
"""Most windows that are heard one by one before the first part is told. The first part may need the
second window, and other windows would delay what it left out."""


TOLD_WINDOWS = 4
"""Most windows of one request that are heard at once while its segments are told. Windows that are
ahead of a gap in an earlier one would delay its segments."""


@dataclass(frozen=True)
class Language:
    """Whisper's code and the probability with which it was detected (1.0 if it was given)."""

    code: str
    probability: float = 1.0


class BatchedPipeline:
    """Hears the windows of one request in parallel, ``batch_size`` of them at a time.

    ``speech`` is what VAD has found in the clip, None without VAD. ``recovers``: lost speech and
    bad texts are heard again. Otherwise the text is faster-whisper's to the letter.
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
        self._is_draft = request.demand.is_draft
        self._partial_context = self._is_draft or (recovers and engine.tunables.partial_context)
        self._slots = asyncio.Semaphore(options.batch_size)
        self._slots_again = asyncio.Semaphore(options.batch_size)
        self._n_slots_to_come = 0

    async def hear(
        self, cuts: Sequence[Cut], language: Language | None, told: Told | None = None
    ) -> tuple[list[Segment], Language, Coverage | None]:
        """The segments of ``cuts``, the language, and how much of the speech is covered, if known.

        If ``language`` is None, it is detected in the first windows. If ``told`` is given, the
        first windows are heard one by one, because somebody waits for the first words.
        """
        if told:
            self._slots = asyncio.Semaphore(1)
            self._n_slots_to_come = min(self._options.batch_size, TOLD_WINDOWS) - 1
        self._expect(cuts)
        heard: dict[int, Heard] = {}
        if language is None:
            language, heard = await self._listen(cuts)
        tokenizer = self._tokenizer(language.code)
        policy = self._policy(tokenizer, self._detection(is_given=not heard))
        segments: list[Segment] = []
        with Tasks() as tasks:
            hearings = [
                tasks.start(_known(heard[n]) if n in heard else self._hear_one(cut, policy))
                for n, cut in enumerate(cuts)
            ]
            if len(hearings) >= LONE_WINDOWS:
                hearings[LONE_WINDOWS - 1].add_done_callback(lambda _: self._hear_many())
            if self._speech is None:
                for cut, hearing in zip(cuts, hearings, strict=True):
                    found = segments_of_window(
                        self._engine.whisper, tokenizer, cut, await hearing, self._options
                    )
                    if told:
                        told(found)
                        self._hear_many()
                    segments += found
                return segments, language, None
            # Much in the gaps is not speech, and more attempts would invent words for it.
            policy = replace(policy, temperatures=(), widens=False)
            if policy.detection is Detection.ALWAYS:  # a second of speech tells too little
                policy = replace(policy, detection=Detection.IN_DOUBT)
            finished: list[asyncio.Task[tuple[list[Segment], Coverage]]] = []
            async for part in parts(cuts, hearings, self._speech):
                before = finished[-1] if finished else None
                finished.append(tasks.start(self._finish(part, policy, before, told)))
            coverage = Coverage(0.0, 0.0, 0.0)
            for found, covered in await asyncio.gather(*finished):
                segments += found
                coverage += covered
        return segments, language, coverage

    async def _finish(
        self,
        part: Part,
        policy: Policy,
        before: "asyncio.Task[Any] | None",
        told: Told | None,
    ) -> tuple[list[Segment], Coverage]:
        """The segments of ``part``, with what its first hearing left out, and its coverage.

        They are told after those of the part ``before``.
        """
        words = await self._recover(part, policy)
        segments = segments_of_words(words, self._options)
        if told:
            if before is not None:
                await before
            told(segments)
            self._hear_many()
        lost, missing = (uncovered(part.speech, spoken_times(w)) for w in (part.words, words))
        return segments, Coverage.of(part.speech, lost, missing)

    async def _listen(self, cuts: Sequence[Cut]) -> tuple[Language, dict[int, Heard]]:
        """Detect the language in the first windows.

        Returns it, and what was heard meanwhile, by the number of the window. As in faster-whisper,
        one probability above the threshold decides. If no window reaches it, the language found
        most often wins.
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

    async def _recover(self, part: Part, policy: Policy) -> list[HeardWord]:
        """The words of ``part``, and those found in speech that they leave out, until there are no
        more sound ones.
        """
        words = [*part.before, *part.words]
        tried: set[Gap] = set()
        for _ in range(MOST_ROUNDS):
            gaps = [gap for gap in gaps_in(part.speech, words) if gap not in tried]
            if not gaps:
                break
            tried.update(gaps)
            cuts = [gap.cut(len(self._samples)) for gap in gaps]
            self._engine.sink.count(metrics.RECOVERY_WINDOWS, len(gaps))
            heard = await self._hear_all(cuts, policy, again=True)
            for gap, cut, one in zip(gaps, cuts, heard, strict=True):
                words = spliced(words, gap, cut, one, policy.checks)
        return words[len(part.before) :]

    def _expect(self, cuts: Sequence[Cut]) -> None:
        """Tell the scheduler how much work will come."""
        work_seconds = WINDOW_SECONDS * len(cuts)
        if self._partial_context:
            work_seconds = sum(short_context(cut.seconds).seconds for cut in cuts)
        self._engine.scheduler.expect(self._request, work_seconds)

    def _hear_many(self) -> None:
        """Hear several windows at once from now on."""
        for _ in range(self._n_slots_to_come):
            self._slots.release()
        self._n_slots_to_come = 0

    async def _hear_all(
        self, cuts: Iterable[Cut], policy: Policy, *, again: bool = False
    ) -> list[Heard]:
        """What is heard in each window, in order. ``again``: they are parts of windows heard
        before.
        """
        with Tasks() as tasks:
            return await asyncio.gather(
                *[tasks.start(self._hear_one(cut, policy, again)) for cut in cuts]
            )

    async def _hear_one(self, cut: Cut, policy: Policy, again: bool = False) -> Heard:
        engine = self._engine
        # Somebody may wait for what is heard again, so it does not wait for new windows.
        async with self._slots_again if again else self._slots:
            extract = engine.whisper.feature_extractor
            window = await engine.prepare(cut.window, self._samples, extract)
            return await engine.hear(self._request, window, policy, again=again)

    def _detection(self, *, is_given: bool) -> Detection:
        """Whether windows choose their own language, as in faster-whisper if the caller says
        ``multilingual``. If the caller also names a language, it is believed.
        """
        if not (self._options.multilingual and self._engine.facts.multilingual):
            return Detection.NEVER
        return Detection.IN_DOUBT if is_given and self._recovers else Detection.ALWAYS

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
            # faster-whisper's own sum, of which CTranslate2 decodes only half.
            length = len(prompt) + options.max_new_tokens
            if self._recovers:
                length = min(max_length, max(2 * options.max_new_tokens, length))
            max_length = length
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
            widens=not self._is_draft,
            aligns=options.word_timestamps or self._speech is not None,
        )


async def _known(heard: Heard) -> Heard:
    return heard

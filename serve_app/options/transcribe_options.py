"""The options of one transcription: the only place that states their defaults and ranges."""

import math
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_serializer, model_validator

from serve_app.options.clip_timestamps import ClipTimes, ClipTimestamps
from serve_app.options.kinds import Choice, Flag, Number, Temperatures, Whole
from serve_app.options.language import Language
from serve_app.options.text import Punctuation, SuppressedTokens, Text

_OFF = "off"
_ONE_DAY_MS = 86_400_000


class VadParameters(BaseModel):
    """Settings of Silero VAD, as in faster-whisper's ``VadOptions``. None: its pipelines decide.

    If none of them is set, the batched pipeline ends speech after 160 ms of silence. If any is
    set, its default is 2000 ms, as in the sequential pipeline.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    threshold: Annotated[float | None, Number(0, 1)] = Field(
        default=None,
        description="Sound with at least this probability of speech counts as speech (0.5).",
    )
    neg_threshold: Annotated[float | None, Number(0, 1)] = Field(
        default=None, description="Speech ends below this probability (threshold - 0.15)."
    )
    min_speech_duration_ms: Annotated[int | None, Whole(0, _ONE_DAY_MS)] = Field(
        default=None, description="Shorter speech is dropped, in milliseconds (0)."
    )
    max_speech_duration_s: Annotated[float | None, Number(0, 86_400)] = Field(
        default=None,
        description="Longer speech is cut, in seconds (no limit). With batch_size above 1 it has "
        "no effect, because speech is cut at chunk_length.",
    )
    min_silence_duration_ms: Annotated[int | None, Whole(0, _ONE_DAY_MS)] = Field(
        default=None,
        description="Silence that ends speech, in milliseconds (2000; with batch_size above 1 and "
        "no other key of vad_parameters set, 160).",
    )
    speech_pad_ms: Annotated[int | None, Whole(0, 30_000)] = Field(
        default=None,
        description="Speech is extended by this much on both sides, in milliseconds (400).",
    )

    def given(self) -> dict[str, Any]:
        """A new dict of what the caller set, for faster-whisper's ``vad_parameters``."""
        return self.model_dump(exclude_none=True)


class TranscribeOptions(BaseModel):
    """The arguments of faster-whisper 1.2's two ``transcribe`` methods, but for ``audio``, which is
    the file, and ``log_progress``.

    The defaults are faster-whisper's own; those of ``vad_filter`` and ``batch_size`` are its
    batched pipeline's. ``recover`` and ``multichannel`` are our own options. Values are read
    leniently (see :mod:`serve_app.options.kinds`). A wrong one raises pydantic's
    ``ValidationError``, which ``build_options`` turns into ``InvalidOption``.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    language: Annotated[str | None, Language()] = Field(
        default=None, description="Language of the speech. null: the server detects it."
    )
    task: Annotated[Literal["transcribe", "translate"], Choice(("transcribe", "translate"))] = (
        Field(
            default="transcribe",
            description="Write down what is said, or translate it into English.",
        )
    )
    multilingual: Annotated[bool, Flag()] = Field(
        default=False,
        description="The language may change within the file. The server believes a language that "
        "you name unless a window clearly contradicts it: [details](#windows-and-segments). "
        "English-only models ignore this.",
    )
    batch_size: Annotated[int, Whole(1)] = Field(
        default=8,
        description="Most windows of this request that are decoded at the same time. 1: the "
        "windows are decoded one after the other, each with the text before it as context. Some "
        "requests are [always](#windows-and-segments) decoded like that. The server lowers a value "
        "above its limit.",
    )
    beam_size: Annotated[int, Whole(1, "max_beam_size")] = Field(
        default=5, description="Beams of the search at temperature 0. 1 is fastest."
    )
    best_of: Annotated[int, Whole(1, "max_best_of")] = Field(
        default=5,
        description="How many texts are sampled at a temperature above 0; the best is kept.",
    )
    patience: Annotated[float, Number(0.01, 10)] = Field(
        default=1.0,
        description="The beam search ends when beam_size x patience candidates are finished.",
    )
    # Not below 0: the average log-probability of an empty text would divide by zero.
    length_penalty: Annotated[float, Number(0, 10)] = Field(
        default=1.0,
        description="Candidates are compared by log-probability divided by length to this power.",
    )
    repetition_penalty: Annotated[float, Number(0.01, 10)] = Field(
        default=1.0, description="Above 1: a token that has been used scores lower."
    )
    no_repeat_ngram_size: Annotated[int, Whole(0, 448)] = Field(
        default=0,
        description="No sequence of this many tokens occurs twice in a window. 0: no limit.",
    )
    temperature: Annotated[tuple[float, ...], Temperatures()] = Field(
        default=(0.0, 0.2, 0.4, 0.6, 0.8, 1.0),
        description="Sampling temperature, or a list of them. A text that fails a threshold is "
        "decoded again at a later one of the list: [second attempts](#second-attempts).",
    )
    compression_ratio_threshold: Annotated[float | None, Number(0, 1000, off=True)] = Field(
        default=2.4,
        description="A text that compresses better than this repeats itself, so it fails.",
    )
    log_prob_threshold: Annotated[float | None, Number(-1000, 1000, off=True)] = Field(
        default=-1.0, description="A text with a lower average log-probability per token fails."
    )
    no_speech_threshold: Annotated[float | None, Number(0, 1, off=True)] = Field(
        default=0.6,
        description="A window counts as silent if the model's probability of no speech is higher "
        "than this and the text fails log_prob_threshold. Such a window gets no second attempt, "
        "and with batch_size 1 its text is dropped.",
    )
    condition_on_previous_text: Annotated[bool, Flag()] = Field(
        default=True,
        description="Show the model the text before each window. Only with batch_size 1.",
    )
    prompt_reset_on_temperature: Annotated[float, Number(0, 10)] = Field(
        default=0.5,
        description="After a window that needed a higher temperature than this, the earlier text "
        "is no longer part of the prompt. Only with batch_size 1.",
    )
    initial_prompt: Annotated[str | tuple[int, ...] | None, Text(tokens=True)] = Field(
        default=None,
        description="Text or token ids that the model takes for what was said before the first "
        "window; with batch_size above 1, before every window.",
    )
    prefix: Annotated[str | None, Text()] = Field(
        default=None, description="How the first window's text begins. Only with batch_size 1."
    )
    hotwords: Annotated[str | None, Text()] = Field(
        default=None,
        description="Words to expect in every window. They have no effect beside prefix.",
    )
    suppress_blank: Annotated[bool, Flag()] = Field(
        default=True, description="A window's text does not begin with a blank."
    )
    suppress_tokens: Annotated[tuple[int, ...], SuppressedTokens()] = Field(
        default=(-1,),
        description="Token ids that are never written. -1 stands for symbols that nobody says.",
    )
    without_timestamps: Annotated[bool | None, Flag()] = Field(
        default=None,
        description="Decode without timestamps. null: true with batch_size above 1, else false. "
        "With batch_size above 1, an explicit true also means that pauses start no segment.",
    )
    max_initial_timestamp: Annotated[float, Number(0, 30)] = Field(
        default=1.0,
        description="Latest start of a window's first segment, in seconds. Only with batch_size 1.",
    )
    word_timestamps: Annotated[bool, Flag()] = Field(
        default=False, description="Return each word with its times and probability."
    )
    prepend_punctuations: Annotated[str, Punctuation()] = Field(
        default="\"'“¿([{-",
        description="Marks that belong to the word after them, with word_timestamps.",
    )
    append_punctuations: Annotated[str, Punctuation()] = Field(
        default="\"'.。,，!！?？:：”)]}、",
        description="Marks that belong to the word before them, with word_timestamps.",
    )
    vad_filter: Annotated[bool, Flag()] = Field(
        default=True,
        description="Find the speech first and decode nothing else (voice activity detection). "
        "clip_timestamps overrides it. false: audio as long as a window is decoded as with "
        "batch_size 1.",
    )
    vad_parameters: VadParameters | None = Field(
        default=None, description="How vad_filter finds speech; see below."
    )
    max_new_tokens: Annotated[int | None, Whole(1, 447)] = Field(
        default=None,
        description="Limits the text of a window to so many tokens. null: 224 tokens, or what a "
        "long prompt leaves of 448. With recover false or batch_size 1, CTranslate2 stops at half "
        "as many tokens as this and the prompt have together.",
    )
    # Not above 30: Whisper hears 30 s at a time, and anything after that would be lost.
    chunk_length: Annotated[int | None, Whole(1, 30)] = Field(
        default=None, description="Longest window, in seconds. null: 30, the model's own length."
    )
    recover: Annotated[bool | None, Flag()] = Field(
        default=None,
        description="Decode again the speech of 0.8 s or more that no word covers, and texts that "
        "fail a threshold. false: neither, and no window is decoded with partial_context; the "
        "text is then faster-whisper's own, but for a word that "
        "[other batches](benchmarks.md#soak) may change. null: the server's setting "
        "recover_speech, true by default. Only with batch_size above 1.",
    )
    clip_timestamps: Annotated[tuple[ClipTimes, ...] | None, ClipTimestamps()] = Field(
        default=None, description="Decode only these stretches of the audio, in seconds."
    )
    # Not 0: a silence shorter than one frame would be skipped forever.
    hallucination_silence_threshold: Annotated[float | None, Number(0.01, 86_400, off=True)] = (
        Field(
            default=None,
            description="Skip a silence longer than this, in seconds, around a possible "
            "hallucination. null: never. Only with word_timestamps and batch_size 1.",
        )
    )
    multichannel: Annotated[bool, Flag()] = Field(
        default=False,
        description="Transcribe each channel of the file on its own; segments then say which "
        "channel, counted from 0. false: the channels are mixed into one.",
    )
    language_detection_threshold: Annotated[float, Number(0, 1)] = Field(
        default=0.5, description="A detected language is accepted at this probability."
    )
    language_detection_segments: Annotated[int, Whole(1, 480)] = Field(
        default=1,
        description="Most windows to listen to for the language. If none reaches the threshold, "
        "the majority decides.",
    )

    @model_validator(mode="after")
    def _leave_a_candidate(self) -> "TranscribeOptions":
        if self.beam_size * self.patience < 1:
            raise ValueError(
                f"got {self.patience:g}, which leaves no candidate with beam_size "
                f"{self.beam_size}; allowed: {math.ceil(1000 / self.beam_size) / 1000:g} or more"
            )
        return self

    @field_serializer(
        "compression_ratio_threshold", "log_prob_threshold", "no_speech_threshold", when_used="json"
    )
    def _off(self, threshold: float | None) -> float | str:
        return _OFF if threshold is None else threshold

    def for_the_log(self) -> dict[str, Any]:
        """The options that differ from the defaults. Texts and token ids, which are the caller's
        words, are replaced by their length.
        """
        return {
            name: f"({len(value)} long)" if name in self._texts() and value else value
            for name, value in self.model_dump(mode="json").items()
            if getattr(self, name) != type(self).model_fields[name].default
        }

    @classmethod
    def _texts(cls) -> set[str]:
        return {
            name
            for name, field in cls.model_fields.items()
            if any(isinstance(entry, (Text, Punctuation)) for entry in field.metadata)
        }

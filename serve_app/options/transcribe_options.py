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
    """Silero VAD, as in faster-whisper's ``VadOptions``. None leaves a value to its pipelines.

    The two pipelines differ. With none of these set, the batched one ends speech after 160 ms of
    silence. With any of them set, it ends it after 2000 ms by default, like the sequential one.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    threshold: Annotated[float | None, Number(0, 1)] = Field(
        default=None, description="Sound with at least this probability counts as speech (0.5)."
    )
    neg_threshold: Annotated[float | None, Number(0, 1)] = Field(
        default=None, description="Speech ends below this probability (threshold - 0.15)."
    )
    min_speech_duration_ms: Annotated[int | None, Whole(0, _ONE_DAY_MS)] = Field(
        default=None, description="Shorter speech is dropped, in milliseconds (0)."
    )
    max_speech_duration_s: Annotated[float | None, Number(0, 86_400)] = Field(
        default=None,
        description="Longer speech is cut, in seconds (no limit). It has no effect in the batched "
        "pipeline, which cuts at chunk_length.",
    )
    min_silence_duration_ms: Annotated[int | None, Whole(0, _ONE_DAY_MS)] = Field(
        default=None,
        description="Silence that ends speech, in milliseconds (160 batched, else 2000).",
    )
    speech_pad_ms: Annotated[int | None, Whole(0, 30_000)] = Field(
        default=None,
        description="Speech is extended by this much on both sides, in milliseconds (400).",
    )

    def given(self) -> dict[str, Any]:
        """A new dict of what the caller set, for ``vad_parameters=`` of faster-whisper."""
        return self.model_dump(exclude_none=True)


class TranscribeOptions(BaseModel):
    """The arguments of faster-whisper 1.2's two ``transcribe`` methods that make sense over HTTP.

    These are all but ``audio``, which is the file, and ``log_progress``. ``recover`` and
    ``multichannel`` are ours. The defaults are
    faster-whisper's own, those of ``vad_filter`` and ``batch_size`` the batched pipeline's. Values
    are read leniently (see :mod:`serve_app.options.kinds`); a wrong one raises pydantic's
    ``ValidationError``, which ``build_options`` turns into ``InvalidOption``.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    language: Annotated[str | None, Language()] = Field(
        default=None, description="Language of the speech; null: detect it."
    )
    task: Annotated[Literal["transcribe", "translate"], Choice(("transcribe", "translate"))] = (
        Field(
            default="transcribe",
            description="Write down what is said, or translate it into English.",
        )
    )
    multilingual: Annotated[bool, Flag()] = Field(
        default=False,
        description="Detect the language of every window; English-only models ignore it.",
    )
    batch_size: Annotated[int, Whole(1)] = Field(
        default=8,
        description="Windows of this request that are decoded together. 1: one after the other, "
        "each with the text before it. The server lowers a larger value to its limit.",
    )
    beam_size: Annotated[int, Whole(1, "max_beam_size")] = Field(
        default=5, description="Beams of the search at temperature 0."
    )
    best_of: Annotated[int, Whole(1, "max_best_of")] = Field(
        default=5, description="Candidates at a temperature above 0."
    )
    patience: Annotated[float, Number(0.01, 10)] = Field(
        default=1.0, description="Beam search ends after beam_size x patience finished candidates."
    )
    # Not below 0: the average log-probability of an empty text would divide by zero.
    length_penalty: Annotated[float, Number(0, 10)] = Field(
        default=1.0, description="Exponent of the length by which candidates are compared."
    )
    repetition_penalty: Annotated[float, Number(0.01, 10)] = Field(
        default=1.0, description="Above 1: tokens score lower once they have been used."
    )
    no_repeat_ngram_size: Annotated[int, Whole(0, 448)] = Field(
        default=0,
        description="No sequence of this many tokens occurs twice in a window; 0: no limit.",
    )
    temperature: Annotated[tuple[float, ...], Temperatures()] = Field(
        default=(0.0, 0.2, 0.4, 0.6, 0.8, 1.0),
        description="Sampling temperature, or a list whose next one is tried when a window fails "
        "a threshold; in batches at most two of them are, and none if recover is false.",
    )
    compression_ratio_threshold: Annotated[float | None, Number(0, 1000, off=True)] = Field(
        default=2.4, description="A text that compresses better than this fails."
    )
    log_prob_threshold: Annotated[float | None, Number(-1000, 1000, off=True)] = Field(
        default=-1.0, description="A text with a lower average log-probability fails."
    )
    no_speech_threshold: Annotated[float | None, Number(0, 1, off=True)] = Field(
        default=0.6,
        description="A window is silent if its probability of no speech is higher than this and "
        "its text fails log_prob_threshold: no other temperature is tried, and with batch_size 1 "
        "the text is dropped.",
    )
    condition_on_previous_text: Annotated[bool, Flag()] = Field(
        default=True, description="Prompt each window with the text before it (batch_size 1)."
    )
    prompt_reset_on_temperature: Annotated[float, Number(0, 10)] = Field(
        default=0.5,
        description="Above this temperature the text so far is no longer a prompt (batch_size 1).",
    )
    initial_prompt: Annotated[str | tuple[int, ...] | None, Text(tokens=True)] = Field(
        default=None,
        description="Text or token ids, as if said before the first window, in batches before "
        "each window.",
    )
    prefix: Annotated[str | None, Text()] = Field(
        default=None, description="Beginning of the first window's text (batch_size 1)."
    )
    hotwords: Annotated[str | None, Text()] = Field(
        default=None,
        description="Words to expect in every window; they have no effect with prefix.",
    )
    suppress_blank: Annotated[bool, Flag()] = Field(
        default=True, description="No window's text begins with a blank."
    )
    suppress_tokens: Annotated[tuple[int, ...], SuppressedTokens()] = Field(
        default=(-1,), description="Token ids never to write; -1: symbols that no one says."
    )
    without_timestamps: Annotated[bool | None, Flag()] = Field(
        default=None,
        description="Decode only text tokens; null: true in batches, false otherwise.",
    )
    max_initial_timestamp: Annotated[float, Number(0, 30)] = Field(
        default=1.0,
        description="Latest start of a window's first segment, in seconds (batch_size 1).",
    )
    word_timestamps: Annotated[bool, Flag()] = Field(
        default=False, description="Return each word with its times and probability."
    )
    prepend_punctuations: Annotated[str, Punctuation()] = Field(
        default="\"'“¿([{-", description="With word_timestamps: marks that join the next word."
    )
    append_punctuations: Annotated[str, Punctuation()] = Field(
        default="\"'.。,，!！?？:：”)]}、",
        description="With word_timestamps: marks that join the previous word.",
    )
    vad_filter: Annotated[bool, Flag()] = Field(
        default=True,
        description="Find the speech first and decode nothing else; clip_timestamps overrides it.",
    )
    vad_parameters: VadParameters | None = Field(
        default=None, description="How vad_filter finds speech; see below."
    )
    max_new_tokens: Annotated[int | None, Whole(1, 447)] = Field(
        default=None, description="Most tokens per window; null: 448 minus the prompt."
    )
    # Not above 30: Whisper hears 30 s at a time, and anything after that would be lost.
    chunk_length: Annotated[int | None, Whole(1, 30)] = Field(
        default=None, description="Seconds of audio per window; null: 30, as the model has them."
    )
    recover: Annotated[bool | None, Flag()] = Field(
        default=None,
        description="Hear again speech that no word covers and windows that fail a threshold; "
        "false: faster-whisper's own text, to the letter; null: as the server's recover_speech "
        "says, true by default (batch_size above 1).",
    )
    clip_timestamps: Annotated[tuple[ClipTimes, ...] | None, ClipTimestamps()] = Field(
        default=None, description="Decode only these stretches of the audio, in seconds."
    )
    # Not 0: a silence shorter than one frame would be skipped forever.
    hallucination_silence_threshold: Annotated[float | None, Number(0.01, 86_400, off=True)] = (
        Field(
            default=None,
            description="With word_timestamps: skip silence longer than this many seconds around "
            "a possible hallucination; null: never (batch_size 1).",
        )
    )
    multichannel: Annotated[bool, Flag()] = Field(
        default=False,
        description="Transcribe each channel of the file on its own; segments then say which "
        "channel, counted from 0. false: the channels are mixed into one.",
    )
    language_detection_threshold: Annotated[float, Number(0, 1)] = Field(
        default=0.5, description="Probability at which a detected language is accepted."
    )
    language_detection_segments: Annotated[int, Whole(1, 480)] = Field(
        default=1,
        description="Windows to listen to until one is accepted; after that the majority decides.",
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
        """The options that differ from the defaults; of texts and of token ids, which are the
        caller's words, only the length.
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

"""The options of one transcription, their defaults and ranges: each is stated here only."""

import math
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_serializer, model_validator

from serve_app.options.kinds import Choice, Flag, Number, Whole
from serve_app.options.text import Language, Punctuation, SuppressedTokens, Text
from serve_app.options.timing import Clip, Clips, Temperatures
from serve_app.options.vad import VadParameters

CONTRACT_EXAMPLE: dict[str, Any] = {
    "multilingual": False,
    "vad_filter": True,
    "task": "transcribe",
    "language": "en",
    "batch_size": 8,
    "beam_size": 5,
    "condition_on_previous_text": False,
}
"""``generate_kwargs`` with the keys that the calling service is known to send."""

_OFF = "off"


class TranscribeOptions(BaseModel):
    """What faster-whisper 1.2's two ``transcribe`` methods take that makes sense over HTTP.

    Left out are ``audio``, which is the file, and ``log_progress``. Defaults are faster-whisper's
    own save for ``vad_filter`` and ``batch_size``, which are those of its batched pipeline in both.
    Values are read leniently (see :mod:`serve_app.options.kinds`); a wrong one raises pydantic's
    ``ValidationError``, which ``build_options`` turns into ``InvalidOption``.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    language: Annotated[str | None, Language()] = Field(
        default=None, description="Language of the speech; null: detected."
    )
    task: Annotated[Literal["transcribe", "translate"], Choice(("transcribe", "translate"))] = (
        Field(
            default="transcribe",
            description="Write down what is said, or translate it into English.",
        )
    )
    multilingual: Annotated[bool, Flag()] = Field(
        default=False,
        description="Detect the language anew in every window; English-only models ignore it.",
    )
    batch_size: Annotated[int, Whole(1)] = Field(
        default=8,
        description="Windows of this request decoded together. 1: one after the other, each seeing "
        "the text before it. Above the server's limit it is lowered to it.",
    )
    beam_size: Annotated[int, Whole(1, "max_beam_size")] = Field(
        default=5, description="Beams of the search at temperature 0."
    )
    best_of: Annotated[int, Whole(1, "max_best_of")] = Field(
        default=5, description="Candidates at a temperature above 0 (batch_size 1)."
    )
    patience: Annotated[float, Number(0.01, 10)] = Field(
        default=1.0, description="Beam search ends after beam_size x patience finished candidates."
    )
    # Not below 0: the average log-probability of an empty text would divide by zero.
    length_penalty: Annotated[float, Number(0, 10)] = Field(
        default=1.0, description="Exponent by which candidates of different length are compared."
    )
    repetition_penalty: Annotated[float, Number(0.01, 10)] = Field(
        default=1.0, description="Above 1: tokens that were used score lower."
    )
    no_repeat_ngram_size: Annotated[int, Whole(0, 448)] = Field(
        default=0,
        description="No sequence of this many tokens comes twice in a window; 0: allowed.",
    )
    temperature: Annotated[tuple[float, ...], Temperatures()] = Field(
        default=(0.0, 0.2, 0.4, 0.6, 0.8, 1.0),
        description="Sampling temperature, or several of which the next is tried when a window "
        "fails a threshold. In batches only the first counts.",
    )
    compression_ratio_threshold: Annotated[float | None, Number(0, 1000, off=True)] = Field(
        default=2.4,
        description="A text that compresses better than this has failed (batch_size 1).",
    )
    log_prob_threshold: Annotated[float | None, Number(-1000, 1000, off=True)] = Field(
        default=-1.0,
        description="A text whose average log-probability is lower has failed (batch_size 1).",
    )
    no_speech_threshold: Annotated[float | None, Number(0, 1, off=True)] = Field(
        default=0.6,
        description="A window is silent if this probability of no speech is exceeded and "
        "log_prob_threshold not reached (batch_size 1).",
    )
    condition_on_previous_text: Annotated[bool, Flag()] = Field(
        default=True, description="Prompt each window with the text before it (batch_size 1)."
    )
    prompt_reset_on_temperature: Annotated[float, Number(0, 10)] = Field(
        default=0.5,
        description="Above this temperature the text so far prompts no more (batch_size 1).",
    )
    initial_prompt: Annotated[str | tuple[int, ...] | None, Text(tokens=True)] = Field(
        default=None,
        description="Text, or token ids, as if said before: of the first window, in batches of "
        "each.",
    )
    prefix: Annotated[str | None, Text()] = Field(
        default=None, description="Beginning of the first window's text (batch_size 1)."
    )
    hotwords: Annotated[str | None, Text()] = Field(
        default=None, description="Words to expect, for every window; without effect beside prefix."
    )
    suppress_blank: Annotated[bool, Flag()] = Field(
        default=True, description="No window's text begins with a blank."
    )
    suppress_tokens: Annotated[tuple[int, ...], SuppressedTokens()] = Field(
        default=(-1,), description="Token ids never to write; -1: symbols that no one says."
    )
    without_timestamps: Annotated[bool | None, Flag()] = Field(
        default=None,
        description="Decode text tokens only; null: as the pipeline does, true in batches and "
        "false otherwise.",
    )
    max_initial_timestamp: Annotated[float, Number(0, 30)] = Field(
        default=1.0,
        description="Latest start of a window's first segment, in seconds (batch_size 1).",
    )
    word_timestamps: Annotated[bool, Flag()] = Field(
        default=False, description="Give the words with their times and probabilities."
    )
    prepend_punctuations: Annotated[str, Punctuation()] = Field(
        default="\"'“¿([{-", description="With word_timestamps: marks that join the next word."
    )
    append_punctuations: Annotated[str, Punctuation()] = Field(
        default="\"'.。,，!！?？:：”)]}、",
        description="With word_timestamps: marks that join the word before.",
    )
    vad_filter: Annotated[bool, Flag()] = Field(
        default=True,
        description="Find speech first and decode only that; clip_timestamps overrides it.",
    )
    vad_parameters: VadParameters | None = Field(
        default=None, description="How vad_filter finds speech; see below."
    )
    max_new_tokens: Annotated[int | None, Whole(1, 447)] = Field(
        default=None, description="Most tokens per window; null: 448 less the prompt."
    )
    # Not above 30: Whisper hears 30 s at a time, and what is beyond them would be lost.
    chunk_length: Annotated[int | None, Whole(1, 30)] = Field(
        default=None, description="Seconds of audio per window; null: the model's own 30."
    )
    clip_timestamps: Annotated[tuple[Clip, ...] | None, Clips()] = Field(
        default=None, description="Decode only these stretches of the audio, in seconds."
    )
    # Not 0: a silence shorter than one frame would be skipped for ever.
    hallucination_silence_threshold: Annotated[float | None, Number(0.01, 86_400, off=True)] = (
        Field(
            default=None,
            description="With word_timestamps: skip silence longer than this many seconds around "
            "what may be a hallucination; null: never (batch_size 1).",
        )
    )
    language_detection_threshold: Annotated[float, Number(0, 1)] = Field(
        default=0.5, description="Probability at which a detected language is settled."
    )
    language_detection_segments: Annotated[int, Whole(1, 480)] = Field(
        default=1, description="Windows to listen to until it is; then the majority decides."
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

    def as_generate_kwargs(self) -> dict[str, Any]:
        """What differs from the defaults, as JSON that parses back to equal options."""
        return self.model_dump(mode="json", exclude_defaults=True)

    def for_the_log(self) -> dict[str, Any]:
        """What differs from the defaults; of texts and a prompt's token ids only their lengths,
        since those are the caller's own words.
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

"""Options of the voice activity detection (Silero VAD, as in faster-whisper's ``VadOptions``)."""

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

from serve_app.options.kinds import Number, Whole

_ONE_DAY_MS = 86_400_000


class VadParameters(BaseModel):
    """What the caller set; anything else is left to faster-whisper's pipeline.

    The two pipelines differ: with none of these set the batched one ends speech after 160 ms of
    silence; as soon as one is set it takes 2000 ms, like the sequential one, unless told.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    threshold: Annotated[float | None, Number(0, 1)] = Field(
        default=None, description="Probability from which on sound counts as speech (0.5)."
    )
    neg_threshold: Annotated[float | None, Number(0, 1)] = Field(
        default=None, description="Probability below which speech ends (threshold - 0.15)."
    )
    min_speech_duration_ms: Annotated[int | None, Whole(0, _ONE_DAY_MS)] = Field(
        default=None, description="Shorter speech is dropped, in milliseconds (0)."
    )
    max_speech_duration_s: Annotated[float | None, Number(0, 86_400)] = Field(
        default=None,
        description="Longer speech is cut, in seconds (no limit). Without effect in the batched "
        "pipeline, which cuts at chunk_length.",
    )
    min_silence_duration_ms: Annotated[int | None, Whole(0, _ONE_DAY_MS)] = Field(
        default=None,
        description="Silence that ends speech, in milliseconds (160 batched, else 2000).",
    )
    speech_pad_ms: Annotated[int | None, Whole(0, 30_000)] = Field(
        default=None, description="Speech is widened by this on either side, in milliseconds (400)."
    )

    def given(self) -> dict[str, Any]:
        """Only what the caller set, for ``vad_parameters=`` of faster-whisper; a new dict."""
        return self.model_dump(exclude_none=True)

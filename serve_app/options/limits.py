"""How much work the options of one request may ask for."""

from pydantic import BaseModel, ConfigDict, Field


class OptionLimits(BaseModel):
    """The operator's bounds. An option beyond its bound is refused with 422, except ``batch_size``,
    which is lowered.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    max_batch_size: int = Field(
        default=64,
        ge=1,
        le=1024,
        description="Largest batch_size; a larger value is lowered to it.",
    )
    max_beam_size: int = Field(default=10, ge=1, le=100, description="Largest beam_size.")
    max_best_of: int = Field(default=10, ge=1, le=100, description="Largest best_of.")
    max_temperatures: int = Field(
        default=10,
        ge=1,
        le=100,
        description="Most temperatures in one list; each may decode a window once more.",
    )
    max_clips: int = Field(
        default=1000,
        ge=1,
        le=100_000,
        description="Most clips in clip_timestamps; each is decoded.",
    )
    max_windows: int = Field(
        default=2000,
        ge=1,
        le=1_000_000,
        description="Most windows that one request may be cut into: by its clips, by chunk_length "
        "(4 hours in windows of 8 s are 1,800), or by 30 s each.",
    )
    max_json_characters: int = Field(
        default=65_536,
        ge=1024,
        le=16_777_216,
        description="Longest generate_kwargs, or option beside it, in characters.",
    )

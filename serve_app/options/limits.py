"""How much work the options of one request may ask for."""

from pydantic import BaseModel, ConfigDict, Field


class OptionLimits(BaseModel):
    """The operator's bounds. A request beyond one of them is refused with 422, except that a
    larger ``batch_size`` is lowered.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    max_batch_size: int = Field(
        default=64,
        ge=1,
        le=1024,
        description="Largest batch_size. A larger value is lowered to it.",
    )
    max_beam_size: int = Field(default=10, ge=1, le=100, description="Largest beam_size.")
    max_best_of: int = Field(default=10, ge=1, le=100, description="Largest best_of.")
    max_temperatures: int = Field(
        default=10,
        ge=1,
        le=100,
        description="Most temperatures in one list. Each may decode a window once more.",
    )
    max_clips: int = Field(
        default=1000,
        ge=1,
        le=100_000,
        description="Most clips in clip_timestamps.",
    )
    max_windows: int = Field(
        default=2000,
        ge=1,
        le=1_000_000,
        description="Most windows that one request may be cut into, by its clips, by chunk_length, "
        "or every 30 s. 4 hours of audio in windows of 8 s are 1,800.",
    )
    max_json_characters: int = Field(
        default=65_536,
        ge=1024,
        le=16_777_216,
        description="Longest generate_kwargs, or option of its own, in characters.",
    )

"""What a caller may choose for one live session."""

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from serve_app.options import Language
from serve_app.options.text import Text

MOST_PROMPT_CHARACTERS = 1000


class LiveOptions(BaseModel):
    """The options of a session, which may be replaced while it runs."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    language: Annotated[str | None, Language()] = Field(
        default=None, description="Language of the speech; null: detect it for each utterance."
    )
    prompt: Annotated[str | None, Text()] = Field(
        default=None,
        max_length=MOST_PROMPT_CHARACTERS,
        description="Words to expect, such as names. Null: none.",
    )
    partials: bool = Field(
        default=True, description="Send what is heard so far of an utterance that goes on."
    )
    threshold: float = Field(
        default=0.5, gt=0, lt=1, description="Sound with at least this probability is speech."
    )
    min_speech_seconds: float = Field(
        default=0.15, ge=0, le=5, description="Speech that is shorter in all is not an utterance."
    )
    silence_seconds: float | None = Field(
        default=0.6,
        ge=0.1,
        le=10,
        description="Silence that ends an utterance. Null: only a flush ends it.",
    )
    utterance_seconds: float = Field(
        default=10.0,
        ge=3,
        le=28,
        description="Longest utterance. After a third of it, ever shorter pauses end it; at the "
        "end it is cut where speech is least likely.",
    )


MOST_MILLISECONDS = 1_000_000


def seconds_of(milliseconds: object) -> float | None:
    """A time that a client states in milliseconds; None if this is not one."""
    if isinstance(milliseconds, bool) or not isinstance(milliseconds, int | float):
        return None
    return milliseconds / 1000 if 0 <= milliseconds <= MOST_MILLISECONDS else None

"""What all settings share."""

from pydantic import BaseModel, ConfigDict


class Settings(BaseModel):
    """Settings of one concern. An unknown key is an error."""

    model_config = ConfigDict(extra="forbid", frozen=True)

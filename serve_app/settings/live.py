"""Live sessions over WebSockets and Wyoming."""

from pydantic import Field

from serve_app.settings.base import Settings

MOST_MESSAGE_BYTES = 2 * 1024 * 1024
"""On a larger message the server closes the connection before it has come as a whole."""


class LiveSettings(Settings):
    """Live sessions: speech to text while people speak. Bounds are per Ingress replica."""

    sessions: int = Field(
        default=256, ge=0, description="Most sessions at once; 0: no live sessions are taken."
    )
    sessions_per_key: int = Field(default=64, ge=1, description="Most sessions of one API key.")
    step_seconds: float = Field(
        default=0.6,
        ge=0.2,
        le=10,
        description="A partial text is sent after this many seconds of new speech, less often "
        "under load.",
    )
    # tiny.en, 450 s of hard recordings in utterances of 4 s: 13.5 % of the words are wrong without,
    # 9.9 % with 15 s, 9.1 % with 27 s, and 8.8 % if the file is heard as a whole.
    context_seconds: float = Field(
        default=15.0,
        ge=0,
        le=28,
        description="For its final text, an utterance is transcribed together with earlier speech, "
        "up to this many seconds in total, if the client names the language. More costs time, less "
        "costs accuracy.",
    )
    draft_seconds: float = Field(
        default=3.0,
        gt=0,
        description="A partial text that has waited this long is dropped.",
    )
    unheard_seconds: float = Field(
        default=20.0,
        gt=0,
        description="Finished utterances that may wait for their text, in seconds of audio; beyond "
        "that no more is read from the client.",
    )
    final_seconds: float = Field(
        default=120.0,
        gt=0,
        description="How long the server keeps retrying a final text while no model replica "
        "answers.",
    )
    resume_seconds: float = Field(
        default=30.0,
        ge=0,
        description="How long a session waits for a client whose connection has dropped.",
    )
    idle_seconds: float = Field(
        default=60.0,
        gt=0,
        description="A connection that sends neither audio nor a message for so long is closed, "
        "unless its protocol lets it rest.",
    )
    session_seconds: float = Field(
        default=14_400.0, gt=0, description="Longest session, in seconds of audio and of time."
    )
    message_bytes: int = Field(
        default=1024 * 1024,
        ge=1024,
        le=MOST_MESSAGE_BYTES,
        description="Largest message of a client, in bytes.",
    )


class WyomingSettings(Settings):
    """Wyoming, Home Assistant's protocol, on a port of its own: `python -m serve_app` only.

    It has no API keys: whoever reaches the port can use the server.
    """

    port: int | None = Field(
        default=None, ge=1, le=65_535, description="TCP port, by habit 10300; null: none."
    )
    host: str = Field(
        default="127.0.0.1", description="Address to listen on; 0.0.0.0: every interface."
    )

"""How much work the server takes, from whom, and what happens to it at the end."""

from pydantic import Field

from serve_app.settings.base import Settings


class QuotaSettings(Settings):
    """What each API key may use, counted by each Ingress replica. null: no limit.

    The keys file may set other values for a key.
    """

    concurrent_requests: int | None = Field(
        default=None, ge=1, description="Most requests of one key at the same time."
    )
    audio_seconds_per_minute: float | None = Field(
        default=None,
        gt=0,
        description="Seconds of audio that one key may send per minute. A whole minute's worth "
        "may come at once. [keys.md](keys.md#quotas) says how audio is counted.",
    )


class AdmissionSettings(Settings):
    """When a Transcriber replica refuses a request with 429 instead of queueing it."""

    max_wait_seconds: float = Field(
        default=60.0,
        gt=0,
        description="Longest estimated wait for a short request, one of up to a minute of audio "
        "in up to a minute of windows, and for requests with X-Priority: interactive.",
    )
    bulk_max_wait_seconds: float = Field(
        default=3600.0,
        gt=0,
        description="Longest estimated wait for all other requests. Short "
        "requests go ahead of them.",
    )
    max_queued_audio_seconds: float = Field(
        default=28_800.0,
        gt=0,
        description="Most audio held at once, in seconds (8 hours). It bounds memory. Long "
        "requests may hold three quarters of it. A request is always accepted if no other is "
        "held.",
    )


class DrainSettings(Settings):
    """What SIGTERM does to ``python -m serve_app``. Ctrl-C stops it at once."""

    notice_seconds: float = Field(
        default=0.0,
        ge=0,
        description="How long /readyz answers 503 while requests are still accepted, so that load "
        "balancers stop sending them. Afterwards new requests get 503.",
    )
    seconds: float = Field(
        default=60.0,
        ge=0,
        description="How long the requests in progress may continue after that.",
    )

"""How much audio one upload may turn into."""

from collections.abc import Callable

from pydantic import BaseModel, ConfigDict, Field

from serve_app.errors import AudioTooLarge

Hold = Callable[[int], None]
"""Takes note that this many more bytes of memory are needed; raises where there is no room."""


def unbounded(n_bytes: int) -> None:
    """A :data:`Hold` for callers that need no memory limit."""


class AudioLimits(BaseModel):
    """Bounds on one upload, checked against its header first and then while it is decoded."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    max_seconds: float = Field(
        default=14_400.0,
        gt=0,
        description="Longest audio accepted, in seconds as received (4 hours). Longer audio is "
        "refused with 413, from its header or as soon as decoding passes the limit.",
    )
    max_decoded_bytes: int = Field(
        default=8 * 2**30,
        gt=0,
        description="Most PCM bytes one upload may decode to, at its own rate, width and channel "
        "count (8 GiB: 4 hours of 48 kHz float stereo are 5.2 GiB). They are never held at once; "
        "this bounds the work a small crafted file can cause.",
    )

    def check_seconds(self, seconds: float) -> None:
        """Raise :class:`AudioTooLarge` if ``seconds`` of audio are too many."""
        if seconds > self.max_seconds:
            raise AudioTooLarge(
                f"The audio is longer than {self.max_seconds:g} s, the most this server takes in "
                "one request. Split it into shorter files."
            )

    def check_decoded_bytes(self, n_bytes: int) -> None:
        """Raise :class:`AudioTooLarge` if ``n_bytes`` of decoded PCM are too many."""
        if n_bytes > self.max_decoded_bytes:
            raise AudioTooLarge(
                f"The audio unpacks to more than {self.max_decoded_bytes} bytes, the most this "
                "server decodes in one request. Send fewer channels, a lower rate or shorter files."
            )

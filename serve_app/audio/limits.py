"""How much audio an upload may hold, and what decoding it may cost."""

import math
from collections.abc import Callable

from pydantic import BaseModel, ConfigDict, Field

from serve_app.cpus import available_cpus
from serve_app.errors import AudioTooLarge

Hold = Callable[[int], None]
"""Reserves this many more bytes of memory, or frees them if the number is negative. Raises if there
is no room."""


def unbounded(n_bytes: int) -> None:
    """A :data:`Hold` for callers that need no memory limit."""


class AudioLimits(BaseModel):
    """Limits on one upload. They are checked against its header, then while it is decoded."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    max_seconds: float = Field(
        default=14_400.0,
        gt=0,
        description="Longest audio, in seconds as received (4 hours). Longer audio is refused "
        "with 413.",
    )
    max_decoded_bytes: int = Field(
        default=8 * 2**30,
        gt=0,
        description="Most bytes of PCM that one upload may decode to, at its own rate, width and "
        "number of channels (8 GiB; 4 hours of 48 kHz float stereo are 5.2 GiB). They are never "
        "held at once. The limit bounds the work that a small malicious file can cause.",
    )
    max_channels: int = Field(
        default=8,
        ge=2,
        le=64,
        description="Most channels that the option multichannel transcribes apart; a file with "
        "more is refused with 413. Every channel counts as audio of its own towards max_seconds.",
    )

    def check_seconds(self, seconds: float, n_channels: int = 1) -> None:
        """Raise :class:`AudioTooLarge` if so many seconds of each channel are too many."""
        if seconds * n_channels > self.max_seconds:
            what = "audio is" if n_channels == 1 else f"audio's {n_channels} channels together are"
            raise AudioTooLarge(
                f"The {what} longer than {self.max_seconds:g} s, the most this server takes in "
                "one request. Split it into shorter files."
            )

    def check_decoded_bytes(self, n_bytes: int) -> None:
        """Raise :class:`AudioTooLarge` if ``n_bytes`` of decoded PCM are too many."""
        if n_bytes > self.max_decoded_bytes:
            raise AudioTooLarge(
                f"The audio unpacks to more than {self.max_decoded_bytes} bytes, the most this "
                "server decodes in one request. Send fewer channels, a lower rate or shorter files."
            )


class WorkerLimits(BaseModel):
    """The processes that decode everything but plain WAV, and what one upload may cost them."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    workers: int = Field(
        default=0,
        ge=0,
        le=256,
        description="Uploads that one Ingress replica decodes at the same time. 0: one per CPU "
        "core that it may use, at least 4. Large uploads take at most half of them.",
    )
    memory_bytes: int = Field(
        default=256 * 2**20,
        ge=32 * 2**20,
        description="Most memory for decoding one upload, not counting the upload and its "
        "samples. An upload that needs more is refused with 422.",
    )
    cpu_seconds: float = Field(
        default=5.0,
        ge=1,
        description="Processor time for decoding one upload, in seconds. Every 20 s of decoded "
        "sound add one second. An upload that needs more is refused with 422.",
    )
    stall_seconds: float = Field(
        default=60.0,
        gt=0,
        description="An upload whose decoding makes no progress for this long is refused with 422.",
    )

    @property
    def n_workers(self) -> int:
        """``workers``, or one for each CPU that this process may use, but not too few."""
        return self.workers or max(_FEWEST_WORKERS, available_cpus())

    def cpu_seconds_for(self, decoded_seconds: float) -> int:
        """Processor time for a file that has given this much sound so far, in whole seconds."""
        return math.ceil(self.cpu_seconds + decoded_seconds / _SLOWEST_SPEED)


_FEWEST_WORKERS = 4
_SLOWEST_SPEED = 20
"""Seconds of sound per second of processor time. Codecs reach some hundreds on one core."""

"""How much audio one upload may turn into, and what decoding it may cost."""

import math
import os
from collections.abc import Callable

from pydantic import BaseModel, ConfigDict, Field

from serve_app.errors import AudioTooLarge

Hold = Callable[[int], None]
"""Takes note that this many more bytes of memory are needed, or fewer if negative; raises where
there is no room."""


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
    """The processes that decode what is not plain WAV, and what one upload may cost them."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    workers: int = Field(
        default=0,
        ge=0,
        le=256,
        description="Uploads that one Ingress replica decodes at once; 0: one per CPU core, at "
        "least 4. Large uploads take at most half of them.",
    )
    memory_bytes: int = Field(
        default=256 * 2**20,
        ge=32 * 2**20,
        description="Memory that decoding one upload may take besides the upload and its samples; "
        "beyond that it is refused with 422.",
    )
    cpu_seconds: float = Field(
        default=5.0,
        ge=1,
        description="Processor time that decoding one upload may take, besides one second for "
        "every 20 s of sound that came out; beyond that it is refused with 422.",
    )
    stall_seconds: float = Field(
        default=60.0,
        gt=0,
        description="An upload whose decoding tells of no progress for so long is refused with "
        "422.",
    )

    @property
    def n_workers(self) -> int:
        """``workers``, or what fits this machine."""
        return self.workers or max(_FEWEST_WORKERS, os.cpu_count() or 1)

    def cpu_seconds_for(self, decoded_seconds: float) -> int:
        """Processor time for a file of which this much sound has come out, in whole seconds."""
        return math.ceil(self.cpu_seconds + decoded_seconds / _SLOWEST_SPEED)


_FEWEST_WORKERS = 4
_SLOWEST_SPEED = 20
"""Seconds of sound per second of processor time. Codecs reach some hundreds on one core."""

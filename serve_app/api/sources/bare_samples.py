"""Samples without a header, as some protocols send them: a WAV header makes a file of them."""

import struct

_UNKNOWN_LENGTH = 0xFFFF_FFFF


def wav_header(tag: int, bits: int, n_channels: int, rate_hz: int) -> bytes:
    """A header (see :mod:`serve_app.audio.wav`) for any number of samples of format ``tag``."""
    block = n_channels * bits // 8
    form = (tag, n_channels, rate_hz, rate_hz * block, block, bits)
    return (
        struct.pack("<4sI4s", b"RIFF", _UNKNOWN_LENGTH, b"WAVE")
        + struct.pack("<4sIHHIIHH", b"fmt ", 16, *form)
        + struct.pack("<4sI", b"data", _UNKNOWN_LENGTH)
    )

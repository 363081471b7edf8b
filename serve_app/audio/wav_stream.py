"""A WAV file that keeps coming, in pieces of any size, becomes 16 kHz mono int16."""

import numpy as np

from serve_app.audio.clip import Samples
from serve_app.audio.pcm import MAX_CHANNELS, MAX_RATE_HZ, MIN_RATE_HZ, Encoding, PcmStream
from serve_app.audio.wav import (
    MAGIC,
    TAG_ALAW,
    TAG_FLOAT,
    TAG_MULAW,
    TAG_PCM,
    WaveFormat,
    read_wav,
)
from serve_app.errors import UnsupportedAudio

_ENCODINGS: dict[tuple[int, int], Encoding] = {
    (TAG_PCM, 16): "pcm16",
    (TAG_FLOAT, 32): "float32",
    (TAG_ALAW, 8): "alaw",
    (TAG_MULAW, 8): "mulaw",
}
"""What may come, by format and bits per sample."""

_MAGIC_BYTES = 12
MOST_HEAD_BYTES = 64 * 1024

_GROWTH = 8
"""A header that is not complete is read again once an eighth more of it has come: it may come in
tiny pieces."""


class WavStream:
    """One stream. Its header may leave open how much audio follows."""

    def __init__(self) -> None:
        self._head = bytearray()
        self._enough = _MAGIC_BYTES  # bytes of the header that are worth reading
        self._pcm: PcmStream | None = None
        self._n_left: int | None = None  # bytes of samples to come; None: as many as come

    def feed(self, data: bytes) -> Samples:
        """The samples that ``data`` completes; none while the header has not come.

        Raises ``UnsupportedAudio`` for what is not WAV or holds other samples than ``PcmStream``
        reads, ``InvalidAudio`` for a header that contradicts itself.
        """
        if self._pcm is None:
            data = self._read_head(data)
        if self._pcm is None:
            return np.zeros(0, np.int16)
        if self._n_left is not None:
            data = data[: self._n_left]
            self._n_left -= len(data)
        return self._pcm.feed(data)

    def finish(self) -> Samples:
        """The last samples, which the resampler still holds."""
        return np.zeros(0, np.int16) if self._pcm is None else self._pcm.finish()

    def _read_head(self, data: bytes) -> bytes:
        """Take what belongs to the header; returns the rest."""
        self._head += data
        if len(self._head) < self._enough:
            return b""
        self._enough = len(self._head) + len(self._head) // _GROWTH
        wave = None
        if MAGIC.match(self._head):
            wave = read_wav(memoryview(bytes(self._head)), is_whole=False)
        if wave is not None:
            self._pcm, self._n_left = _pcm(wave.format), wave.n_bytes or None
            return bytes(self._head[wave.start :])
        if not MAGIC.match(self._head) or len(self._head) > MOST_HEAD_BYTES:
            raise UnsupportedAudio("This is not WAV. Live audio in other containers is not read.")
        return b""


def _pcm(form: WaveFormat) -> PcmStream:
    encoding = _ENCODINGS.get((form.tag, form.bits))
    if encoding is None:
        raise UnsupportedAudio(
            f"The WAV header says format {form.tag} with {form.bits} bits per sample. Live audio "
            "is 16-bit PCM, 32-bit float, A-law or mu-law."
        )
    if not (MIN_RATE_HZ <= form.rate_hz <= MAX_RATE_HZ and form.n_channels <= MAX_CHANNELS):
        raise UnsupportedAudio(
            f"The WAV header says {form.rate_hz} Hz and {form.n_channels} channels. Live audio has "
            f"{MIN_RATE_HZ} to {MAX_RATE_HZ} Hz and up to {MAX_CHANNELS} channels."
        )
    return PcmStream(encoding, form.rate_hz, form.n_channels)

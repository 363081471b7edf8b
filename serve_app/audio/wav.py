"""RIFF/WAVE parsing: strict about what cannot be true, tolerant of what encoders really write.

Layout: Microsoft/IBM "Multimedia Programming Interface and Data Specifications 1.0" (RIFF, WAVE),
``mmreg.h`` (WAVEFORMATEX, WAVEFORMATEXTENSIBLE), EBU Tech 3306 (RF64, ``ds64``). The outer RIFF
size is never used: too many writers get it wrong.
"""

import struct
from dataclasses import dataclass

from serve_app.audio.clip import SAMPLE_RATE_HZ
from serve_app.errors import InvalidAudio

MIN_RATE_HZ = 1_000
MAX_RATE_HZ = 768_000
MAX_CHANNELS = 256

TAG_PCM, TAG_FLOAT, TAG_ALAW, TAG_MULAW, TAG_EXTENSIBLE = 1, 3, 6, 7, 0xFFFE

COMPRESSED_TAGS = frozenset({0x02, 0x11, 0x31, 0x50, 0x55, 0xFF})
"""MS ADPCM, IMA ADPCM, GSM 6.10, MPEG layer 2, MP3, AAC. A list, since some numbers of ``mmreg.h``
mean another codec to FFmpeg, which then decodes noise."""

STREAMING_SIZE_MIN = 0x7FFF_F000
"""Data sizes from here on are placeholders of encoders that write to a pipe: sox 0x7FFFF000,
arecord 0x7FFFFFC0, others 0x7FFFFFFF, ffmpeg 0xFFFFFFFF. Azure's SDK and GStreamer write 0."""

_MAX_CHUNKS = 1_000
_SUBFORMAT_TAIL = bytes.fromhex("000000001000800000aa00389b71")
_SAMPLE_BITS = {
    TAG_PCM: range(1, 65),
    TAG_FLOAT: (32, 64),
    TAG_ALAW: (8,),
    TAG_MULAW: (8,),
}


@dataclass(frozen=True)
class WaveFormat:
    """The checked ``fmt`` chunk; ``tag`` is the sub-format's where the header is extensible."""

    tag: int
    n_channels: int
    rate_hz: int
    block_align: int
    bits: int
    chunk: bytes

    @property
    def is_linear(self) -> bool:
        """Whether one frame is ``block_align`` bytes (PCM, float, A-law, mu-law)."""
        return self.tag in _SAMPLE_BITS

    @property
    def is_native(self) -> bool:
        """Whether the samples are already what Whisper reads: 16 kHz mono int16."""
        return (self.tag, self.n_channels, self.rate_hz, self.bits) == (
            TAG_PCM,
            1,
            SAMPLE_RATE_HZ,
            16,
        )


@dataclass(frozen=True)
class Wave:
    """A parsed WAV file; ``data`` is a view of the caller's bytes, whole frames if linear."""

    format: WaveFormat
    data: memoryview

    def canonical(self) -> tuple[bytes, memoryview]:
        """The same audio with nothing but ``fmt`` and ``data`` and with true sizes: header, data.

        What goes on to FFmpeg: its own reading of odd headers and tags cannot differ from ours.
        """
        n_data = min(len(self.data), 0xFFFF_FFFF)
        n_riff = min(4 + 8 + len(self.format.chunk) + 8 + n_data, 0xFFFF_FFFF)
        header = b"".join(
            (
                struct.pack("<4sI4s", b"RIFF", n_riff, b"WAVE"),
                struct.pack("<4sI", b"fmt ", len(self.format.chunk)),
                self.format.chunk,
                struct.pack("<4sI", b"data", n_data),
            )
        )
        return header, self.data


def parse_wav(payload: bytes | memoryview) -> Wave:
    """Find format and samples of a RIFF, RF64 or BW64 WAVE file without copying the samples.

    Raises :class:`InvalidAudio`: ``truncated_audio`` if a chunk claims more bytes than came,
    ``invalid_audio`` if the header contradicts itself.
    """
    view = memoryview(payload)
    wave_format: WaveFormat | None = None
    data_size_64: int | None = None
    position = 12
    for _ in range(_MAX_CHUNKS):
        if position + 8 > len(view):
            break
        chunk_id = bytes(view[position : position + 4])
        size = int.from_bytes(view[position + 4 : position + 8], "little")
        body = view[position + 8 :]
        if chunk_id == b"data":
            if wave_format is None:
                raise InvalidAudio("The WAV file has samples but no 'fmt ' chunk before them.")
            return Wave(wave_format, _samples(wave_format, body, size, data_size_64))
        if size > len(body):
            raise _truncated(f"its {chunk_id!r} chunk claims {size} bytes, {len(body)} came")
        if chunk_id == b"fmt " and wave_format is None:
            wave_format = _parse_format(bytes(body[:size]))
        elif chunk_id == b"ds64" and size >= 16:
            data_size_64 = int.from_bytes(body[8:16], "little")
        position += 8 + size + size % 2
    else:
        raise InvalidAudio(f"The WAV file has more than {_MAX_CHUNKS} chunks before its samples.")
    if position < len(view) or len(view) <= 12:
        raise _truncated("it ends inside its header")
    raise InvalidAudio("The WAV file has no 'data' chunk.")


def claimed_samples(head: memoryview) -> tuple[WaveFormat, int] | None:
    """The format of a file that begins with ``head``, and the bytes of samples that it claims.

    None where they lie further on, or the header leaves the size open. Raises ``InvalidAudio`` for
    a header that contradicts itself.
    """
    wave_format: WaveFormat | None = None
    position = 12
    while position + 8 <= len(head):
        chunk_id = bytes(head[position : position + 4])
        size = int.from_bytes(head[position + 4 : position + 8], "little")
        body = head[position + 8 : position + 8 + size]
        if chunk_id == b"data":
            is_known = 0 < size < STREAMING_SIZE_MIN
            return (wave_format, size) if wave_format is not None and is_known else None
        if chunk_id == b"fmt " and wave_format is None and len(body) == size:
            wave_format = _parse_format(bytes(body))
        position += 8 + size + size % 2
    return None


def _samples(
    wave_format: WaveFormat, body: memoryview, size: int, data_size_64: int | None
) -> memoryview:
    if size == 0xFFFF_FFFF and data_size_64 is not None:
        size = data_size_64
        streaming = size in (0, 0xFFFF_FFFF_FFFF_FFFF)
    else:
        streaming = size == 0 or STREAMING_SIZE_MIN <= size <= 0xFFFF_FFFF
    if size == 0 and _is_chunk_list(body):
        return body[:0]
    if streaming and (size == 0 or size > len(body)):
        size = len(body)
        if wave_format.is_linear:
            size -= size % wave_format.block_align
    if size > len(body):
        raise _truncated(f"its header claims {size} bytes of samples, {len(body)} came")
    if wave_format.is_linear and size % wave_format.block_align:
        raise _truncated(
            f"{size} bytes of samples are no whole number of {wave_format.block_align}-byte frames"
        )
    return body[:size]


def _is_chunk_list(body: memoryview) -> bool:
    """Whether ``body`` is nothing but further chunks: the size 0 before it was meant."""
    position = 0
    for _ in range(_MAX_CHUNKS):
        if position + 8 > len(body):
            break
        if not bytes(body[position : position + 4]).isascii():
            return False
        size = int.from_bytes(body[position + 4 : position + 8], "little")
        position += 8 + size + size % 2
    return 0 < len(body) <= position <= len(body) + 1


def _parse_format(chunk: bytes) -> WaveFormat:
    if len(chunk) < 16:
        raise InvalidAudio(f"The WAV file's 'fmt ' chunk has {len(chunk)} bytes; 16 are the least.")
    tag, n_channels, rate_hz, _, block_align, bits = struct.unpack_from("<HHIIHH", chunk)
    if tag == TAG_EXTENSIBLE:
        if len(chunk) < 40 or chunk[26:40] != _SUBFORMAT_TAIL:
            raise InvalidAudio("The WAV file's extensible header names no known sub-format.")
        tag = int.from_bytes(chunk[24:26], "little")
    if not MIN_RATE_HZ <= rate_hz <= MAX_RATE_HZ:
        raise InvalidAudio(
            f"The WAV header claims {rate_hz} Hz; {MIN_RATE_HZ} to {MAX_RATE_HZ} Hz are possible."
        )
    if not 1 <= n_channels <= MAX_CHANNELS:
        raise InvalidAudio(
            f"The WAV header claims {n_channels} channels; 1 to {MAX_CHANNELS} are possible."
        )
    if tag in _SAMPLE_BITS:
        if bits not in _SAMPLE_BITS[tag]:
            raise InvalidAudio(
                f"The WAV header claims {bits} bits per sample, which format {tag} has not."
            )
        if block_align != n_channels * ((bits + 7) // 8):
            raise InvalidAudio(
                f"The WAV header contradicts itself: {n_channels} channels of {bits} bits are no "
                f"{block_align} bytes per frame."
            )
    return WaveFormat(tag, n_channels, rate_hz, block_align, bits, chunk)


def _truncated(detail: str) -> InvalidAudio:
    return InvalidAudio(
        f"The WAV file is truncated: {detail}. Send the whole file.", code="truncated_audio"
    )

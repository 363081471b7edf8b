"""RIFF/WAVE headers: strict about what cannot be true, tolerant of what encoders really write.

Layout: Microsoft/IBM "Multimedia Programming Interface and Data Specifications 1.0" (RIFF, WAVE),
``mmreg.h`` (WAVEFORMATEX, WAVEFORMATEXTENSIBLE), EBU Tech 3306 (RF64, ``ds64``). The outer RIFF
size is never used because too many programs write it wrongly.
"""

import re
import struct
from dataclasses import dataclass

from serve_app.audio.claims import PLACEHOLDER_MIN, SLACK_BYTES, truncated
from serve_app.audio.clip import SAMPLE_RATE_HZ
from serve_app.errors import InvalidAudio

MAGIC = re.compile(rb"(?:RIFF|RF64|BW64)....WAVE", re.DOTALL)

MIN_RATE_HZ = 1_000
MAX_RATE_HZ = 768_000
MAX_CHANNELS = 256

TAG_PCM, TAG_FLOAT, TAG_ALAW, TAG_MULAW, TAG_EXTENSIBLE = 1, 3, 6, 7, 0xFFFE

COMPRESSED_TAGS = frozenset(
    {
        *(0x02, 0x11, 0x20),  # ADPCM: MS, IMA, Yamaha
        *(0x14, 0x40, 0x45, 0x64),  # G.726; 0x40 is G.721, its mode of 32 kbit/s
        *(0x22, 0x31),  # TrueSpeech, GSM 6.10
        *(0x42, 0x111, 0x83, 0x28F, 0xA109),  # G.723.1 (two numbers), G.729, G.722, Speex
        *(0x50, 0x55, 0xFF, 0x1600, 0x2000, 0x2001),  # MPEG layer 2, MP3, AAC, ADTS, AC-3, DTS
        *(0x0A, 0x160, 0x161, 0x162, 0x163, 0xF1AC),  # WMA: Voice, 1, 2, Pro, Lossless; FLAC
    }
)
"""No other compressed format is read, since some numbers of ``mmreg.h`` mean another codec to
FFmpeg, which would then decode noise."""

_MAX_CHUNKS = 1_000
_MAX_FORMAT_BYTES = 18 + 0xFFFF
"""A WAVEFORMATEX with the largest ``cbSize``. The chunk is copied several times."""

_SUBFORMAT_TAIL = bytes.fromhex("000000001000800000aa00389b71")
"""The rest of a sub-format after its number. Headers of ambisonic sound have another, for the same
samples."""

_SAMPLE_BITS = {
    TAG_PCM: range(1, 65),
    TAG_FLOAT: (32, 64),
    TAG_ALAW: (8,),
    TAG_MULAW: (8,),
}


@dataclass(frozen=True)
class WaveFormat:
    """The ``fmt`` chunk; ``tag`` is the sub-format's where the header is extensible.

    What a header of a linear format says twice is made to agree: ``block_align`` follows from
    ``bits``, as FFmpeg has it, and so do these fields of ``chunk``.
    """

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
        native = (TAG_PCM, 1, SAMPLE_RATE_HZ, 16)
        return (self.tag, self.n_channels, self.rate_hz, self.bits) == native


@dataclass(frozen=True)
class Wave:
    """Format and place of a WAV file's samples: ``n_bytes`` from offset ``start`` of the file.

    If the format is linear, ``n_bytes`` is a whole number of frames.
    """

    format: WaveFormat
    start: int
    n_bytes: int

    def canonical_header(self) -> bytes:
        """A header with nothing but ``fmt`` and ``data`` and with true sizes.

        FFmpeg is given this one, so that it cannot read an odd header differently from us.
        """
        n_data = min(self.n_bytes, 0xFFFF_FFFF)
        n_riff = min(4 + 8 + len(self.format.chunk) + 8 + n_data, 0xFFFF_FFFF)
        start = struct.pack("<4sI4s4sI", b"RIFF", n_riff, b"WAVE", b"fmt ", len(self.format.chunk))
        return start + self.format.chunk + struct.pack("<4sI", b"data", n_data)


def read_wav(view: memoryview, *, is_whole: bool = True) -> Wave | None:
    """Find format and samples of a RIFF, RF64 or BW64 WAVE file, without touching the samples.

    If ``view`` is only the start of the file (``is_whole`` False), ``n_bytes`` is what the header
    claims, 0 if it leaves that open; None is returned if the samples begin after ``view``.

    Raises :class:`InvalidAudio`: ``truncated_audio`` if a whole file is shorter than it claims,
    ``invalid_audio`` if the header contradicts itself.
    """
    wave_format: WaveFormat | None = None
    data_size_64: int | None = None
    position = 12
    for _ in range(_MAX_CHUNKS):
        if position + 8 > len(view):
            break
        chunk_id = bytes(view[position : position + 4])
        size = int.from_bytes(view[position + 4 : position + 8], "little")
        start = position + 8
        if chunk_id == b"fmt " and size > _MAX_FORMAT_BYTES:
            raise InvalidAudio(
                f"The WAV file's 'fmt ' chunk claims {size} bytes; it has at most "
                f"{_MAX_FORMAT_BYTES}."
            )
        if chunk_id == b"data":
            if wave_format is None:
                raise InvalidAudio("The WAV file has samples but no 'fmt ' chunk before them.")
            is_open = size == 0 or size >= PLACEHOLDER_MIN
            if size == 0xFFFF_FFFF and data_size_64 is not None:
                size = data_size_64
                is_open = size in (0, 0xFFFF_FFFF_FFFF_FFFF)
            if is_whole:
                is_of_file = size in (len(view), len(view) - 8)
                size = _sample_bytes(wave_format, view[start:], size, is_open or is_of_file)
            elif is_open:
                size = 0
            return Wave(wave_format, start, size)
        if start + size > len(view):
            if not is_whole:
                return None
            came = len(view) - start
            raise truncated("WAV", f"its {chunk_id!r} chunk claims {size} bytes, {came} came")
        if chunk_id == b"fmt " and wave_format is None:
            wave_format = _read_format(bytes(view[start : start + size]))
        elif chunk_id == b"ds64" and size >= 16:
            data_size_64 = int.from_bytes(view[start + 8 : start + 16], "little")
        position = start + size + size % 2
    else:
        raise InvalidAudio(f"The WAV file has more than {_MAX_CHUNKS} chunks before its samples.")
    if not is_whole:
        return None
    if position < len(view) or len(view) <= 12:
        raise truncated("WAV", "it ends inside its header")
    raise InvalidAudio("The WAV file has no 'data' chunk.")


def _sample_bytes(wave_format: WaveFormat, body: memoryview, claimed: int, is_open: bool) -> int:
    """Bytes of samples at the start of ``body``, in whole frames if the format is linear.

    They are as many as claimed, or all that came if the claim is open or only a little too high.
    """
    if claimed == 0 and _is_chunk_list(body):
        return 0
    n_bytes = claimed
    if claimed > len(body) or (is_open and claimed == 0):
        n_bytes = len(body)
        if not is_open and claimed > len(body) + SLACK_BYTES:
            raise truncated("WAV", f"its header claims {claimed} bytes of samples, {n_bytes} came")
    return n_bytes - (n_bytes % wave_format.block_align if wave_format.is_linear else 0)


def _is_chunk_list(body: memoryview) -> bool:
    """Whether ``body`` holds nothing but further chunks, so that the size 0 before it was meant."""
    position = 0
    for _ in range(_MAX_CHUNKS):
        if position + 8 > len(body):
            break
        if not bytes(body[position : position + 4]).isascii():
            return False
        size = int.from_bytes(body[position + 4 : position + 8], "little")
        position += 8 + size + size % 2
    return 0 < len(body) <= position <= len(body) + 1


def _read_format(chunk: bytes) -> WaveFormat:
    if len(chunk) < 16:
        raise InvalidAudio(
            f"The WAV file's 'fmt ' chunk has {len(chunk)} bytes; it needs at least 16."
        )
    tag, n_channels, rate_hz, _, block_align, bits = struct.unpack_from("<HHIIHH", chunk)
    is_extensible = tag == TAG_EXTENSIBLE
    if is_extensible:
        if len(chunk) < 40:
            raise InvalidAudio("The WAV file's extensible header names no sub-format.")
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
        bits = _true_bits(tag, bits, block_align // n_channels)
        block_align = n_channels * ((bits + 7) // 8)
        tail = _SUBFORMAT_TAIL if is_extensible else chunk[26:40]
        fields = struct.pack("<IHH", rate_hz * block_align % 2**32, block_align, bits)
        chunk = chunk[:8] + fields + chunk[16:26] + tail + chunk[40:]
    return WaveFormat(tag, n_channels, rate_hz, block_align, bits, chunk)


def _true_bits(tag: int, bits: int, bytes_per_sample: int) -> int:
    """Bits per sample where the header may leave them out or, for A-law and mu-law, be wrong."""
    if tag in (TAG_ALAW, TAG_MULAW):
        return 8
    bits = bits or 8 * bytes_per_sample
    if bits not in _SAMPLE_BITS[tag]:
        raise InvalidAudio(
            f"The WAV header claims {bits} bits per sample, which format {tag} does not have."
        )
    return bits

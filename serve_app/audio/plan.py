"""Looks at an upload once: what it is, what it claims, and so how to decode it."""

import re
from typing import NamedTuple

from serve_app.audio.containers import CONTAINERS, refusal
from serve_app.audio.limits import AudioLimits
from serve_app.audio.wav import COMPRESSED_TAGS, read_wav
from serve_app.errors import InvalidAudio, UnsupportedAudio

_GOES_ON = re.compile(rb"ID3|\0{4}")

_MAX_ID3_TAGS = 100
"""A crafted upload can hold millions, and visiting them all would take seconds."""


class Plan(NamedTuple):
    """How to decode one upload: a small value beside the upload's bytes.

    The bytes from ``start`` to ``end`` are decoded: a WAV file's samples, or any other file without
    its ID3 tags and padding. FFmpeg reads ``header`` before them.
    ``n_frames`` (samples per channel), ``seconds`` and ``pcm_bytes`` (before resampling) are what
    the header claims; each is 0 if it claims nothing.
    ``is_instant``: the samples are 16 kHz mono int16 already, or there are none.
    """

    kind: str
    start: int
    end: int
    header: bytes = b""
    n_frames: int = 0
    seconds: float = 0.0
    pcm_bytes: int = 0
    is_instant: bool = False

    def check(self, limits: AudioLimits) -> None:
        """Raise ``AudioTooLarge`` if the upload claims more than ``limits``."""
        limits.check_seconds(self.seconds)
        limits.check_decoded_bytes(self.pcm_bytes)


def inspect(payload: bytes | bytearray | memoryview, *, is_whole: bool = True) -> Plan:
    """Look at an upload once, in microseconds.

    If ``payload`` is only its start (``is_whole`` False), only what no further byte can mend is
    refused, and the plan is good for its claims alone.

    Raises ``InvalidAudio`` (``empty_audio``; ``truncated_audio`` or ``invalid_audio`` for a WAV
    header) or ``UnsupportedAudio`` (no container or WAV codec that this server reads).
    """
    if not len(payload):
        raise InvalidAudio("The uploaded file is empty.", code="empty_audio")
    view = memoryview(payload)
    start = _id3_bytes(view)
    file = view[start:]
    for kind, container in CONTAINERS.items():
        n_skipped = container.find_start(file)
        if n_skipped is None:
            continue
        if kind == "wav":
            return _inspect_wav(file, start, is_whole)
        length = container.claimed_length(file)
        return Plan(kind, start + n_skipped, len(view), b"", *length)
    raise refusal(file)


def check_start(head: memoryview, limits: AudioLimits) -> None:
    """Refuse an upload by its first 16 KiB, while the rest is still arriving.

    Raises what :func:`inspect` raises, and ``AudioTooLarge`` for what the header claims.
    """
    # An ID3 tag, which often holds a picture, and padding can be longer than what is here.
    if not _GOES_ON.match(head):
        inspect(head, is_whole=False).check(limits)


def _inspect_wav(file: memoryview, offset: int, is_whole: bool) -> Plan:
    wave = read_wav(file, is_whole=is_whole)
    if wave is None:
        return Plan("wav", offset, offset)
    start, end = offset + wave.start, offset + wave.start + wave.n_bytes
    if not wave.n_bytes:
        return Plan("wav", start, end, is_instant=True)
    if wave.format.is_linear:
        n_frames = wave.n_bytes // wave.format.block_align
        return Plan(
            "wav",
            start,
            end,
            header=wave.canonical_header(),
            n_frames=n_frames,
            seconds=n_frames / wave.format.rate_hz,
            pcm_bytes=wave.n_bytes,
            is_instant=wave.format.is_native,
        )
    if wave.format.tag not in COMPRESSED_TAGS:
        raise UnsupportedAudio(
            f"The WAV file's codec ({wave.format.tag:#06x}) is not supported. Supported: PCM, "
            "float, A-law, mu-law, ADPCM, GSM 6.10, G.722, G.723.1, G.726, G.729, TrueSpeech, "
            "MPEG audio, AAC, AC-3, DTS, WMA, FLAC, Speex."
        )
    return Plan("wav", start, end, wave.canonical_header())


def _id3_bytes(view: memoryview) -> int:
    """Length of the ID3v2 tags at the start of ``view``. FFmpeg does not get them, since it unpacks
    compressed ones in full: a tag of 0.6 MB took 530 MB of memory.
    """
    end = 0
    for _ in range(_MAX_ID3_TAGS):
        head = bytes(view[end : end + 10])
        if len(head) < 10 or head[:3] != b"ID3" or max(head[6:]) > 0x7F:
            break
        n_bytes = head[6] << 21 | head[7] << 14 | head[8] << 7 | head[9]
        end += 10 + n_bytes + (10 if head[5] & 0x10 else 0)  # with a footer
    return min(end, len(view))

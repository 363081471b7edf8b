"""An uploaded file -> :class:`~serve_app.audio.clip.AudioClip`, wholly in memory."""

import numpy as np

from serve_app.audio import ffmpeg
from serve_app.audio.clip import SAMPLE_RATE_HZ, AudioClip
from serve_app.audio.container import SUPPORTED_FORMATS, sniff, without_id3
from serve_app.audio.extent import claimed_bytes, flac_frames
from serve_app.audio.limits import AudioLimits, Hold, unbounded
from serve_app.audio.mp4 import check_mp4
from serve_app.audio.wav import COMPRESSED_TAGS, parse_wav
from serve_app.errors import InvalidAudio, UnsupportedAudio


def decode_audio(
    payload: bytes | memoryview, *, limits: AudioLimits, hold: Hold = unbounded
) -> AudioClip:
    """Decode a file of any supported container to 16 kHz mono int16.

    16 kHz mono PCM16 WAV comes back as a view of ``payload`` in microseconds. All else goes through
    FFmpeg and takes milliseconds to seconds: not for an event loop (see :func:`is_fast`).
    A WAV without samples is an empty clip. ``hold`` is told of the memory that the clip takes
    besides ``payload``, piece by piece; what it raises ends the decoding.

    Raises ``InvalidAudio`` (``empty_audio``, ``truncated_audio``, ``invalid_audio``),
    ``UnsupportedAudio`` (no audio that this server reads), ``AudioTooLarge`` (beyond ``limits``).
    """
    if not len(payload):
        raise InvalidAudio("The uploaded file is empty.", code="empty_audio")
    kind = sniff(payload)
    if kind is None:
        raise UnsupportedAudio(f"The file is no audio. Supported: {SUPPORTED_FORMATS}.")
    payload = without_id3(payload)
    if kind == "wav":
        return _decode_wav(payload, limits, hold)
    claimed = claimed_bytes(kind, payload)
    if claimed is not None and claimed > len(payload):
        raise _truncated(kind, f"it claims {claimed} bytes, {len(payload)} came")
    if kind == "mp4":
        check_mp4(payload)
    decoded = ffmpeg.decode(kind, [payload], limits, hold)
    claimed_frames = flac_frames(payload) if kind == "flac" else 0
    if decoded.n_frames < claimed_frames:
        raise _truncated(
            kind, f"it claims {claimed_frames} samples, {decoded.n_frames} could be decoded"
        )
    return AudioClip(decoded.samples, decoded.seconds)


def is_fast(payload: bytes | memoryview) -> bool:
    """Whether :func:`decode_audio` answers (or refuses) without FFmpeg, in microseconds.

    True: call it where you are. False: call it in a thread.
    """
    kind = sniff(payload)
    if kind != "wav":
        return kind is None
    try:
        wave = parse_wav(without_id3(payload))
    except InvalidAudio:
        return True
    return wave.format.is_native or not len(wave.data)


def _decode_wav(payload: memoryview, limits: AudioLimits, hold: Hold) -> AudioClip:
    wave = parse_wav(payload)
    if not len(wave.data):
        return AudioClip(np.zeros(0, np.int16), 0.0)
    if not wave.format.is_linear:
        if wave.format.tag not in COMPRESSED_TAGS:
            raise UnsupportedAudio(
                f"The WAV file's codec ({wave.format.tag:#06x}) is not supported. Supported: PCM, "
                "float, A-law, mu-law, MS and IMA ADPCM, GSM 6.10, MPEG audio, AAC."
            )
        decoded = ffmpeg.decode("wav", wave.canonical(), limits, hold)
        return AudioClip(decoded.samples, decoded.seconds)
    n_frames = len(wave.data) // wave.format.block_align
    seconds = n_frames / wave.format.rate_hz
    limits.check_seconds(seconds)
    limits.check_decoded_bytes(len(wave.data))
    if wave.format.is_native:
        return AudioClip(np.frombuffer(wave.data, "<i2"), n_frames / SAMPLE_RATE_HZ)
    return AudioClip(ffmpeg.decode("wav", wave.canonical(), limits, hold).samples, seconds)


def _truncated(kind: str, detail: str) -> InvalidAudio:
    return InvalidAudio(
        f"The {kind} file is truncated or damaged: {detail}. Send the whole file.",
        code="truncated_audio",
    )

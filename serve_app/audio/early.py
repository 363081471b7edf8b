"""What the first bytes of a file already show, while the rest of it is still on its way."""

from serve_app.audio.container import SUPPORTED_FORMATS, sniff
from serve_app.audio.extent import flac_frames
from serve_app.audio.limits import AudioLimits
from serve_app.audio.wav import claimed_samples
from serve_app.errors import UnsupportedAudio


def check_start(head: memoryview, limits: AudioLimits) -> None:
    """Refuse a file by its first 16 KiB, as ``decode_audio`` would once all of it is there.

    Raises ``UnsupportedAudio`` where no audio begins so, ``InvalidAudio`` for a WAV header that
    contradicts itself, ``AudioTooLarge`` where a WAV or FLAC header claims more than ``limits``.
    """
    if bytes(head[:3]) == b"ID3":
        return  # a tag of unknown length, often with a picture, comes before the sound
    kind = sniff(head)
    if kind is None:
        raise UnsupportedAudio(f"The file is no audio. Supported: {SUPPORTED_FORMATS}.")
    if kind == "wav":
        claimed = claimed_samples(head)
        if claimed is not None and claimed[0].is_linear:
            wave_format, n_bytes = claimed
            limits.check_seconds(n_bytes / wave_format.block_align / wave_format.rate_hz)
            limits.check_decoded_bytes(n_bytes)
    elif kind == "flac":
        rate_hz = int.from_bytes(head[18:21], "big") >> 4
        limits.check_seconds(flac_frames(head) / max(rate_hz, 1))

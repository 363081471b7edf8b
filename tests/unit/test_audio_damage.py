"""Files that are cut, damaged, hostile or not audio get one of our errors, and no other."""

import gc
import io
import subprocess
import sys
from pathlib import Path

import av
import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from serve_app.audio.clip import AudioClip
from serve_app.audio.containers import SUPPORTED_FORMATS
from serve_app.audio.decode import decode_audio
from serve_app.audio.limits import AudioLimits
from serve_app.errors import (
    AudioTooLarge,
    InvalidAudio,
    UnsupportedAudio,
    WhisperOxError,
)
from tests.unit.audio_files import (
    COMPRESSED,
    SECONDS,
    compressed,
    fmt,
    muxed,
    riff,
    sweep,
    written,
)

FILES = {name: compressed(name) for name in COMPRESSED} | {
    "wav": written(sweep(44_100, 2), 44_100, "PCM_24"),
    "ima": written(sweep(8_000), 8_000, "IMA_ADPCM"),
    "fragmented": muxed("mp4", "aac", movflags="frag_keyframe+empty_moov"),
    "video": muxed("mp4", "aac", video=True),
}
TELL_THEIR_LENGTH = sorted(FILES.keys() - {"adts", "ima", "mp3", "ts", "wma", "flv", "mpg"})


def decode(payload: bytes, **limits: float) -> AudioClip:
    return decode_audio(payload, limits=AudioLimits.model_validate(limits))


def decode_or_refuse(payload: bytes) -> AudioClip | None:
    try:
        return decode(payload)
    except WhisperOxError as error:
        assert error.status in (400, 413, 415)
        return None


def test_empty_body_is_empty_audio() -> None:
    with pytest.raises(InvalidAudio) as caught:
        decode(b"")
    assert (caught.value.code, caught.value.status) == ("empty_audio", 400)


@pytest.mark.parametrize(
    "payload",
    [
        b"\0",
        b"hello, this is text",
        b"%PDF-1.7\n" + bytes(500),
        b"\x89PNG\r\n\x1a\n" + bytes(500),
        b"PK\x03\x04" + bytes(500),
        b'{"file": "audio.wav"}',
        bytes(100_000),
        b"RIFF\x24\0\0\0RMIDdata",
        b"ID3\x04\0\0\0\0\0\0",
    ],
)
def test_a_file_that_is_not_audio_is_unsupported_and_the_error_lists_what_is(
    payload: bytes,
) -> None:
    with pytest.raises(UnsupportedAudio) as caught:
        decode(payload)
    assert caught.value.status == 415
    assert SUPPORTED_FORMATS in caught.value.message


def test_video_without_sound_is_unsupported() -> None:
    with pytest.raises(UnsupportedAudio, match="no audio track"):
        decode(muxed("mp4", None, video=True))


@pytest.mark.parametrize(
    "playlist",
    [
        "#EXTM3U\n#EXT-X-TARGETDURATION:10\n#EXTINF:10,\nfile://{}\n#EXT-X-ENDLIST\n",
        "ffconcat version 1.0\nfile 'file://{}'\n",
    ],
)
def test_playlists_open_no_file(playlist: str, tmp_path_factory: pytest.TempPathFactory) -> None:
    path = tmp_path_factory.mktemp("disk") / "secret.wav"
    path.write_bytes(FILES["wav"])
    with pytest.raises(UnsupportedAudio):
        decode(playlist.format(path).encode())


@pytest.mark.parametrize("name", TELL_THEIR_LENGTH)
@pytest.mark.parametrize("kept", [0.3, 0.6, 0.9])
def test_cut_upload_is_truncated(name: str, kept: float) -> None:
    payload = FILES[name]
    with pytest.raises(InvalidAudio) as caught:
        decode(payload[: int(kept * len(payload))])
    assert (caught.value.code, caught.value.status) == ("truncated_audio", 400)


@pytest.mark.parametrize("name", ["mp3", "ts", "wma", "flv", "mpg", "adts"])
def test_what_came_of_a_stream_is_decoded(name: str) -> None:
    payload = FILES[name]
    clip = decode(payload[: len(payload) * 2 // 3])
    assert clip.received_seconds == pytest.approx(SECONDS * 2 / 3, abs=0.25)


def test_a_recording_in_fragments_may_be_cut_in_any_but_the_first() -> None:
    payload = muxed("mp4", "aac", movflags="empty_moov+default_base_moof", frag_duration="300000")
    clip = decode(payload[: len(payload) * 2 // 3])
    assert clip.received_seconds == pytest.approx(SECONDS * 2 / 3, abs=0.3)


@pytest.mark.parametrize("factor", [0, 3, 1_000])
def test_counts_of_an_mp3_are_not_believed(factor: int) -> None:
    payload = bytearray(FILES["mp3"])
    at = next(payload.index(name) for name in (b"Xing", b"Info") if name in payload)
    for field in (8, 12):
        count = int.from_bytes(payload[at + field : at + field + 4], "big")
        payload[at + field : at + field + 4] = min(count * factor, 2**32 - 1).to_bytes(4, "big")
    assert decode(bytes(payload)).received_seconds == pytest.approx(SECONDS, abs=0.1)


@pytest.mark.parametrize("name", ["mp3", "adts"])
@pytest.mark.parametrize("n_bytes", [10_000, 100_000])
def test_padding_before_the_first_frame_is_skipped(name: str, n_bytes: int) -> None:
    tag = b"ID3\x04\0\0\0\0\x02\0" + bytes(256)
    np.testing.assert_array_equal(
        decode(tag + bytes(n_bytes) + FILES[name]).samples, decode(FILES[name]).samples
    )


@pytest.mark.parametrize("name", ["mp3", "adts", "ts"])
def test_a_stream_that_begins_in_mid_frame_is_decoded(name: str) -> None:
    clip = decode(FILES[name][500:])
    assert clip.received_seconds == pytest.approx(SECONDS, abs=0.2)


@pytest.mark.parametrize("name", sorted(FILES))
def test_every_short_prefix_is_refused_or_decoded(name: str) -> None:
    payload = FILES[name]
    for n_bytes in (*range(1, 200, 3), *range(200, 2_000, 97)):
        decode_or_refuse(payload[:n_bytes])


@pytest.mark.parametrize("name", sorted(FILES))
def test_noise_in_mid_file_is_refused_or_decoded(name: str) -> None:
    payload = bytearray(FILES[name])
    middle = len(payload) // 2
    payload[middle : middle + 200] = np.random.default_rng(0).bytes(200)
    clip = decode_or_refuse(bytes(payload))
    assert clip is None or clip.received_seconds > 0


@given(
    name=st.sampled_from(sorted(FILES)),
    place=st.floats(0, 1, exclude_max=True),
    in_header=st.booleans(),
    patch=st.binary(min_size=1, max_size=16),
)
def test_patched_files_decode_or_raise_our_errors(
    name: str, place: float, in_header: bool, patch: bytes
) -> None:
    payload = bytearray(FILES[name])
    start = int(place * (min(600, len(payload)) if in_header else len(payload)))
    payload[start : start + len(patch)] = patch
    decode_or_refuse(bytes(payload))


@given(
    magic=st.sampled_from(
        [
            b"",
            b"fLaC",
            b"OggS\0\2",
            b"\x1a\x45\xdf\xa3",
            b"\0\0\0\x14ftypM4A ",
            b"caff\0\1\0\0",
            b".snd",
            b"#!AMR\n",
            b"\xff\xfb\x94\xc4",
            b"\xff\xf1\x4c\x40",
            b"ID3\4\0\0\0\0\0\1",
        ]
    ),
    noise=st.binary(max_size=500),
)
@example(magic=b"\0\0\0\x14moov", noise=b"\0\0\0\x0cstsz")
def test_noise_behind_a_magic_number_raises_our_errors(magic: bytes, noise: bytes) -> None:
    decode_or_refuse(magic + noise)


@pytest.mark.parametrize("name", ["mp3", "m4a", "adts"])
def test_damaged_packets_cost_only_themselves(name: str) -> None:
    payload = bytearray(FILES[name])
    middle = len(payload) // 2
    payload[middle : middle + 40] = bytes(40)
    assert decode(bytes(payload)).received_seconds == pytest.approx(SECONDS, abs=0.1)


def test_a_track_of_which_few_packets_can_be_decoded_is_refused() -> None:
    # FFmpeg writes AAC into WAV without what a decoder needs to know; a few packets pass by chance.
    with pytest.raises(InvalidAudio, match="cannot be decoded"):
        decode(muxed("wav", "aac"))


def test_a_recording_in_segments_is_decoded() -> None:
    segments = muxed("mp4", "aac", movflags="empty_moov+default_base_moof", frag_duration="300000")
    styp = bytes.fromhex("00000010") + b"stypmsdh" + bytes(4)
    assert decode(styp + segments).received_seconds == pytest.approx(SECONDS, abs=0.1)


def test_damaged_packets_leave_no_codec_to_the_garbage_collector() -> None:
    payload = bytearray(FILES["m4a"])
    payload[5_000:5_040] = bytes(40)
    decode(bytes(payload))
    gc.collect()
    gc.disable()
    try:
        decode(bytes(payload))
        assert gc.collect() == 0
    finally:
        gc.enable()


@pytest.mark.parametrize("name", sorted(FILES))
def test_audio_longer_than_the_limit_is_too_large(name: str) -> None:
    with pytest.raises(AudioTooLarge) as caught:
        decode(FILES[name], max_seconds=1.0)
    assert caught.value.status == 413
    assert "1 s" in caught.value.message


@pytest.mark.parametrize("name", sorted(FILES))
def test_audio_that_unpacks_beyond_the_limit_is_too_large(name: str) -> None:
    with pytest.raises(AudioTooLarge):
        decode(FILES[name], max_decoded_bytes=10_000)


def test_native_wav_beyond_the_limit_is_too_large() -> None:
    with pytest.raises(AudioTooLarge):
        decode(written(sweep(16_000), 16_000), max_seconds=1.0)


def test_flac_header_that_hides_its_length_is_stopped_while_decoding() -> None:
    payload = bytearray(written(np.zeros((8_000 * 60, 1)), 8_000, "PCM_16", "FLAC"))
    payload[21] &= 0xF0
    payload[22:26] = bytes(4)
    with pytest.raises(AudioTooLarge):
        decode(bytes(payload), max_seconds=10.0)


@pytest.mark.parametrize("claimed", [0x7FFE_FFFF, 0xC000_0000, 3_000_000_000])
def test_wav_that_claims_gigabytes_costs_what_came(claimed: int) -> None:
    payload = riff(fmt(), (b"data", bytes(64_000)), sizes={b"data": claimed})
    clip = decode_or_refuse(payload)
    assert clip is None or clip.samples.nbytes == 64_000


@pytest.mark.parametrize("rate_hz", [10, 999, 4_000_000])
def test_rate_that_cannot_be_true_is_invalid(rate_hz: int) -> None:
    payload = bytearray(FILES["au"])
    payload[16:20] = rate_hz.to_bytes(4, "big")
    with pytest.raises(InvalidAudio):
        decode(bytes(payload))


def test_nine_planar_channels_are_refused() -> None:
    buffer = io.BytesIO()
    with av.open(buffer, "w", format="matroska") as container:
        options = {"mapping_family": "255"}
        sound = container.add_stream("libopus", rate=48_000, layout="9 channels", options=options)
        frame = av.AudioFrame(format="s16", layout="9 channels", samples=960)
        frame.planes[0].update(bytes(frame.planes[0].buffer_size))
        frame.sample_rate = 48_000
        container.mux(sound.encode(frame))
        container.mux(sound.encode(None))
    with pytest.raises(UnsupportedAudio, match="9 channels"):
        decode(buffer.getvalue())


def test_header_that_claims_sound_and_holds_none_is_invalid() -> None:
    header = FILES["flac"][: FILES["flac"].index(b"\xff\xf8")]
    with pytest.raises(InvalidAudio):
        decode(header)


PEAK_OF_ONE_HOUR = """
import resource, sys
import numpy as np
from serve_app.audio.decode import decode_audio
from serve_app.audio.limits import AudioLimits
from tests.unit.audio_files import fmt, riff, written

silence = bytes(2 * 2 * 8_000 * 3_600)
payload = riff(fmt(n_channels=2, rate_hz=8_000), (b"data", silence))
del silence
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
seconds = decode_audio(payload, limits=AudioLimits()).seconds
print(seconds, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="ru_maxrss has other units elsewhere")
def test_an_hour_takes_little_more_memory_than_its_result() -> None:
    run = subprocess.run(
        [sys.executable, "-c", PEAK_OF_ONE_HOUR],
        cwd=Path(__file__).parents[2],
        check=True,
        capture_output=True,
        text=True,
    )
    seconds, growth_kib = run.stdout.split()
    assert float(seconds) == 3_600.0
    result_kib = 2 * 16_000 * 3_600 / 1_024
    assert int(growth_kib) < 1.5 * result_kib

"""Every format decodes to exactly the samples that faster-whisper would transcribe."""

import io

import numpy as np
import pytest
from faster_whisper import decode_audio as faster_whisper_decode

from loadtest.speech import corpus_clips
from serve_app.audio.clip import AudioClip
from serve_app.audio.decode import decode_audio
from serve_app.audio.limits import AudioLimits
from tests.unit.audio_files import (
    COMPRESSED,
    SECONDS,
    compressed,
    muxed,
    sweep,
    written,
)

WAV_SUBTYPES = (
    "PCM_U8",
    "PCM_16",
    "PCM_24",
    "PCM_32",
    "FLOAT",
    "DOUBLE",
    "ALAW",
    "ULAW",
    "IMA_ADPCM",
    "MS_ADPCM",
    "GSM610",
)


def decode(payload: bytes) -> AudioClip:
    return decode_audio(payload, limits=AudioLimits())


def assert_same_as_faster_whisper(payload: bytes) -> None:
    clip = decode(payload)
    np.testing.assert_array_equal(clip.float32(), faster_whisper_decode(io.BytesIO(payload)))


@pytest.mark.parametrize(
    ("rate_hz", "n_channels"),
    [
        *((rate_hz, 1) for rate_hz in (8_000, 11_025, 16_000, 22_050, 44_100, 48_000, 96_000)),
        *((16_000, 2), (44_100, 2), (48_000, 6)),
    ],
)
def test_wav_of_any_rate_and_channel_count_equals_faster_whisper(
    rate_hz: int, n_channels: int
) -> None:
    payload = written(sweep(rate_hz, n_channels), rate_hz)
    assert_same_as_faster_whisper(payload)
    assert decode(payload).received_seconds == pytest.approx(SECONDS, abs=1 / rate_hz)


@pytest.mark.parametrize("subtype", WAV_SUBTYPES)
def test_wav_of_any_sample_format_equals_faster_whisper(subtype: str) -> None:
    assert_same_as_faster_whisper(written(sweep(8_000), 8_000, subtype))


def test_extensible_wav_equals_faster_whisper() -> None:
    assert_same_as_faster_whisper(written(sweep(44_100, 2), 44_100, "PCM_24", "WAVEX"))


def test_rf64_wav_equals_faster_whisper() -> None:
    assert_same_as_faster_whisper(written(sweep(44_100, 2), 44_100, "PCM_16", "RF64"))


@pytest.mark.parametrize("name", COMPRESSED)
def test_compressed_audio_equals_faster_whisper(name: str) -> None:
    assert_same_as_faster_whisper(compressed(name))


@pytest.mark.parametrize("name", COMPRESSED)
def test_compressed_audio_keeps_its_length_and_sound(name: str) -> None:
    clip = decode(compressed(name))
    assert clip.received_seconds == pytest.approx(SECONDS, abs=0.06)
    assert clip.seconds == pytest.approx(clip.received_seconds, abs=0.01)
    rms = float(np.sqrt(np.mean(clip.float32() ** 2)))
    assert rms == pytest.approx(0.5 / np.sqrt(2), rel=0.05)


def test_resampling_keeps_pitch_and_level() -> None:
    tone = np.sin(2 * np.pi * 1_000 * np.arange(96_000) / 48_000)[:, None] * 0.5
    spectrum = np.abs(np.fft.rfft(decode(written(tone, 48_000)).float32()))
    assert np.argmax(spectrum) / 2.0 == 1_000.0
    assert spectrum.max() / 16_000 == pytest.approx(0.5, rel=0.01)


def test_resampling_lets_no_alias_through() -> None:
    tone = np.sin(2 * np.pi * 15_000 * np.arange(48_000) / 48_000)[:, None] * 0.5
    assert np.abs(decode(written(tone, 48_000)).float32()[800:-800]).max() < 0.002


@pytest.mark.parametrize("subtype", ["PCM_U8", "PCM_16", "PCM_24", "PCM_32", "FLOAT", "DOUBLE"])
@pytest.mark.parametrize("n_channels", [9, 32, 200])
def test_channel_counts_without_a_standard_layout_are_averaged(
    n_channels: int, subtype: str
) -> None:
    mono = sweep(16_000, seconds=0.2)
    clip = decode(written(np.repeat(mono, n_channels, axis=1), 16_000, subtype))
    assert np.abs(clip.float32() - mono[:, 0]).max() < 0.01


@pytest.mark.parametrize("video", [("mp4", "aac"), ("matroska", "libopus")])
def test_sound_of_a_video_is_decoded(video: tuple[str, str]) -> None:
    assert_same_as_faster_whisper(muxed(*video, video=True))


def test_fragmented_mp4_equals_faster_whisper() -> None:
    assert_same_as_faster_whisper(muxed("mp4", "aac", movflags="frag_keyframe+empty_moov"))


def test_live_webm_equals_faster_whisper() -> None:
    assert_same_as_faster_whisper(muxed("webm", "libopus", live="1"))


def test_chained_ogg_is_decoded_to_its_end() -> None:
    payload = 2 * compressed("opus")
    assert_same_as_faster_whisper(payload)
    assert decode(payload).received_seconds == pytest.approx(2 * SECONDS, abs=0.05)


def test_joined_mp3_of_two_rates_is_decoded_to_its_end() -> None:
    first = written(sweep(16_000), 16_000, "MPEG_LAYER_III", "MP3")
    second = written(sweep(44_100, 2), 44_100, "MPEG_LAYER_III", "MP3")
    clip = decode(first + second)
    assert clip.received_seconds == pytest.approx(2 * SECONDS, abs=0.2)
    assert clip.seconds == pytest.approx(clip.received_seconds, abs=0.01)


def test_mp3_behind_an_id3_tag_equals_the_mp3() -> None:
    mp3 = compressed("mp3")
    tagged = b"ID3\x04\x00\x00\x00\x00\x02\x00" + bytes(256) + mp3
    np.testing.assert_array_equal(decode(tagged).samples, decode(mp3).samples)


def test_native_wav_is_a_view_of_the_upload() -> None:
    payload = written(sweep(16_000), 16_000)
    clip = decode(payload)
    assert clip.samples.dtype == np.int16
    assert np.shares_memory(clip.samples, np.frombuffer(payload, np.uint8))
    assert clip.received_seconds == SECONDS


def test_decoded_audio_is_int16() -> None:
    assert decode(compressed("opus")).samples.dtype == np.int16


def test_memoryviews_decode_like_bytes() -> None:
    payload = compressed("flac")
    clip = decode_audio(memoryview(bytearray(payload)), limits=AudioLimits())
    np.testing.assert_array_equal(clip.samples, decode(payload).samples)


@pytest.mark.long
@pytest.mark.corpus
@pytest.mark.skipif(not corpus_clips(), reason="no corpus")
def test_corpus_clips_equal_faster_whisper() -> None:
    paths = sorted(clip.path for clip in corpus_clips())
    one_of_each_suffix = {path.suffix: path for path in paths}
    for path in {*paths[::20], *one_of_each_suffix.values()}:
        assert_same_as_faster_whisper(path.read_bytes())

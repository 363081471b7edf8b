"""The spectrogram that is computed in pieces is faster-whisper's, bit by bit, in little memory."""

import numpy as np
import pytest
from faster_whisper.feature_extractor import FeatureExtractor

from serve_app.audio.clip import SAMPLE_RATE_HZ, Samples, as_float32
from serve_app.engine.log_mel import BLOCK_FRAMES, LogMel
from serve_app.engine.scheduler import RequestClosed
from serve_app.engine.window import FULL_FRAMES
from tests.unit.traced_memory import traced

CHANCE = np.random.default_rng(5)


def swelling(n_samples: int) -> Samples:
    """Noise that comes and goes, so that its loudest frame is in one place."""
    loudness = 1.1 + np.sin(np.arange(n_samples) / 40_000)
    return (CHANCE.normal(0, 3_000, n_samples) * loudness).astype(np.int16)


def never() -> None:
    """Never ends the work."""


@pytest.mark.parametrize("n_mels", [80, 128])
@pytest.mark.parametrize("n_samples", [0, 1, 160, 399, 401, 16_000, 480_000, 480_001, 1_000_077])
def test_any_part_is_that_of_the_spectrogram_in_one_piece(n_samples: int, n_mels: int) -> None:
    samples, extractor = swelling(n_samples), FeatureExtractor(feature_size=n_mels)
    whole, mel = extractor(as_float32(samples)), LogMel.of(extractor, samples, never)
    assert mel.shape == whole.shape
    length = whole.shape[-1]
    starts = [0, length - 1, length - 5, *CHANCE.integers(0, length, 8)]
    for start in map(int, starts):
        for width in (1, 2, 33, BLOCK_FRAMES):
            part = mel[..., start : start + width]
            assert np.array_equal(part, whole[..., start : start + width])


def test_silence_and_one_level_are_exact_as_well() -> None:
    extractor = FeatureExtractor(feature_size=80)
    for level in (0, 3_000, -32_768):
        samples = np.full(40_000, level, np.int16)
        assert np.array_equal(
            LogMel.of(extractor, samples, never)[:, :], extractor(as_float32(samples))
        )


def test_a_part_longer_than_a_window_is_computed_in_turn() -> None:
    samples, extractor = swelling(90 * SAMPLE_RATE_HZ), FeatureExtractor(feature_size=80)
    whole, rest = extractor(as_float32(samples)), LogMel.of(extractor, samples, never)[..., 500:]
    assert isinstance(rest, LogMel)
    assert rest.shape == whole[..., 500:].shape
    assert np.array_equal(rest[..., 100:200], whole[..., 600:700])
    assert np.array_equal(rest[..., -3:], whole[..., -3:])


def test_memory_does_not_grow_with_the_audio() -> None:
    ten_minutes = np.resize(swelling(SAMPLE_RATE_HZ), 600 * SAMPLE_RATE_HZ)
    with traced() as peak:
        LogMel.of(FeatureExtractor(feature_size=80), ten_minutes, never)[:, 1_000:FULL_FRAMES]
    assert peak() < 64 * 2**20  # 600 MB in one piece


def test_the_work_ends_with_its_request() -> None:
    def leave() -> None:
        raise RequestClosed

    with pytest.raises(RequestClosed):
        LogMel.of(FeatureExtractor(), np.zeros(100, np.int16), leave)

"""Mixes channels so that nobody who speaks on one of them is lost.

FFmpeg mixes by the layout. It leaves out the channel for deep sound, which is the third of three,
and lets channels of opposite phase cancel each other. This module measures what a mix keeps of
every channel with speech, and replaces the mix if that is too little.
"""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from serve_app.audio.clip import INT16_SCALE
from serve_app.audio.level import SILENCE_PEAK

Floats = npt.NDArray[np.float64]

_BLOCKS_PER_SECOND = 24
_SPEECH_BLOCKS = 12
"""Speech reaches its level for at least this many seconds."""

_SPEECH_RANGE = 4.0
"""Speech is louder than its pauses by this factor (12 dB). Noise and tones keep their level."""

_STEADY_RANGE = 1.25
"""Noise and tones without speech keep their level within this factor (2 dB)."""

_LOST = 0.1
"""Voice activity detection misses speech that is 20 dB below the loudest."""

_MASKS = 0.5
"""Noise of a channel without speech drowns speech that is louder than it by less than 6 dB."""

_SAME_TALK = 0.6
"""Channels hold the same speech if their loudness rises and falls together as much as this."""

_SAME_WAVE = 0.3
_MOST_GAIN = 100.0


class Mix(NamedTuple):
    """How the channels of one stretch of sound become one: ``weights @ (samples - offsets)``.

    ``weights`` and ``offsets`` have the shape [n_channels]. ``peak`` is the most that can come out,
    relative to full scale, ``offset`` the mean of FFmpeg's own mix, and ``is_plain`` tells whether
    that one will do.
    """

    weights: Floats
    offsets: Floats
    peak: float
    offset: float
    is_plain: bool


class Meter:
    """Measures channels piece by piece; ``plain`` are the weights of FFmpeg's mix."""

    def __init__(self, plain: Floats, rate_hz: int) -> None:
        n = len(plain)
        self._plain = plain
        self._n_samples = 0
        self._sums = np.zeros(n)
        self._highest, self._lowest = np.full(n, -np.inf), np.full(n, np.inf)
        self._products = np.zeros((n, n))
        # A power of two, so that pieces hold whole blocks.
        self._block = 1 << max(0, round(np.log2(rate_hz / _BLOCKS_PER_SECOND)))
        self._levels: list[npt.NDArray[np.float32]] = []

    def add(self, samples: npt.NDArray[np.float32]) -> None:
        """Measure more samples, [n_channels, n], with full scale 1."""
        n_channels, n = samples.shape
        self._n_samples += n
        self._sums += samples.sum(axis=1, dtype=np.float64)
        self._highest = np.maximum(self._highest, samples.max(axis=1))
        self._lowest = np.minimum(self._lowest, samples.min(axis=1))
        if n_channels > 1:
            self._products += samples @ samples.T
            n_whole = n - n % self._block
            blocks = samples[:, :n_whole].reshape(n_channels, -1, self._block)
            means = blocks.sum(axis=2) / self._block
            powers = np.einsum("cbk,cbk->cb", blocks, blocks) / self._block
            self._levels.append(np.sqrt(np.maximum(powers - means**2, 0)))

    def mix(self) -> Mix:
        """The mix that keeps every channel with speech; FFmpeg's own if that is enough."""
        offsets = self._sums / self._n_samples
        peaks = np.maximum(self._highest - offsets, offsets - self._lowest)
        weights = self._speech_weights(offsets)
        is_plain = weights is None
        weights = self._plain if weights is None else weights
        peak = float(np.abs(weights) @ peaks)
        return Mix(weights, offsets, peak, float(self._plain @ offsets), is_plain)

    def _speech_weights(self, offsets: Floats) -> Floats | None:
        if len(offsets) < 2 or not self._levels:
            return None
        levels = np.concatenate(self._levels, axis=1)
        if levels.shape[1] < _SPEECH_BLOCKS:
            return None
        covariance = self._products / self._n_samples - np.outer(offsets, offsets)
        return speech_weights(self._plain, covariance, levels)


def speech_weights(
    plain: Floats, covariance: Floats, levels: npt.NDArray[np.float32]
) -> Floats | None:
    """Weights that keep every channel with speech; None if ``plain`` does.

    ``covariance`` is that of the channels. ``levels`` are their loudness over time, [n_channels,
    n_blocks].
    """
    n_blocks = levels.shape[1]
    rank = min(_SPEECH_BLOCKS, n_blocks // 4)
    loud = np.partition(levels, n_blocks - rank, axis=1)[:, n_blocks - rank].astype(np.float64)
    pauses = np.percentile(levels, 10, axis=1)
    sounds = loud > SILENCE_PEAK / INT16_SCALE / 4  # speech peaks four times above its level
    speaks = sounds & (loud > _SPEECH_RANGE * pauses)
    power = np.maximum(np.diag(covariance), 1e-20)
    kept = np.abs(covariance @ plain) / power * loud
    if not speaks.any():
        if not sounds.any() or kept.max() >= _LOST * loud.max():
            return None
        speaks = sounds
    speech = kept[speaks].max()
    lost = speaks & (kept < _LOST * loud[speaks].max())
    with np.errstate(invalid="ignore", divide="ignore"):  # of a level that never changes
        alike = np.corrcoef(np.log10(levels + 1e-5))
    heard = speaks & ~lost
    echoes = lost & (alike[:, heard] > _SAME_TALK).any(axis=1)
    if not (lost & ~echoes).any():
        masks = ~speaks & (loud < _STEADY_RANGE * pauses) & (np.abs(plain) * loud > _MASKS * speech)
        return np.where(masks, 0.0, plain) if masks.any() else None
    first = int(np.argmax(np.where(speaks, loud, 0)))
    correlation = covariance[first] / np.sqrt(power[first] * power)
    signs = np.where(correlation < -_SAME_WAVE, -1.0, 1.0)
    gains = np.minimum(loud[first] / np.maximum(loud, 1e-9), _MOST_GAIN)
    return np.where(speaks, signs * np.where(echoes, 1.0, gains), 0.0)

"""How loud a clip must be, and how a clip that is too quiet or too loud is changed.

Speech at any usual level is not changed, to the last bit. Other speech is brought to one level
before it is cut to 16 bits. Otherwise voice activity detection would miss most speech below -50
dBFS, and float samples beyond full scale would be clipped.
"""

import numpy as np

from serve_app.audio.clip import INT16_SCALE, Samples

SILENCE_PEAK = 8
"""Audio whose int16 samples all stay below this (-72 dBFS) holds no speech, only dither and line
noise of a muted source. Decoded without VAD, Whisper would hear words in it."""

# tiny.en, 72 English clips: WER 10.0 % as they are, 9.9 % at a peak of -10 dBFS, 11.0 % from -30 to
# -45, 16.5 % at -50 and 87 % at -60.
QUIETEST_PEAK = 10 ** (-30 / 20)
LOUDEST_PEAK = 2.0
"""The usual peaks, relative to full scale. Lossy codecs exceed it a little."""

LARGEST_OFFSET = 0.03
"""The usual distance of the mean from zero. Cheap sound cards have 0.01."""

STANDARD_PEAK = 10 ** (-10 / 20)


def is_usual(peak: float, offset: float) -> bool:
    """Whether samples need no change.

    ``peak`` is the greatest distance from their mean, which is ``offset``. Both are relative to
    full scale.
    """
    return gain(peak) == 1.0 and abs(offset) <= LARGEST_OFFSET


def gain(peak: float) -> float:
    """The gain and offset that bring samples to an audible level. Silence stays silence."""
    if peak < SILENCE_PEAK / INT16_SCALE or QUIETEST_PEAK <= peak <= LOUDEST_PEAK:
        return 1.0
    return STANDARD_PEAK / peak


def is_usual_clip(samples: Samples) -> bool:
    """The same for a clip. This takes a few microseconds per second of it."""
    if not len(samples):
        return True
    mean = float(np.add.reduce(samples, dtype=np.int64)) / len(samples)
    peak = max(int(samples.max()) - mean, mean - int(samples.min()))
    return is_usual(peak / INT16_SCALE, mean / INT16_SCALE)

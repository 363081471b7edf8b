"""Decoding any upload ends within its limits, with samples or a refusal.

``WHISPER_OX_EXAMPLES=5000 pytest tests/unit/test_audio_bombs.py`` is the long run.
"""

import math
import sys
from collections.abc import Iterator

import numpy as np
import pytest
from hypothesis import given

from serve_app.audio.limits import WorkerLimits
from serve_app.errors import WhisperOxError
from tests.hostile import MANY, examples
from tests.unit.audio_files import compressed
from tests.unit.decoding import MIB, SPARE_KIB, Decoding, decoding
from tests.unit.structures import hostile_files

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="needs files in memory")

BOUNDS = WorkerLimits(workers=2, cpu_seconds=1, memory_bytes=64 * MIB)


@pytest.fixture(scope="module")
def pool() -> Iterator[Decoding]:
    with decoding(BOUNDS) as running:
        running.decode(compressed("mp3"))
        yield running


@pytest.mark.timeout(300 + MANY)
@examples(60)
@given(payload=hostile_files)
def test_a_hostile_file_keeps_to_its_bounds(pool: Decoding, payload: bytes) -> None:
    usual_kib = pool.endings[0].peak_kib
    seconds = 0.0
    try:
        clip = pool.decode(payload)
    except WhisperOxError as error:
        assert 400 <= error.status < 500, error
        assert error.message.isprintable()
    else:
        seconds = clip.seconds
        assert clip.samples.dtype == np.int16
        assert math.isfinite(clip.received_seconds)
        assert len(clip.samples) <= 16_000 * (clip.received_seconds + 1)
    ending = pool.endings[-1]
    assert ending.cpu_seconds < BOUNDS.cpu_seconds_for(seconds) + 1
    most_kib = usual_kib + SPARE_KIB + (BOUNDS.memory_bytes + len(payload)) / 1024
    assert ending.peak_kib < most_kib

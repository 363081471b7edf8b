import wave
from io import BytesIO
from typing import Any

import httpx
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from loadtest.bench.overhead import timing
from loadtest.chunks import pcm16_wav
from loadtest.client import Reply
from serve_app.errors import WhisperOxError

TRANSCRIPT = {"segments": [{"text": " Hello."}, {"text": "World."}], "language": "en"}


def reply(body: Any = TRANSCRIPT, status: int = 200, server_timing: str | None = None) -> Reply:
    headers = {"Server-Timing": server_timing} if server_timing else {}
    return Reply(status, body, httpx.Headers(headers), 0.75)


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        ("engine;dur=512.5", 0.5125),
        ("decode;dur=3, engine;desc=whisper;dur=512", 0.512),
        ("engine; dur=8", 0.008),
        ("search-engine;dur=9", None),
        (None, None),
    ],
)
def test_engine_time_is_read_from_server_timing(header: str | None, seconds: float | None) -> None:
    assert reply(server_timing=header).engine_seconds == seconds


def test_overhead_is_total_minus_engine() -> None:
    assert timing(reply(server_timing="engine;dur=700")).overhead == pytest.approx(50.0)


def test_no_engine_time_is_an_error_not_a_zero() -> None:
    with pytest.raises(WhisperOxError, match="Server-Timing"):
        timing(reply())


@given(st.lists(st.integers(-32_768, 32_767), max_size=50))
def test_pcm16_survives_the_wav(pcm: list[int]) -> None:
    with wave.open(BytesIO(pcm16_wav(np.array(pcm, dtype=np.float32) / np.float32(32_768)))) as wav:
        assert wav.getparams()[:4] == (1, 2, 16_000, len(pcm))
        assert np.frombuffer(wav.readframes(len(pcm)), "<i2").tolist() == pcm

"""What a client puts on the wire, without any of our code in between."""

import io
import json
import wave
from typing import Any

import av
import httpx
import numpy as np
import numpy.typing as npt

TIMEOUT_SECONDS = 600.0


def post(
    url: str,
    audio: bytes,
    options: dict[str, Any] | str | None = None,
    *,
    field: str = "file",
    headers: dict[str, str] | None = None,
) -> httpx.Response:
    """One multipart request; ``url`` with its path."""
    data = {}
    if options is not None:
        data["generate_kwargs"] = options if isinstance(options, str) else json.dumps(options)
    return httpx.post(
        url,
        files={field: ("chunk.wav", audio, "audio/wav")},
        data=data,
        headers=headers,
        timeout=TIMEOUT_SECONDS,
    )


def words_of(response: httpx.Response) -> str:
    """Lower-case text of a 200 answer without punctuation."""
    assert response.status_code == 200, response.text
    text = " ".join(segment["text"] for segment in response.json()["segments"])
    return "".join(c for c in text.lower() if c.isalnum() or c.isspace()).strip()


def wav(samples: npt.NDArray[np.int16], rate_hz: int = 16_000) -> bytes:
    """A WAV file of int16 samples [n] or [n, channels]."""
    file = io.BytesIO()
    with wave.open(file, "wb") as audio:
        audio.setnchannels(1 if samples.ndim == 1 else samples.shape[1])
        audio.setsampwidth(2)
        audio.setframerate(rate_hz)
        audio.writeframes(samples.astype("<i2").tobytes())
    return file.getvalue()


def silence(seconds: float) -> bytes:
    """A WAV file of digital silence."""
    return wav(np.zeros(round(seconds * 16_000), np.int16))


def encoded(pcm_wav: bytes, container: str, codec: str, rate_hz: int) -> bytes:
    """The WAV file's audio in another container, made by FFmpeg."""
    file = io.BytesIO()
    with av.open(io.BytesIO(pcm_wav)) as source, av.open(file, "w", format=container) as target:
        stream = target.add_stream(codec, rate=rate_hz, layout="mono")
        assert isinstance(stream, av.AudioStream)
        resampler = av.AudioResampler(stream.format, stream.layout, rate_hz, stream.frame_size)
        for frame in source.decode(audio=0):
            for part in resampler.resample(frame):
                target.mux(stream.encode(part))
        for part in resampler.resample(None):
            target.mux(stream.encode(part))
        target.mux(stream.encode(None))
    return file.getvalue()

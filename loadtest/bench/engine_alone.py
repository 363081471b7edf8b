"""An engine in this process, without a server: what it hears, and how many clips per second."""

import asyncio
import gc
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from loadtest.chunks import read_english
from loadtest.options import english_options
from models import ModelError
from serve_app.assets import GOLDEN_CLIP
from serve_app.audio.clip import SAMPLE_RATE_HZ, AudioClip
from serve_app.audio.decode import decode_audio
from serve_app.audio.limits import AudioLimits
from serve_app.engine.engine import Engine
from serve_app.engine.transcription import transcribe
from serve_app.options import TranscribeOptions, check_against_model
from serve_app.settings import AdmissionSettings, EngineSettings, EngineTunables

CLIP_SECONDS = 5.0
TOKENS = 24
"""Tokens: about as many as a clip of that length contains."""

PATIENCE_SECONDS = 480.0


@contextmanager
def engine_of(model: str, device: str, **settings: Any) -> Iterator[Engine]:
    """An engine that admits every request. Its model is unloaded after the block."""
    given = {"model": model, "device": device, "whole_machine_worker": False, **settings}
    bounds = AdmissionSettings(max_wait_seconds=PATIENCE_SECONDS)
    engine = Engine(EngineSettings.model_validate(given), EngineTunables(), bounds=bounds)
    try:
        yield engine
    finally:
        engine.stop()
        engine.whisper.model.unload_model()
        gc.collect()


@cache
def heard(model: str, device: str, compute_type: str, n_clips: int) -> list[str]:
    """The texts of the ``n_clips`` shortest English clips, or of the server's own clip."""
    try:
        clips = read_english()
    except ModelError:
        clips = []  # neither a corpus nor a network
    shortest = sorted(clips, key=lambda clip: clip.seconds)[:n_clips]
    audio = [audio_clip(clip.path) for clip in shortest] or [audio_clip(GOLDEN_CLIP)]
    options = TranscribeOptions.model_validate(english_options(model))
    with engine_of(model, device, compute_type=compute_type) as engine:
        return [text for clip in audio for text in hear(engine, [clip], options)]


def hear(engine: Engine, clips: Sequence[AudioClip], options: TranscribeOptions) -> list[str]:
    """Transcribe clips that all arrive at once."""
    fitted = check_against_model(options, engine.facts)

    async def together() -> list[str]:
        transcripts = await asyncio.gather(*(transcribe(engine, c, fitted) for c in clips))
        return [" ".join(segment.text for segment in one.segments) for one in transcripts]

    return asyncio.run(together())


def audio_clip(path: Path) -> AudioClip:
    """Decode a file of any kind of audio."""
    return decode_audio(path.read_bytes(), limits=AudioLimits())


def requests_per_second(engine: Engine, n: int) -> float:
    """The rate for ``n`` short clips that all arrive at once, after one to warm up.

    Random weights produce text that would fail every check, so each clip is decoded only once.
    """
    options = TranscribeOptions(
        language="en",
        vad_filter=False,
        temperature=(0.0,),
        max_new_tokens=TOKENS,
        compression_ratio_threshold=None,
        log_prob_threshold=None,
        no_speech_threshold=None,
    )
    samples = np.resize(audio_clip(GOLDEN_CLIP).samples, round(CLIP_SECONDS * SAMPLE_RATE_HZ))
    clip = AudioClip(samples, CLIP_SECONDS)
    hear(engine, [clip], options)
    began = time.perf_counter()
    hear(engine, [clip] * n, options)
    return n / (time.perf_counter() - began)

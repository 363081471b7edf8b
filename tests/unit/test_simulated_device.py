"""A simulated device: real replicas around it, and no model after the golden clip."""

import asyncio
from types import SimpleNamespace

import numpy as np
import pytest

import serve_app.engine.engine
from loadtest import simulated_device
from loadtest.capacity.profile import CallCost, StageCosts
from loadtest.simulated_device import TUNABLES, Said, SimulatedDevice
from serve_app.api.example import EXAMPLE_CLIP
from serve_app.audio.decode import decode_audio
from serve_app.audio.limits import AudioLimits
from serve_app.engine.engine import Engine
from serve_app.engine.transcription import transcribe
from serve_app.options import TranscribeOptions
from serve_app.settings import EngineSettings
from tests.contract.wire import wav

AT_ONCE = StageCosts(encode=CallCost(), generate=CallCost())


def words(engine: Engine, audio: bytes, batch_size: int) -> list[str]:
    """What the engine says to ``audio``."""
    clip = decode_audio(audio, limits=AudioLimits())
    options = TranscribeOptions(language="en", batch_size=batch_size)
    transcript = asyncio.run(transcribe(engine, clip, options))
    return [segment.text.strip() for segment in transcript.segments]


def test_it_repeats_the_first_transcript_for_whole_windows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(simulated_device, "COSTS", AT_ONCE)
    monkeypatch.setattr(serve_app.engine.engine, "WhisperBackend", SimulatedDevice)
    settings = EngineSettings(model="tiny.en", device="cpu", workers=1, whole_machine_worker=False)
    engine = Engine(settings, TUNABLES)
    golden = EXAMPLE_CLIP.read_bytes()
    said = words(engine, golden, batch_size=1)
    speech = np.frombuffer(golden[44:], np.int16)
    assert words(engine, wav(np.tile(speech, 12)), batch_size=8) == said  # not twelve times
    engine.stop()


def test_times_are_left_out_of_what_it_repeats() -> None:
    result = SimpleNamespace(
        sequences_ids=[[50_363, 18_435, 995, 50_420]], scores=[-0.3], no_speech_prob=0.1
    )
    assert Said.without_times(result) == Said([[18_435, 995]], [-0.3], 0.1)

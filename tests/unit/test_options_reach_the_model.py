"""Every option that a caller may give has its effect."""

import asyncio
from typing import Any

import pytest
from faster_whisper import WhisperModel

from serve_app.engine.engine import Engine
from serve_app.engine.queue import Stage
from serve_app.engine.transcription import transcribe
from serve_app.options import TranscribeOptions
from tests.unit.clips import noise
from tests.unit.scripted_model import ScriptedModel, scripted

DECODING = {
    "beam_size": 3,
    "patience": 1.5,
    "length_penalty": 0.7,
    "repetition_penalty": 1.3,
    "no_repeat_ngram_size": 4,
    "suppress_blank": False,
}
"""Options that CTranslate2 takes under the same name."""

SEQUENTIAL = {
    **DECODING,
    "language": "en",
    "task": "transcribe",
    "multilingual": True,
    "best_of": 2,
    "temperature": [0.1, 0.3],
    "compression_ratio_threshold": 2.1,
    "log_prob_threshold": -0.9,
    "no_speech_threshold": 0.5,
    "condition_on_previous_text": False,
    "prompt_reset_on_temperature": 0.4,
    "initial_prompt": "Hello.",
    "prefix": "So",
    "hotwords": "Ray",
    "suppress_tokens": [5],
    "without_timestamps": True,
    "max_initial_timestamp": 0.8,
    "word_timestamps": True,
    "prepend_punctuations": "(",
    "append_punctuations": ")",
    "max_new_tokens": 50,
    "chunk_length": 20,
    "hallucination_silence_threshold": 2.0,
    "language_detection_threshold": 0.6,
    "language_detection_segments": 2,
}
OURS = {
    *("batch_size", "recover", "vad_filter", "vad_parameters", "clip_timestamps"),
    "multichannel",
}
"""Options that are spent before faster-whisper's sequential pipeline begins."""


class Told(Exception):
    """Carries what faster-whisper was told."""


def hear(engine: Engine, **given: Any) -> ScriptedModel:
    said = engine.whisper.hf_tokenizer.encode(" Good day.", add_special_tokens=False).ids
    model = ScriptedModel(lambda window, prompt: said)
    options = TranscribeOptions(**{"language": "en", "vad_filter": False, **given})
    with scripted(engine, model) as view:
        asyncio.run(transcribe(view, noise(5.0), options))
    return model


@pytest.mark.parametrize("batch_size", [1, 8])
def test_the_decoder_is_told_how_to_decode(tiny_en: Engine, batch_size: int) -> None:
    clip = {} if batch_size == 1 else {"clip_timestamps": ((0.0, 5.0),)}
    model = hear(tiny_en, **DECODING, batch_size=batch_size, **clip)
    told = model.of(Stage.GENERATE)[0].options
    assert {name: told[name] for name in DECODING} == DECODING


def test_a_batched_window_has_the_callers_temperature_and_bounds(tiny_en: Engine) -> None:
    given = {"temperature": (0.3,), "max_new_tokens": 7, "suppress_tokens": (5,)}
    model = hear(tiny_en, clip_timestamps=((0.0, 5.0),), recover=False, **given)
    [window] = model.of(Stage.GENERATE)
    told = window.options
    assert told["sampling_temperature"] == 0.3
    assert told["max_length"] == len(window.argument) + 7
    assert 5 in told["suppress_tokens"]


def test_with_recovery_a_window_may_have_all_of_its_new_tokens(tiny_en: Engine) -> None:
    model = hear(tiny_en, clip_timestamps=((0.0, 5.0),), max_new_tokens=50)
    [window] = model.of(Stage.GENERATE)
    assert window.options["max_length"] == 2 * 50  # of which CTranslate2 decodes half


def test_faster_whispers_sequential_pipeline_is_told_everything(
    tiny_en: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    def transcribe(self: WhisperModel, audio: Any, **told: Any) -> None:
        raise Told(told)

    monkeypatch.setattr(WhisperModel, "transcribe", transcribe)
    assert (
        SEQUENTIAL.keys() | OURS | {"without_timestamps"} == TranscribeOptions.model_fields.keys()
    )
    with pytest.raises(Told) as told:
        hear(tiny_en, batch_size=1, **SEQUENTIAL)
    assert told.value.args[0] == {**SEQUENTIAL, "vad_filter": False}

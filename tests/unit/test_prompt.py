"""A caller's prompt leaves room for the text, or is refused beforehand."""

import asyncio
from typing import Any

import pytest

from serve_app.assets import GOLDEN_CLIP
from serve_app.audio.clip import AudioClip
from serve_app.audio.decode import decode_audio
from serve_app.audio.limits import AudioLimits
from serve_app.engine.engine import Engine
from serve_app.engine.transcription import transcribe
from serve_app.errors import InvalidOption
from serve_app.options import TranscribeOptions
from serve_app.transcript import Transcript
from tests.unit.clips import noise
from tests.unit.scripted_model import ScriptedModel, scripted

LONG = " word" * 300
"""faster-whisper keeps 223 tokens of it, half of what the decoder holds."""

DECODER_TOKENS = 448


def run(engine: Engine, clip: AudioClip, **given: Any) -> Transcript:
    options = TranscribeOptions(language="en", vad_filter=False, **given)
    return asyncio.run(transcribe(engine, clip, options))


def talkative(engine: Engine, n_tokens: int) -> ScriptedModel:
    """It says so many tokens in every window."""
    [word] = engine.whisper.hf_tokenizer.encode(" word", add_special_tokens=False).ids
    return ScriptedModel(lambda window, prompt: [word] * n_tokens)


TOO_LONG: list[tuple[str, dict[str, Any]]] = [
    ("initial_prompt", {"initial_prompt": LONG, "hotwords": LONG}),  # 448 tokens and more
    ("initial_prompt", {"initial_prompt": LONG, "max_new_tokens": 300}),
    ("initial_prompt", {"initial_prompt": LONG, "hotwords": " word" * 200, "max_new_tokens": 30}),
    ("initial_prompt", {"initial_prompt": (1,) * 230, "hotwords": LONG}),
    ("hotwords", {"hotwords": LONG, "max_new_tokens": 300}),
    ("initial_prompt", {"initial_prompt": "Names: Ada", "max_new_tokens": 447}),
]


@pytest.mark.parametrize("batch_size", [1, 8])
@pytest.mark.parametrize(("field", "given"), TOO_LONG)
def test_a_prompt_that_leaves_no_room_is_refused_before_anything_is_encoded(
    tiny_en: Engine, batch_size: int, field: str, given: dict[str, Any]
) -> None:
    model = talkative(tiny_en, 1)
    with scripted(tiny_en, model) as engine:
        with pytest.raises(InvalidOption, match="leaves no room") as refused:
            run(engine, noise(5.0), batch_size=batch_size, **given)
        assert engine.scheduler.load().open_requests == 0
    assert refused.value.field == field
    assert str(refused.value).startswith(f"{field}")
    assert model.asked == []


@pytest.mark.parametrize(
    ("batch_size", "field", "given"),
    [
        (8, "max_new_tokens", {"max_new_tokens": 447}),
        (1, "prefix", {"prefix": LONG, "max_new_tokens": 300}),
        (1, "initial_prompt", {"initial_prompt": LONG, "prefix": LONG}),
        # Hotwords have no effect beside a prefix, which only the first window has.
        (1, "hotwords", {"prefix": "So", "hotwords": LONG, "max_new_tokens": 300}),
    ],
)
def test_each_pipeline_refuses_what_only_it_has_no_room_for(
    tiny_en: Engine, batch_size: int, field: str, given: dict[str, Any]
) -> None:
    model = talkative(tiny_en, 1)
    with scripted(tiny_en, model) as engine, pytest.raises(InvalidOption) as refused:
        run(engine, noise(70.0 if batch_size == 1 else 5.0), batch_size=batch_size, **given)
    assert refused.value.field == field
    assert model.asked == []


@pytest.mark.parametrize("batch_size", [1, 8])
@pytest.mark.parametrize(
    "given",
    [
        {"initial_prompt": LONG},
        {"hotwords": LONG},
        {"initial_prompt": LONG, "max_new_tokens": 220},
        {"initial_prompt": LONG, "hotwords": " word" * 221},  # 447 tokens in the batched pipeline
        {"max_new_tokens": 446},
    ],
)
def test_a_prompt_that_fits_is_decoded(
    tiny_en: Engine, batch_size: int, given: dict[str, Any]
) -> None:
    golden = decode_audio(GOLDEN_CLIP.read_bytes(), limits=AudioLimits())
    options = {"temperature": (0.0,), **given}
    assert run(tiny_en, golden, batch_size=batch_size, **options).duration_seconds > 1


@pytest.mark.parametrize(
    "given",
    [
        {},
        {"hotwords": " word" * 220},
        {"hotwords": " word" * 220, "initial_prompt": " word" * 200},
        {"hotwords": " word" * 100, "max_new_tokens": 200},
        {"prefix": "So", "hotwords": LONG},
    ],
)
def test_text_heard_earlier_gives_way_where_a_later_window_would_have_no_room(
    tiny_en: Engine, given: dict[str, Any]
) -> None:
    model = talkative(tiny_en, 150)
    with scripted(tiny_en, model) as engine:
        options = {
            "compression_ratio_threshold": None,
            "condition_on_previous_text": True,
            "batch_size": 1,
            **given,
        }
        transcript = run(engine, noise(125.0), **options)
    room = given.get("max_new_tokens", 1)
    assert len(transcript.segments) == len(model.prompts) == 5
    assert all(len(prompt) + room <= DECODER_TOKENS for prompt in model.prompts)
    # What was said before is there all the same, as far as it fits.
    n_before = [len(prompt) for prompt in model.prompts]
    assert n_before[-1] == min(DECODER_TOKENS - room, max(n_before))
    assert n_before[-1] > 223

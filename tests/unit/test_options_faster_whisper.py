"""Options, defaults and languages against the faster-whisper that is installed."""

import dataclasses
import inspect
import subprocess
import sys
from typing import Any

import langcodes
import pytest
from faster_whisper import BatchedInferencePipeline, WhisperModel
from faster_whisper.tokenizer import _LANGUAGE_CODES
from faster_whisper.vad import VadOptions

from serve_app.errors import InvalidOption
from serve_app.options import TranscribeOptions, VadParameters, build_options
from serve_app.options.language import LANGUAGES, language_code

NOT_OVER_HTTP = {"self", "audio", "log_progress"}
OURS = {"multichannel", "recover"}
DIFFERENT_BY_DESIGN = {"without_timestamps", "clip_timestamps", "batch_size", "vad_filter"}


def parameters(pipeline: type[Any]) -> dict[str, inspect.Parameter]:
    return dict(inspect.signature(pipeline.transcribe).parameters)


def test_every_parameter_is_an_option_or_left_out_on_purpose() -> None:
    taken = parameters(WhisperModel).keys() | parameters(BatchedInferencePipeline).keys()
    assert taken - NOT_OVER_HTTP == TranscribeOptions.model_fields.keys() - OURS


@pytest.mark.parametrize("pipeline", [WhisperModel, BatchedInferencePipeline])
def test_defaults_are_those_of_faster_whisper(pipeline: type[Any]) -> None:
    options = TranscribeOptions()
    for name in TranscribeOptions.model_fields.keys() - OURS - DIFFERENT_BY_DESIGN:
        default = parameters(pipeline)[name].default
        ours = getattr(options, name)
        assert (list(ours) if isinstance(ours, tuple) else ours) == default, name


def test_the_batched_pipelines_defaults_of_vad_and_batch_hold_for_both() -> None:
    batched = parameters(BatchedInferencePipeline)
    options = TranscribeOptions()
    assert options.vad_filter == batched["vad_filter"].default
    assert options.batch_size == batched["batch_size"].default


def test_vad_parameters_are_those_of_faster_whisper() -> None:
    assert set(VadParameters.model_fields) == {f.name for f in dataclasses.fields(VadOptions)}
    VadOptions(**VadParameters(threshold=0.4, speech_pad_ms=100).given())


def test_languages_are_those_of_the_tokenizer() -> None:
    assert set(LANGUAGES) == set(_LANGUAGE_CODES)
    assert len(LANGUAGES) == 100


@pytest.mark.parametrize("code", LANGUAGES)
def test_a_language_is_known_by_code_and_by_name(code: str) -> None:
    assert language_code(code.upper()) == language_code(LANGUAGES[code].title()) == code


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("en-US", "en"), ("de_CH", "de"), ("de_CH.UTF-8", "de"), ("zh-Hant-TW", "zh"),
        ("zh-yue", "yue"), ("nb-NO", "no"), ("jv", "jw"), ("iw", "he"), ("Castilian", "es"),
        (" german ", "de"), ("deu", "de"), ("ger-AT", "de"), ("swe", "sv"), ("chi", "zh"),
        ("cmn-Hans-CN", "zh"), ("nob", "no"), ("fil", "tl"), ("<|de|>", "de"), ("Deutsch", "de"),
        ("FRANÇAIS", "fr"), ("日本語", "ja"), ("русский", "ru"), ("Burmese", "my"),
        ("Mandarin", "zh"), ("Panjabi", "pa"), ("Flemish", "nl"), ("haitian", "ht"),
        ("letzeburgesch", "lb"), ("pushto", "ps"), ("Sinhalese", "si"), ("Moldovan", "ro"),
        ("german (Austria)", "de"), ("tysk", "de"), ("isi-Sundanese", "su"),
        ("klingon", None), ("x-en", None), ("-", None), ("e" * 10_000, None),
    ],
)  # fmt: skip
def test_other_spellings_of_a_language(text: str, code: str | None) -> None:
    assert language_code(text) == code


def test_made_up_languages_leave_nothing_in_memory() -> None:
    kept = langcodes.Language._PARSE_CACHE, langcodes.Language._INSTANCES
    sizes = []
    for n in range(100):
        for text in (f"qaa-x-{n}", f"ger-x-{n}", f"qaa_{n:03}.{n}", f"made up {n}"):
            language_code(text)
        sizes.append([*map(len, kept)])
    assert sizes[-1] == sizes[0]


@pytest.mark.parametrize("text", ["", "Auto", "und", "none", "multi", "detect"])
def test_a_language_that_is_to_be_detected_is_written_in_many_ways(text: str) -> None:
    assert build_options({"language": text}).options.language is None


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ("germn", 'the closest is "german"'),
        ("eo", "Whisper does not know Esperanto"),
        ("Esperanto", "Whisper does not know Esperanto"),
        ("dee", "Whisper does not know Dewoin"),
        ("Kurdish", "Whisper does not know Kurdish"),
    ],
)
def test_a_language_that_cannot_be_heard_is_refused_by_its_name(text: str, hint: str) -> None:
    with pytest.raises(InvalidOption, match=hint):
        build_options({"language": text})


def test_options_load_neither_model_nor_server_libraries() -> None:
    heavy = "{'faster_whisper', 'ctranslate2', 'ray', 'numpy'}"
    code = f"import sys, serve_app.options; sys.exit(bool({heavy} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0

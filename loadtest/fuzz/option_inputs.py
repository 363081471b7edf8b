"""Broken ``generate_kwargs``: JSON of wrong types, sizes and depths, and text that is no JSON."""

import json
from collections.abc import Callable
from random import Random
from typing import Any

from loadtest.fuzz.mutation import EDGES, MAX_BYTES, mutate
from loadtest.fuzz.target import coin, refused
from serve_app.api.example import CONTRACT_OPTIONS
from serve_app.api.facades.whisper_ox import parse_generate_kwargs
from serve_app.errors import InvalidOption, WhisperOxError
from serve_app.options import (
    ModelFacts,
    OptionLimits,
    ParsedOptions,
    TranscribeOptions,
    VadParameters,
    check_against_model,
)

_VALID: dict[str, Any] = {
    **CONTRACT_OPTIONS,
    "temperature": [0, 0.2, "0.4"],
    "clip_timestamps": [{"start": 0, "end": 5.2}, [7, None]],
    "vad_parameters": {"threshold": 0.4, "min_silence_duration_ms": 500},
    "suppress_tokens": [-1, 50],
    "initial_prompt": "Whisper OX",
    "no_speech_threshold": "off",
    "word_timestamps": True,
    "append_punctuations": "\"'.,!?",
}
_NAMES = (*TranscribeOptions.model_fields, *VadParameters.model_fields)
_TEXTS = (
    *("", " ", "off", "none", "auto", "en", "zh-yue", "de_CH.UTF-8", "translate", "true", "0,5,7"),
    *("NaN", "1e999", "-0", "0x10", "1_000", "\u0661\u0662", "\uff11", "<|endoftext|>", "<|en|>"),
    *("\0", "\x1b[31m", "\r\nX-Injected: 1", "\ud800", "\udfff\ud800", "\ufeff", "\u202e"),
    *("\U0001f600", "i\u0307", "\u0130", "\u00df", "%00", "%s%n", "{{7*7}}", "${jndi:ldap://x}"),
)
_NUMBERS = (
    *("NaN", "Infinity", "-Infinity", "1e999", "-1e999", "1e-999", "-0", "-0.0", "0.1e1", "1E+2"),
    *("01", "+1", ".5", "5.", "1e", "0x1", "9" * 400, "9" * 4_299, "9" * 5_000, "1." + "3" * 9_000),
)
_TOKENS = tuple(
    word.encode("utf-8", "surrogatepass") for word in (*_TEXTS, *_NUMBERS, *_NAMES, *'{}[]",:\\')
)
_SHAPES: tuple[Callable[[str], str], ...] = (
    lambda text: text[: len(text) // 2],
    lambda text: text + text,
    lambda text: "[" * 50_000 + text,
    lambda text: '{"a":' * 900 + text + "}" * 900,
    lambda text: f'{{"vad_parameters": {text}}}',
    json.dumps,
    lambda text: "\ufeff" + text,
    lambda text: text.replace('"', "'"),
    lambda text: f"/* */ {text} // ,",
    lambda text: text[:-1] + ",}",
    lambda text: " " * 70_000 + text,
)
_LONG = (
    *(("", "1", "x"), ("-1.", "1", "x"), ("1e", "0", "x"), ("", "1,", ""), ("en", "-", "x")),
    *(("", " ", "x"), ("<|", "a", "|>"), ("", "<|", ""), ("", "\0", ""), ("", "\u0130", "x")),
)
"""Start, what is repeated, and end, that a careless pattern would try in every way."""

_DEEPEST = 5
_MODELS = (
    ModelFacts("tiny.en", False, ("en",), 51_864),
    ModelFacts("base", True, ("en", "de", "zh"), 51_865),
)


def broken_options(rng: Random) -> bytes:
    """``generate_kwargs`` as UTF-8, lone surrogates included."""
    values: dict[str, Any] = dict(rng.sample(sorted(_VALID.items()), rng.randint(0, len(_VALID))))
    for _ in range(rng.choice((1, 1, 1, 2, 5))):
        values[_key(rng)] = _value(rng, 0)
    if rng.random() < 0.03:
        values |= {f"{rng.choice(_NAMES)}{n}": n for n in range(rng.choice((100, 3_000)))}
    text = _json(rng, values)
    if rng.random() < 0.1:
        text = rng.choice(_SHAPES)(text)
    payload = text.encode("utf-8", "surrogatepass")
    return mutate(rng, payload, tokens=_TOKENS) if rng.random() < 0.2 else payload[:MAX_BYTES]


def parse(payload: bytes) -> str:
    """Parse as the server does; what is accepted must be consistent and fit a model or be refused.

    Unknown keys are refused for every other input, as with ``strict_options``.
    """
    try:
        text = payload.decode("utf-8", "surrogatepass")
    except UnicodeDecodeError:
        text = payload.decode("latin-1")
    try:
        parsed = parse_generate_kwargs(text, OptionLimits(), strict=bool(coin(payload, 2)))
    except WhisperOxError as error:
        return refused(error)
    _check(parsed)
    try:
        for model in _MODELS:
            check_against_model(parsed.options, model)
    except InvalidOption as error:
        return f"{refused(error)} for the model"
    return "parsed, keys ignored" if parsed.ignored else "parsed"


def _check(parsed: ParsedOptions) -> None:
    given = parsed.options.model_dump(mode="json", exclude_defaults=True)
    sent_again = json.dumps(given, allow_nan=False)
    # Every value spelt out may be longer than what was sent.
    roomy = OptionLimits(max_json_characters=10 * OptionLimits().max_json_characters)
    assert parse_generate_kwargs(sent_again, roomy, strict=True).options == parsed.options
    for name in parsed.ignored:
        assert len(name) <= 64, "a long name of an ignored key"
        assert name.isascii(), "an ignored key that does not fit a header"
        assert name.isprintable(), "an ignored key that does not fit a header"


def _key(rng: Random) -> str:
    if rng.random() < 0.9:
        return rng.choice(_NAMES)
    return rng.choice((*_TEXTS, "beamsize", "k" * 300, rng.choice(_NAMES).upper()))


def _value(rng: Random, depth: int) -> Any:
    kind = rng.random()
    if kind < 0.25:
        return rng.choice(EDGES) * rng.choice((1, -1))
    if kind < 0.35:
        return rng.choice((None, True, False, 0, 1, -1, 0.5, 1.5, 30, 5e-324, 1.8e308, -1e-9))
    if kind < 0.45:
        return _Literal(rng.choice(_NUMBERS))
    if kind < 0.55:
        return rng.choice(_NUMBERS)
    if kind < 0.72:
        return rng.choice(_TEXTS)
    if kind < 0.78:
        start, middle, end = rng.choice(_LONG)
        return start + middle * _many(rng) + end
    if kind < 0.8:
        return [rng.choice((*EDGES, *_TEXTS, 0.5, None, [], {}))] * _many(rng)
    if depth >= _DEEPEST:
        return []
    size = rng.choice((0, 1, 2, 3, 5))
    if kind < 0.92:
        return [_value(rng, depth + 1) for _ in range(size)]
    return {_key(rng): _value(rng, depth + 1) for _ in range(size)}


def _many(rng: Random) -> int:
    """Mostly few, seldom as many as fit into a field."""
    return int(2 ** rng.uniform(0, rng.choice((4, 15))))


class _Literal(str):
    """Text that stands in the JSON as it is, without quotes."""


def _json(rng: Random, value: Any) -> str:
    """JSON with whatever literals ``value`` holds; a key may come twice."""
    if isinstance(value, _Literal):
        return str(value)
    if isinstance(value, list):
        return f"[{','.join(_json(rng, one) for one in value)}]"
    if isinstance(value, dict):
        pairs = [f"{json.dumps(key)}: {_json(rng, one)}" for key, one in value.items()]
        if pairs and rng.random() < 0.1:
            pairs.append(f"{json.dumps(rng.choice(list(value)))}: {_json(rng, _value(rng, 6))}")
        return f"{{{', '.join(pairs)}}}"
    return json.dumps(value, ensure_ascii=rng.random() < 0.5)

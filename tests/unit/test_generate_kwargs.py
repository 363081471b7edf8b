"""``generate_kwargs`` as text: what is forgiven, what is refused and how."""

import json
import pickle

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serve_app.api.dialects import NATIVE
from serve_app.api.example import CONTRACT_OPTIONS
from serve_app.api.facades.whisper_ox import parse_generate_kwargs
from serve_app.errors import WhisperOxError
from serve_app.options import (
    OptionLimits,
    ParsedOptions,
    TranscribeOptions,
    VadParameters,
)

LIMITS = OptionLimits()


def parse(text: str | None, *, strict: bool = False) -> ParsedOptions:
    return parse_generate_kwargs(text, LIMITS, strict)


def told(error: WhisperOxError) -> tuple[int, str, str]:
    """Status, field and message as the answer has them."""
    body = NATIVE.error_body(error, "call-17")["error"]
    assert body["code"] == "invalid_option"
    return error.status, body["field"], body["message"]


def refusal(text: str, *, strict: bool = False) -> tuple[int, str, str]:
    with pytest.raises(WhisperOxError) as refused:
        parse(text, strict=strict)
    return told(refused.value)


@pytest.mark.parametrize("text", [None, "", " \r\n", "null", "{}", "\ufeff{}", "\ufeff"])
def test_nothing_given_means_the_defaults(text: str | None) -> None:
    assert parse(text) == ParsedOptions(TranscribeOptions(), ignored=())


def test_the_contracts_example_parses() -> None:
    parsed = parse(json.dumps(CONTRACT_OPTIONS), strict=True)
    assert {name: getattr(parsed.options, name) for name in CONTRACT_OPTIONS} == CONTRACT_OPTIONS


def test_null_means_the_default_of_every_option() -> None:
    nulls = json.dumps(dict.fromkeys(TranscribeOptions.model_fields))
    assert parse(nulls, strict=True).options == TranscribeOptions()


@pytest.mark.parametrize("text", ["[]", "5", '"en"', "true", '"{}"'])
def test_json_that_is_no_object_is_refused(text: str) -> None:
    status, field, message = refusal(text)
    assert (status, field) == (422, "generate_kwargs")
    assert "allowed: a JSON object" in message


def test_bad_json_is_refused_with_its_position() -> None:
    assert "line 2, column 1" in refusal('{"beam_size":\n}')[2]


@pytest.mark.parametrize("constant", ["NaN", "Infinity", "-Infinity"])
def test_constants_that_json_has_not_are_refused(constant: str) -> None:
    assert f"{constant} is not a JSON number" in refusal(f'{{"patience": {constant}}}')[2]


@pytest.mark.parametrize("text", ["[" * 60_000, '{"a":' * 10_000, "9" * 60_000])
def test_hostile_json_is_refused(text: str) -> None:
    assert refusal(text)[1] == "generate_kwargs"


def test_text_longer_than_the_limit_is_refused() -> None:
    limits = OptionLimits(max_json_characters=1024)
    with pytest.raises(WhisperOxError, match="got 2002 characters; allowed: up to 1024"):
        parse_generate_kwargs(json.dumps("x" * 2000), limits)


def test_of_duplicate_keys_the_last_wins() -> None:
    assert parse('{"beam_size": 99, "beam_size": 2}').options.beam_size == 2


def test_unknown_keys_are_ignored_but_named() -> None:
    parsed = parse('{"zeal": 1, "log_progress": 1, "vad_parameters": {"onset": 1}}')
    assert parsed.options == TranscribeOptions()
    assert parsed.ignored == ("log_progress", "vad_parameters.onset", "zeal")


@given(st.dictionaries(st.text(), st.none(), max_size=5))
def test_names_of_unknown_keys_are_safe_in_a_header(keys: dict[str, None]) -> None:
    for name in parse(json.dumps(keys)).ignored:
        assert name.isascii()
        assert name.isprintable()
        assert len(name) <= 64


def test_strict_refuses_unknown_keys_and_suggests_the_closest() -> None:
    text = '{"lang": "en", "vad_parameters": {"thresold": 1}}'
    _, field, message = refusal(text, strict=True)
    assert field == "generate_kwargs.lang"
    assert "generate_kwargs.lang is not an option; the closest is language. " in message
    assert "generate_kwargs.vad_parameters.thresold is not an option" in message


def test_strict_lists_the_options_when_none_is_close() -> None:
    assert "allowed: append_punctuations, batch_size" in refusal('{"qq": 1}', strict=True)[2]


def test_strict_shows_five_of_thousands_of_unknown_keys_and_counts_the_rest() -> None:
    unknown = {f"beam_size{n:04}": 5 for n in range(2_000)}
    _, _, message = refusal(json.dumps(unknown), strict=True)
    assert message.count("is not an option") == 5
    assert message.endswith(". and 1995 more")


NAMES = st.sampled_from([*TranscribeOptions.model_fields, "unknown"])
VAD_NAMES = st.sampled_from([*VadParameters.model_fields, "unknown"])
SCALARS = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.integers(0, 30)
    | st.floats(allow_nan=False)
    | st.floats(0, 1)
    | st.text()
    | st.sampled_from(["en", "German", "off", "true", "0,5.2,7", "-1", "translate", "0.5"])
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(VAD_NAMES, inner, max_size=3),
    max_leaves=6,
)


def parsed_or_refused(text: str) -> TranscribeOptions | WhisperOxError:
    try:
        return parse(text).options
    except WhisperOxError as refused:
        return refused


@given(st.text() | VALUES.map(json.dumps))
def test_any_text_gives_options_or_a_refusal(text: str) -> None:
    assert isinstance(parsed_or_refused(text), (TranscribeOptions, WhisperOxError))


@given(st.dictionaries(NAMES, VALUES, max_size=6))
def test_any_object_gives_options_or_a_refusal_that_names_a_field(
    values: dict[str, object],
) -> None:
    result = parsed_or_refused(json.dumps(values))
    if isinstance(result, WhisperOxError):
        status, field, message = told(result)
        assert status == 422
        assert field.startswith("generate_kwargs")
        message.encode()  # no lone surrogate of the caller's gets into an answer


@given(st.tuples(NAMES, VALUES).map(lambda pair: dict([pair])))
def test_parsed_options_parse_to_themselves(values: dict[str, object]) -> None:
    options = parsed_or_refused(json.dumps(values))
    if isinstance(options, TranscribeOptions):
        again = parse(options.model_dump_json(exclude_defaults=True), strict=True)
        assert again.options == options
        assert pickle.loads(pickle.dumps(options)) == options


def test_every_option_survives_the_way_through_json() -> None:
    options = TranscribeOptions(
        no_speech_threshold=None,
        initial_prompt=(50, 60),
        clip_timestamps=((0.0, 5.2), (7.0, None)),
        vad_parameters=VadParameters(threshold=0.4),
        suppress_tokens=(),
        without_timestamps=False,
    )
    assert parse(options.model_dump_json(exclude_defaults=True)).options == options

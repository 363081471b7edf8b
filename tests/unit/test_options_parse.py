"""``generate_kwargs`` as text: what is forgiven, what is refused and how."""

import json
import pickle

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serve_app.errors import InvalidOption
from serve_app.options import (
    CONTRACT_EXAMPLE,
    OptionLimits,
    TranscribeOptions,
    VadParameters,
    parse_generate_kwargs,
)


def refusal(text: str, *, strict: bool = False) -> InvalidOption:
    with pytest.raises(InvalidOption) as refused:
        parse_generate_kwargs(text, strict=strict)
    return refused.value


@pytest.mark.parametrize("text", [None, "", " \r\n", "null", "{}", "\ufeff{}", "\ufeff"])
def test_nothing_given_means_the_defaults(text: str | None) -> None:
    parsed = parse_generate_kwargs(text)
    assert parsed.options == TranscribeOptions()
    assert (parsed.ignored, parsed.clamped) == ((), ())


def test_the_contracts_example_parses() -> None:
    parsed = parse_generate_kwargs(json.dumps(CONTRACT_EXAMPLE), strict=True)
    assert {name: getattr(parsed.options, name) for name in CONTRACT_EXAMPLE} == CONTRACT_EXAMPLE


def test_null_means_the_default_of_every_option() -> None:
    nulls = json.dumps(dict.fromkeys(TranscribeOptions.model_fields))
    assert parse_generate_kwargs(nulls, strict=True).options == TranscribeOptions()


@pytest.mark.parametrize("text", ["[]", "5", '"en"', "true", '"{}"'])
def test_json_that_is_no_object_is_refused(text: str) -> None:
    error = refusal(text)
    assert (error.status, error.field) == (422, "generate_kwargs")
    assert "allowed: a JSON object" in error.message


def test_bad_json_is_refused_with_its_position() -> None:
    assert "line 2, column 1" in refusal('{"beam_size":\n}').message


@pytest.mark.parametrize("constant", ["NaN", "Infinity", "-Infinity"])
def test_constants_that_json_has_not_are_refused(constant: str) -> None:
    assert f"{constant} is not a JSON number" in refusal(f'{{"patience": {constant}}}').message


@pytest.mark.parametrize("text", ["[" * 60_000, '{"a":' * 10_000, "9" * 60_000])
def test_hostile_json_is_refused(text: str) -> None:
    assert refusal(text).field == "generate_kwargs"


def test_text_longer_than_the_limit_is_refused() -> None:
    with pytest.raises(InvalidOption, match="got 2002 characters; allowed: up to 1024"):
        text = json.dumps("x" * 2000)
        parse_generate_kwargs(text, limits=OptionLimits(max_json_characters=1024))


def test_of_duplicate_keys_the_last_wins() -> None:
    assert parse_generate_kwargs('{"beam_size": 99, "beam_size": 2}').options.beam_size == 2


def test_unknown_keys_are_ignored_but_named() -> None:
    parsed = parse_generate_kwargs('{"zeal": 1, "log_progress": 1, "vad_parameters": {"onset": 1}}')
    assert parsed.options == TranscribeOptions()
    assert parsed.ignored == ("log_progress", "vad_parameters.onset", "zeal")


@given(st.dictionaries(st.text(), st.none(), max_size=5))
def test_names_of_unknown_keys_are_safe_in_a_header(keys: dict[str, None]) -> None:
    for name in parse_generate_kwargs(json.dumps(keys)).ignored:
        assert name.isascii()
        assert name.isprintable()
        assert len(name) <= 64


def test_strict_refuses_unknown_keys_and_suggests_the_closest() -> None:
    error = refusal('{"lang": "en", "vad_parameters": {"thresold": 1}}', strict=True)
    assert error.field == "generate_kwargs.lang"
    assert "lang is no option; the closest is language" in error.message
    assert "vad_parameters.thresold is no option" in error.message


def test_strict_lists_the_options_when_none_is_close() -> None:
    assert "allowed: append_punctuations, batch_size" in refusal('{"qq": 1}', strict=True).message


def test_strict_shows_five_of_thousands_of_unknown_keys_and_counts_the_rest() -> None:
    error = refusal(json.dumps({f"beam_size{n:04}": 5 for n in range(2_000)}), strict=True)
    assert error.message.count("is no option") == 5
    assert error.message.endswith("and 1995 more")


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


def parsed_or_refused(text: str) -> TranscribeOptions | InvalidOption:
    try:
        return parse_generate_kwargs(text).options
    except InvalidOption as refused:
        return refused


@given(st.text() | VALUES.map(json.dumps))
def test_any_text_gives_options_or_a_refusal(text: str) -> None:
    assert isinstance(parsed_or_refused(text), (TranscribeOptions, InvalidOption))


@given(st.dictionaries(NAMES, VALUES, max_size=6))
def test_any_object_gives_options_or_a_refusal_that_names_a_field(
    values: dict[str, object],
) -> None:
    result = parsed_or_refused(json.dumps(values))
    if isinstance(result, InvalidOption):
        assert result.status == 422
        assert (result.field or "").startswith("generate_kwargs")
        result.message.encode()  # no lone surrogate of the caller's gets into an answer


@given(st.tuples(NAMES, VALUES).map(lambda pair: dict([pair])))
def test_parsed_options_parse_to_themselves(values: dict[str, object]) -> None:
    options = parsed_or_refused(json.dumps(values))
    if isinstance(options, TranscribeOptions):
        again = parse_generate_kwargs(json.dumps(options.as_generate_kwargs()), strict=True)
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
    assert parse_generate_kwargs(json.dumps(options.as_generate_kwargs())).options == options

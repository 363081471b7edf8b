"""``generate_kwargs`` and options beside it: what is forgiven, what is refused and how."""

import json
import pickle
from collections.abc import Sequence
from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.requests import Request

from serve_app.api.edge.state import RequestState
from serve_app.api.error_answers import error_response
from serve_app.api.example import CONTRACT_OPTIONS
from serve_app.api.facades.generate_kwargs import OPTIONS_FIELD, read_options
from serve_app.api.sources.form import Form
from serve_app.errors import WhisperOxError
from serve_app.options import (
    OptionLimits,
    ParsedOptions,
    TranscribeOptions,
    VadParameters,
)
from tests.unit.asgi import http_scope

LIMITS = OptionLimits()


@dataclass
class Sent:
    """A request's query and text fields; ``text`` is that of ``generate_kwargs``, if any."""

    text: str | None = None
    query: str = ""
    fields: Sequence[tuple[str, str]] = ()

    def __post_init__(self) -> None:
        self.scope = http_scope()
        self.scope["query_string"] = self.query.encode()
        RequestState.begin(self.scope)

    def parse(self, *, strict: bool = False, limits: OptionLimits = LIMITS) -> ParsedOptions:
        pairs = [*self.fields, *([] if self.text is None else [(OPTIONS_FIELD, self.text)])]
        form = Form(fields=[(name, bytearray(value.encode())) for name, value in pairs])
        return read_options(Request(self.scope), form, limits, strict=strict, is_complete=False)

    def refusal(self, *, strict: bool = False) -> tuple[int, str, str]:
        with pytest.raises(WhisperOxError) as refused:
            self.parse(strict=strict)
        return self.told(refused.value)

    def told(self, error: WhisperOxError) -> tuple[int, str, str]:
        """Status, field and message as the answer has them."""
        body = json.loads(bytes(error_response(self.scope, error).body))["error"]
        assert body["code"] == "invalid_option"
        return error.status, body["field"], body["message"]


def parse(text: str | None, *, strict: bool = False) -> ParsedOptions:
    return Sent(text).parse(strict=strict)


def refusal(text: str, *, strict: bool = False) -> tuple[int, str, str]:
    return Sent(text).refusal(strict=strict)


@pytest.mark.parametrize("text", [None, "", " \r\n", "null", "{}", "\ufeff{}", "\ufeff"])
def test_nothing_given_means_the_defaults(text: str | None) -> None:
    assert parse(text) == ParsedOptions(TranscribeOptions(), ignored=())


@pytest.mark.parametrize("text", [r'"{\"beam_size\": 2}"', '" {} "', '""', '" null"'])
def test_json_in_a_json_string_is_decoded_once_more(text: str) -> None:
    assert parse(text, strict=True).options.beam_size == (2 if "beam_size" in text else 5)


def test_the_contracts_example_parses() -> None:
    parsed = parse(json.dumps(CONTRACT_OPTIONS), strict=True)
    assert {name: getattr(parsed.options, name) for name in CONTRACT_OPTIONS} == CONTRACT_OPTIONS


def test_null_means_the_default_of_every_option() -> None:
    nulls = json.dumps(dict.fromkeys(TranscribeOptions.model_fields))
    assert parse(nulls, strict=True).options == TranscribeOptions()


@pytest.mark.parametrize("text", ["[]", "5", '"en"', "true", '"[]"', json.dumps('"{}"')])
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
        Sent(json.dumps("x" * 2000)).parse(limits=limits)


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


def test_a_key_in_the_query_is_no_option() -> None:
    query = "token=k&Ocp-Apim-Subscription-Key=k&TOKEN=k&tokens=1"
    assert Sent(query=query).parse().ignored == ("tokens",)
    assert Sent(query=query.removesuffix("&tokens=1")).parse(strict=True).ignored == ()


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


@pytest.mark.parametrize(
    "sent",
    [
        Sent(query="beam_size=3&language=de"),
        Sent(fields=[("beam_size", "3"), ("language", "German")]),
        Sent('{"beam_size": 3}', query="language=de"),
        Sent(query='generate_kwargs={"language":"de"}', fields=[("beam_size", "3")]),
    ],
    ids=["query", "form", "beside-an-object", "object-in-the-query"],
)
def test_an_option_counts_wherever_it_stands(sent: Sent) -> None:
    parsed = sent.parse(strict=True)
    assert (parsed.options.beam_size, parsed.options.language) == (3, "de")


@pytest.mark.parametrize(
    ("sent", "beam_size", "ignored"),
    [
        (Sent('{"beam_size": 2}', "beam_size=4", [("beam_size", "3")]), 2, "form query"),
        (Sent(None, "beam_size=4", [("beam_size", "3")]), 3, "query"),
        (Sent(None, "beam_size=4&beam_size=3"), 3, "query"),
        (Sent(None, "", [("beam_size", "4"), ("beam_size", "3")]), 3, "form"),
        (Sent('{"beam_size": 2}', "", [("beam_size", " 2 ")]), 2, ""),
        (Sent('{"beam_size": null}', "", [("beam_size", "3")]), 3, ""),
        (Sent(None, "beam_size=4", [("beam_size", "")]), 4, ""),
        (Sent('{"beam_size": [2]}', "beam_size=4"), None, "query"),
    ],
)
def test_of_several_values_the_nearest_to_generate_kwargs_counts_and_the_others_are_named(
    sent: Sent, beam_size: int | None, ignored: str
) -> None:
    if beam_size is None:
        assert sent.refusal()[1] == "generate_kwargs.beam_size"
        return
    parsed = sent.parse()
    assert parsed.options.beam_size == beam_size
    assert parsed.ignored == tuple(f"{place}.beam_size" for place in ignored.split())
    if ignored:
        status, field, message = sent.refusal(strict=True)
        assert (status, field) == (422, "beam_size")
        assert "several values" in message


def test_of_two_objects_the_last_counts_and_the_other_is_named() -> None:
    sent = Sent('{"beam_size": 2}', fields=[(OPTIONS_FIELD, '{"language": "de"}')])
    assert sent.parse().ignored == ("form.generate_kwargs",)
    assert sent.parse().options == TranscribeOptions(beam_size=2)


@pytest.mark.parametrize("nothing", ["", " ", "null", "undefined"])
def test_a_field_that_is_not_set_means_the_default(nothing: str) -> None:
    names = TranscribeOptions.model_fields
    sent = Sent(fields=[(name, nothing) for name in names])
    assert sent.parse(strict=True).options == TranscribeOptions()


@pytest.mark.parametrize(
    ("query", "name", "value"),
    [
        ("temperature=0&temperature=0.2", "temperature", (0.0, 0.2)),
        ("temperature[]=0&temperature[]=0.2", "temperature", (0.0, 0.2)),
        ("temperature=[0, 0.2]", "temperature", (0.0, 0.2)),
        ("suppress_tokens=50&suppress_tokens=60", "suppress_tokens", (50, 60)),
        ("suppress_tokens=[]", "suppress_tokens", ()),
        ("clip_timestamps=0,5&clip_timestamps=7,9", "clip_timestamps", ((0, 5), (7, 9))),
        ('vad_parameters={"threshold":0.4}', "vad_parameters", VadParameters(threshold=0.4)),
        ("initial_prompt=[50]", "initial_prompt", "[50]"),
        ("vad_filter=on", "vad_filter", True),
    ],
)
def test_lists_and_objects_beside_generate_kwargs(query: str, name: str, value: object) -> None:
    assert getattr(Sent(query=query).parse(strict=True).options, name) == value


def test_what_is_not_an_option_is_named_wherever_it_stands() -> None:
    sent = Sent('{"lang": 1}', "model=x", [("beam_sise", "3"), ("generate_kwarg", "{}"), ("", "")])
    assert sent.parse().ignored == ('""', "beam_sise", "generate_kwarg", "lang", "model")
    _, field, message = sent.refusal(strict=True)
    assert field == '""'
    assert " beam_sise is not an option; the closest is beam_size" in message
    assert "generate_kwargs.lang is not an option" in message


@pytest.mark.parametrize(
    ("sent", "field"),
    [
        (Sent(query="beam_size=0"), "beam_size"),
        (Sent(fields=[("language_detection_threshold", "7")], query="language=de"), None),
        (Sent(query='vad_parameters={"threshold":7}'), "vad_parameters.threshold"),
        (Sent(query="vad_parameters={"), "vad_parameters"),
        (Sent(query="clip_timestamps=" + "[" * 60_000), "clip_timestamps"),
        (Sent(fields=[("prefix", "x" * 70_000)]), "prefix"),
        (Sent('{"beam_size": 0}', "task=translate"), "generate_kwargs.beam_size"),
        (Sent('{"language_detection_threshold": 7}', "language=de"), None),
    ],
)
def test_a_wrong_value_is_named_as_the_caller_wrote_it(sent: Sent, field: str | None) -> None:
    place = "generate_kwargs." if sent.text else ""
    expected = field or f"{place}language_detection_threshold"
    status, named, message = sent.refusal()
    assert (status, named) == (422, expected)
    assert message.startswith(f"{expected}: got ")


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
        status, field, message = Sent().told(result)
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

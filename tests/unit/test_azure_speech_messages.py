"""Azure Speech's messages are taken apart, and what is wished for is found in them."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serve_app.api.facades.azure_speech_messages import Wishes, read_message, write_message
from serve_app.errors import InvalidOption, InvalidRequest
from serve_app.live.options import LiveOptions
from serve_app.options import OptionLimits


def wishes(context: object = None, mode: str = "conversation", **query: str) -> Wishes:
    return Wishes.of(mode, query, json.dumps(context or {}).encode())


def options(context: object = None, **query: str) -> LiveOptions:
    return wishes(context, **query).live_options(OptionLimits())


def test_a_text_message_has_a_head_and_a_body() -> None:
    message = read_message(write_message("a1", "turn.end", {"a": "ä"}))
    assert (message.path, message.request_id) == ("turn.end", "a1")
    assert json.loads(message.body) == {"a": "ä"}


def test_a_message_can_hold_half_of_a_surrogate_pair() -> None:
    message = read_message(write_message("a1", "speech.phrase", {"Language": "de-\ud800"}))
    assert json.loads(message.body) == {"Language": "de-\ud800"}


def test_a_binary_message_says_how_long_its_head_is() -> None:
    head = b"path:audio\r\nx-requestid: A1\r\n"
    message = read_message(len(head).to_bytes(2, "big") + head + b"\r\n\r\n\x00")
    assert (message.path, message.request_id) == ("audio", "A1")
    assert message.body == b"\r\n\r\n\x00"


@given(st.binary(max_size=40) | st.text(max_size=40))
def test_any_message_is_taken_apart_or_refused(data: bytes | str) -> None:
    try:
        read_message(data)
    except InvalidRequest as error:
        assert "head" in error.message


def test_what_the_sdks_set_is_found() -> None:
    context = {
        "phraseDetection": {
            "mode": "INTERACTIVE",
            "language": "de-CH",
            "initialSilenceTimeout": 3_000,
            "INTERACTIVE": {"segmentation": {"segmentationSilenceTimeoutMs": 700}},
        },
        "dgi": {"Groups": [{"Type": "Generic", "Items": [{"Text": "Ray"}, {"Text": "Basel"}]}]},
        "phraseOutput": {"format": "Detailed"},
    }
    found = wishes(context, language="en-US")
    assert (found.is_once, found.is_detailed, found.initial_silence_seconds) == (True, True, 3)
    asked = options(context, language="en-US")
    assert (asked.language, asked.silence_seconds, asked.prompt) == ("de", 0.7, "Ray, Basel")


def test_the_address_says_the_rest() -> None:
    found = wishes(mode="interactive", language="en-GB", format="detailed")
    assert (found.is_once, found.is_detailed, found.languages) == (True, True, ("en-GB",))
    assert options().language is None


def test_of_several_languages_the_one_that_is_heard_has_the_clients_name() -> None:
    context = {"languageId": {"languages": ["en-US", "de-CH"]}}
    assert options(context, language="en-US").language is None
    found = wishes(context)
    assert [found.name_of(code) for code in ("de", "en", "fr")] == ["de-CH", "en-US", "fr"]


def test_an_unknown_language_and_control_tokens_are_refused() -> None:
    with pytest.raises(InvalidOption, match="language"):
        options(language="nowhere")
    with pytest.raises(InvalidOption, match="phraseList"):
        options({"dgi": {"Groups": [{"Items": [{"Text": "<|endoftext|>"}]}]}})


MEMBERS = [
    *("language", "mode", "languages", "trailingSilenceTimeout", "segmentation"),
    *("initialSilenceTimeout", "Groups", "Items", "Text"),
]
JSON = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(MEMBERS),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)


@given(st.dictionaries(st.sampled_from(["phraseDetection", "dgi", "languageId"]), JSON))
def test_any_context_is_read_leniently(context: dict[str, Any]) -> None:
    try:
        assert 0.1 <= (options(context).silence_seconds or 0.6) <= 10
    except InvalidOption as error:
        assert error.field in ("language", "phraseList")


@pytest.mark.parametrize("body", [b"", b"[]", b"\xff", b"[" * 100_000])
def test_a_context_that_is_not_an_object_is_refused(body: bytes) -> None:
    with pytest.raises(InvalidRequest, match=r"speech\.context"):
        Wishes.of("conversation", {}, body)

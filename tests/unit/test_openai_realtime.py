"""OpenAI Realtime without a server: the configuration of a session, and its turns."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serve_app.api.facades.openai_realtime_session import RealtimeSession
from serve_app.api.facades.openai_realtime_turns import Turns
from serve_app.errors import InvalidOption
from serve_app.live.events import Final, Partial
from serve_app.transcript import Word


def updated(*changes: dict[str, Any]) -> RealtimeSession:
    session = RealtimeSession()
    for change in changes:
        session = session.updated(change)
    return session


def audio(**fields: Any) -> dict[str, Any]:
    return {"audio": {"input": fields}}


def test_a_new_session_finds_turns_at_half_a_second_of_silence() -> None:
    options = updated().live_options()
    assert (options.silence_seconds, options.threshold, options.language) == (0.5, 0.5, None)


@pytest.mark.parametrize(
    "change",
    [
        audio(transcription={"language": "de-CH", "prompt": "Basel", "keywords": ["Ray", "Kai"]}),
        {"input_audio_transcription": {"language": "de-CH", "prompt": "Basel, Ray, Kai"}},
        audio(transcription={"languages": ["de"], "keywords": ["Basel", "Ray", "Kai"]}),
    ],
)
def test_language_and_words_to_expect_come_in_either_shape(change: dict[str, Any]) -> None:
    options = updated(change).live_options()
    assert (options.language, options.prompt) == ("de", "Basel, Ray, Kai")


@pytest.mark.parametrize(
    ("turns", "seconds"),
    [
        (None, None),
        ({"type": "server_vad", "silence_duration_ms": 800}, 0.8),
        ({"type": "server_vad", "silence_duration_ms": 0}, 0.1),
        ({"type": "semantic_vad", "eagerness": "low"}, 1.2),
        ({"type": "semantic_vad", "eagerness": "high", "create_response": False}, 0.4),
    ],
)
def test_turn_detection_says_which_silence_ends_a_turn(turns: Any, seconds: Any) -> None:
    for change in (audio(turn_detection=turns), {"turn_detection": turns}):
        assert updated(change).live_options().silence_seconds == seconds


def test_an_update_changes_what_it_names_and_null_puts_the_default_back() -> None:
    first = audio(transcription={"language": "de", "prompt": "Basel"}, format={"rate": 16_000})
    session = updated(first, audio(transcription={"prompt": None}, turn_detection=None))
    assert session.live_options().prompt is None
    assert session.live_options().language == "de"
    assert session.audio.input.format.rate == 16_000
    assert updated(first, audio(format=None)).audio.input.format.rate == 24_000


def test_words_to_expect_hold_no_control_tokens() -> None:
    with pytest.raises(InvalidOption) as refused:
        updated(audio(transcription={"keywords": ["<|endoftext|>"]})).live_options()
    assert refused.value.field == "session.audio.input.transcription.prompt"


def test_the_betas_session_says_the_same_in_other_words() -> None:
    session = updated({"input_audio_format": "g711_alaw", "turn_detection": None})
    body = session.body("1", 2, is_beta=True)
    assert (body["id"], body["input_audio_format"], body["expires_at"]) == (
        "sess_1",
        "g711_alaw",
        2,
    )
    assert body["turn_detection"] is None
    assert session.body("1", 2, is_beta=False)["audio"]["input"]["format"]["type"] == "audio/pcma"


def test_of_the_noise_reduction_only_its_type_is_told_back() -> None:
    told: Any = 1
    for _ in range(300):
        told = {"more": told}
    session = updated(audio(noise_reduction={"type": "far_field", **told}))
    for body in (session.changes(), session.body("1", 2, is_beta=False)):
        assert body["audio"]["input"]["noise_reduction"] == {"type": "far_field"}
    assert updated({"input_audio_noise_reduction": None}).changes() == {}


def test_an_update_that_is_nested_too_deeply_is_refused() -> None:
    told: Any = {}
    for _ in range(5_000):
        told = {"more": told}
    with pytest.raises(InvalidOption, match="nested too deeply"):
        updated(told)


NAMES = (
    *("audio", "input", "type", "format", "rate", "transcription", "model", "include", "keywords"),
    *("turn_detection", "input_audio_format", "languages", "noise_reduction"),
)
ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from(NAMES), inner, max_size=4)
    ),
)


@given(st.dictionaries(st.sampled_from(["audio", "include", "turn_detection"]), ANYTHING), ANYTHING)
def test_any_update_is_taken_or_refused(change: dict[str, Any], other: Any) -> None:
    try:
        updated(change, {"audio": {"input": other}}).live_options()
    except InvalidOption as refused:
        assert refused.field and refused.field.startswith("session.")


def words(text: str) -> tuple[Word, ...]:
    return tuple(Word(n, n + 1, f" {word}", 0.9) for n, word in enumerate(text.split()))


def partial(utterance: int, text: str, n_certain: int) -> Partial:
    return Partial(utterance, 0, 1, words(text), n_certain, "en", 1, 0)


def final(utterance: int, text: str) -> Final:
    return Final(utterance, 0, 1.5, text, words(text), "en", 1, False, False, 0)


def test_a_turn_tells_each_certain_word_once() -> None:
    turn = Turns().current()
    events: list[Partial | Final] = [
        partial(0, "a b c", 0),
        partial(0, "a b x", 2),
        final(0, "a b c d"),
    ]
    told = ["".join(word.word for word in turn.hear(event)) for event in events]
    assert told == ["", " a b", " c d"]
    assert (turn.text, turn.seconds, turn.language) == ("a b c d", 1.5, "en")


def test_a_turn_of_several_utterances_is_complete_once_the_last_one_is_heard() -> None:
    turns = Turns()
    turn = turns.begin(0)
    assert turn is not None and turns.begin(1) is None
    for number in range(2):
        assert turns.of(number) is turn
        turn.hear(final(number, f"text {number}"))
        turns.heard(number)
    assert [*turns.complete()] == []
    turns.commit(1)
    assert [*turns.complete()] == [turn]
    assert turn.text == "text 0 text 1"


def test_a_committed_turn_waits_for_its_text_while_the_next_one_begins() -> None:
    turns = Turns()
    first = turns.current()
    turns.commit(0)
    second = turns.of(1)
    assert second is not first
    assert turns.of(0) is first and [*turns.complete()] == []
    turns.heard(0)
    assert [*turns.complete()] == [first] and turns.open is second


def test_a_turn_without_speech_is_complete_at_once() -> None:
    turns = Turns()
    silent = turns.commit(-1)
    assert [*turns.complete()] == [silent] and silent.text == ""


def test_what_is_cleared_is_not_told() -> None:
    turns = Turns()
    turns.begin(0)
    turns.clear(1)
    assert turns.of(0) is None and turns.begin(0) is None and turns.open is None
    assert turns.of(1) is turns.open is not None

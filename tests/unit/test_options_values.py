"""What each option accepts, and what the answer is to anything else."""

import pickle

import pytest

from serve_app.errors import InvalidOption
from serve_app.options import OptionLimits, TranscribeOptions, VadParameters, build_options


def read(name: str, value: object) -> object:
    return getattr(build_options({name: value}).options, name)


def refusal(**values: object) -> InvalidOption:
    with pytest.raises(InvalidOption) as refused:
        build_options(values)
    return refused.value


@pytest.mark.parametrize("value", [5, "5", " 5 ", 5.0, "5.0", "+5", "5e0"])
def test_a_whole_number_is_read_from_any_spelling(value: object) -> None:
    assert read("beam_size", value) == 5


@pytest.mark.parametrize("value", [0, 11, 2.5, "2.5", True, "five", "", "0x5", "1_0", [5], {}])
def test_a_beam_size_that_is_no_whole_number_in_range_is_refused(value: object) -> None:
    error = refusal(beam_size=value)
    assert (error.status, error.field) == (422, "beam_size")
    assert "allowed: a whole number from 1 to 10" in error.message


@pytest.mark.parametrize("value", [float("nan"), float("inf"), "nan", "Infinity", "1e999", 10**400])
def test_a_number_that_is_not_finite_is_refused(value: object) -> None:
    assert refusal(length_penalty=value).field == "length_penalty"


@pytest.mark.timeout(30)
@pytest.mark.parametrize(
    "value", ["1" * 60_000 + "x", "1." + "1" * 60_000 + "x", "0" * 60_000 + "e"]
)
def test_a_long_string_of_digits_that_is_no_number_is_refused_at_once(value: str) -> None:
    assert refusal(beam_size=value).field == "beam_size"


@pytest.mark.parametrize("value", [True, "true", "TRUE", "yes", "on", "1", 1, 1.0])
def test_a_flag_is_read_from_any_spelling_of_true(value: object) -> None:
    assert read("word_timestamps", value) is True


@pytest.mark.parametrize("value", [False, "false", "No", "off", "0", 0])
def test_a_flag_is_read_from_any_spelling_of_false(value: object) -> None:
    assert read("vad_filter", value) is False


@pytest.mark.parametrize("value", [2, 0.5, "", "maybe", [], {}])
def test_a_flag_that_is_neither_true_nor_false_is_refused(value: object) -> None:
    assert "allowed: true or false" in refusal(vad_filter=value).message


@pytest.mark.parametrize("value", ["off", "None", False, "false"])
@pytest.mark.parametrize(
    "name", ["no_speech_threshold", "log_prob_threshold", "compression_ratio_threshold"]
)
def test_a_threshold_can_be_turned_off(name: str, value: object) -> None:
    assert read(name, value) is None


def test_null_leaves_a_threshold_at_its_default() -> None:
    assert read("no_speech_threshold", None) == 0.6


@pytest.mark.parametrize("value", ["translate", "TRANSLATE", " Translate "])
def test_the_task_is_read_in_any_case(value: str) -> None:
    assert read("task", value) == "translate"


def test_an_unknown_task_is_refused_with_what_is_allowed() -> None:
    assert '"transcribe" or "translate"' in refusal(task="summarise").message


@pytest.mark.parametrize(
    ("value", "temperatures"),
    [(0, (0.0,)), ("0.4", (0.4,)), ([0, "0.5", 1], (0.0, 0.5, 1.0)), ("0,0.5", (0.0, 0.5))],
)
def test_temperature_is_one_or_several(value: object, temperatures: tuple[float, ...]) -> None:
    assert read("temperature", value) == temperatures


@pytest.mark.parametrize("value", [[], -0.1, 2.1, [0] * 11, "warm", [[0.1]], False, [None]])
def test_a_wrong_temperature_is_refused(value: object) -> None:
    assert refusal(temperature=value).field == "temperature"


@pytest.mark.parametrize(
    ("value", "tokens"),
    [([], ()), ("", ()), (-1, (-1,)), ("-1,50", (-1, 50)), (["7", 8.0], (7, 8)), ([0], (0,))],
)
def test_suppressed_tokens_are_a_list_a_number_or_a_string(
    value: object, tokens: tuple[int, ...]
) -> None:
    assert read("suppress_tokens", value) == tokens


@pytest.mark.parametrize("value", [[-2], ["x"], [1.5], {}, [10**12]])
def test_a_wrong_token_is_refused(value: object) -> None:
    assert refusal(suppress_tokens=value).field == "suppress_tokens"


@pytest.mark.parametrize("value", ["", "  ", "\x00\n", "\ud800", []])
def test_a_prompt_of_nothing_is_no_prompt(value: object) -> None:
    assert read("initial_prompt", value) is None


def test_a_prompt_loses_what_no_tokenizer_takes() -> None:
    assert read("initial_prompt", "Grüezi\n\x00\ud83d 你好 😀") == "Grüezi  你好 😀"


def test_a_prompt_may_be_token_ids() -> None:
    assert read("initial_prompt", [50, "60"]) == (50, 60)


@pytest.mark.parametrize("name", ["initial_prompt", "prefix", "hotwords"])
def test_a_control_token_in_text_is_refused(name: str) -> None:
    assert "<|endoftext|> is a control token" in refusal(**{name: "a <|endoftext|> b"}).message


def test_empty_punctuation_joins_no_words() -> None:
    assert read("append_punctuations", "") == ""


def test_a_patience_that_leaves_no_candidate_is_refused() -> None:
    error = refusal(beam_size=3, patience=0.2)
    assert error.field == "patience"
    assert "allowed: 0.334 or more" in error.message


def test_only_the_given_vad_parameters_are_passed_on() -> None:
    vad = read("vad_parameters", {"threshold": "0.4", "speech_pad_ms": None})
    assert isinstance(vad, VadParameters)
    assert vad.given() == {"threshold": 0.4}


@pytest.mark.parametrize("value", [{}, {"threshold": None}, {"unknown": 1}])
def test_vad_parameters_that_say_nothing_are_none(value: object) -> None:
    assert read("vad_parameters", value) is None


def test_a_wrong_vad_parameter_is_named_with_its_path() -> None:
    error = refusal(vad_parameters={"threshold": 2})
    assert error.field == "vad_parameters.threshold"


@pytest.mark.parametrize("value", [True, "0.5", [1]])
def test_vad_parameters_that_are_no_object_are_refused(value: object) -> None:
    assert "allowed: an object with any of threshold" in refusal(vad_parameters=value).message


def test_the_operators_limits_replace_the_defaults() -> None:
    limits = OptionLimits(max_beam_size=20, max_best_of=3)
    assert build_options({"beam_size": 20}, limits=limits).options.beam_size == 20
    with pytest.raises(InvalidOption, match="from 1 to 3"):
        build_options({"best_of": 4}, limits=limits)


def test_a_batch_above_the_limit_is_lowered_to_it() -> None:
    parsed = build_options({"batch_size": "1000"}, limits=OptionLimits(max_batch_size=16))
    assert parsed.options.batch_size == 16


def test_several_wrong_options_are_told_at_once() -> None:
    error = refusal(task="x", beam_size=0, patience="y", best_of=0, temperature=9, multilingual=2)
    assert (error.field, len(error.problems)) == ("task", 5)
    assert error.message.endswith(". and 1 more")


def test_every_wrong_option_is_named_as_the_caller_wrote_it() -> None:
    error = refusal(task="x", beam_size=0).under("generate_kwargs.")
    assert error.field == "generate_kwargs.task"
    assert error.message.count("generate_kwargs.") == 2
    assert pickle.loads(pickle.dumps(error)).problems == error.problems


@pytest.mark.parametrize("value", ["x" * 10_000, [["x"] * 1000] * 1000, {"a": {"b": {"c": {}}}}])
def test_a_message_shows_only_the_beginning_of_a_long_value(value: object) -> None:
    assert len(refusal(beam_size=value).message) < 200


def test_options_are_immutable_values() -> None:
    one, other = TranscribeOptions(language="DE"), TranscribeOptions(language="de")
    assert one == other
    assert hash(one) == hash(other)

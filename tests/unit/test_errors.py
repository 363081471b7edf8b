"""Errors cross process borders without loss."""

import pickle

import pytest
from ray import cloudpickle
from ray.exceptions import RayTaskError

from serve_app import errors
from serve_app.errors import InvalidOption, WhisperOxError
from serve_app.serving.profile import InvalidProfile

STATE = ("message", "code", "status", "field", "retry_after_seconds")


def kinds(base: type[WhisperOxError]) -> list[type[WhisperOxError]]:
    return [base, *(kind for child in base.__subclasses__() for kind in kinds(child))]


KINDS = kinds(WhisperOxError)  # before Ray has derived any


def state(error: WhisperOxError) -> list[object]:
    return [getattr(error, name) for name in STATE]


def test_the_tree_has_every_branch() -> None:
    assert {errors.NotReady, InvalidProfile} <= {*KINDS}


@pytest.mark.parametrize("kind", KINDS)
def test_pickling_keeps_all_that_was_said(kind: type[WhisperOxError]) -> None:
    error = kind("why", code="own", status=418, field="file", retry_after_seconds=2.5)
    copy = pickle.loads(pickle.dumps(error))
    assert type(copy) is kind
    assert state(copy) == state(error) == ["why", "own", 418, "file", 2.5]
    assert str(copy) == "why"


@pytest.mark.parametrize("kind", KINDS)
def test_pickling_keeps_the_defaults(kind: type[WhisperOxError]) -> None:
    copy = pickle.loads(pickle.dumps(kind("why")))
    assert state(copy) == ["why", kind.code, kind.status, None, kind.retry_after_seconds]


def test_every_problem_with_the_options_reaches_another_process() -> None:
    error = InvalidOption("beam_size: got 99", "task: got 1", field="beam_size")
    raised = RayTaskError("transcribe", "traceback", error).as_instanceof_cause()
    for copy in (
        pickle.loads(pickle.dumps(error)),
        cloudpickle.loads(cloudpickle.dumps(error)),
        cloudpickle.loads(cloudpickle.dumps(raised)).cause,
    ):
        assert (copy.problems, copy.field) == (error.problems, "beam_size")
        assert copy.under("options.").message == "options.beam_size: got 99. options.task: got 1"


def test_a_problem_is_told_under_the_name_that_the_caller_gave() -> None:
    error = InvalidOption("vad.pad: got -1 for vad.pad", "task: got 1. and 2 more", field="vad.pad")
    renamed = error.renamed({"vad.pad": "strategy.padding_ms", "vad": "x", "and": "y"})
    assert renamed.message == "strategy.padding_ms: got -1 for vad.pad. task: got 1. and 2 more"
    assert renamed.field == "strategy.padding_ms"


@pytest.mark.parametrize("kind", [k for k in KINDS if k.status in (429, 503)])
def test_who_may_try_again_is_always_told_when(kind: type[WhisperOxError]) -> None:
    is_answered = kind.__module__ == errors.__name__  # models' errors stop a start
    assert (kind("why").retry_after_seconds is not None) == is_answered


@pytest.mark.parametrize("kind", KINDS)
def test_every_error_has_a_code_of_its_own_and_an_error_status(kind: type[WhisperOxError]) -> None:
    assert kind is WhisperOxError or 400 <= kind.status < 600
    assert [other.code for other in KINDS].count(kind.code) == 1

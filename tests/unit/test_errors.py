"""Errors cross process borders whole."""

import pickle

import pytest

from serve_app import errors
from serve_app.errors import WhisperOxError
from serve_app.serving.profile import InvalidProfile

STATE = ("message", "code", "status", "field", "retry_after_seconds")


def kinds(base: type[WhisperOxError]) -> list[type[WhisperOxError]]:
    return [base, *(kind for child in base.__subclasses__() for kind in kinds(child))]


def state(error: WhisperOxError) -> list[object]:
    return [getattr(error, name) for name in STATE]


def test_the_tree_has_every_branch() -> None:
    assert {errors.NotReady, InvalidProfile} <= {*kinds(WhisperOxError)}


@pytest.mark.parametrize("kind", kinds(WhisperOxError))
def test_pickling_keeps_all_that_was_said(kind: type[WhisperOxError]) -> None:
    error = kind("why", code="own", status=418, field="file", retry_after_seconds=2.5)
    copy = pickle.loads(pickle.dumps(error))
    assert type(copy) is kind
    assert state(copy) == state(error) == ["why", "own", 418, "file", 2.5]
    assert str(copy) == "why"


@pytest.mark.parametrize("kind", kinds(WhisperOxError))
def test_pickling_keeps_the_defaults(kind: type[WhisperOxError]) -> None:
    copy = pickle.loads(pickle.dumps(kind("why")))
    assert state(copy) == ["why", kind.code, kind.status, None, kind.retry_after_seconds]


@pytest.mark.parametrize("kind", [k for k in kinds(WhisperOxError) if k.status in (429, 503)])
def test_who_may_try_again_is_always_told_when(kind: type[WhisperOxError]) -> None:
    is_answered = kind.__module__ == errors.__name__  # models' errors stop a start
    assert (kind("why").retry_after_seconds is not None) == is_answered


@pytest.mark.parametrize("kind", kinds(WhisperOxError))
def test_every_error_has_a_code_of_its_own_and_an_error_status(kind: type[WhisperOxError]) -> None:
    assert kind is WhisperOxError or 400 <= kind.status < 600
    assert [other.code for other in kinds(WhisperOxError)].count(kind.code) == 1

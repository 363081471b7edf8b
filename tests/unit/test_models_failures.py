"""The hierarchy of what can go wrong with a model."""

import pickle

import pytest

from models import ModelError
from models.failures import DownloadRefused

KINDS: list[type[ModelError]] = [ModelError, *ModelError.__subclasses__()]


@pytest.mark.parametrize("kind", KINDS)
def test_every_failure_has_a_code_of_its_own(kind: type[ModelError]) -> None:
    assert [other.code for other in KINDS].count(kind.code) == 1


@pytest.mark.parametrize("kind", KINDS)
def test_failures_cross_process_borders(kind: type[ModelError]) -> None:
    copy = pickle.loads(pickle.dumps(kind("why")))
    assert (type(copy), copy.message, str(copy)) == (kind, "why", "why")


def test_a_refusal_keeps_its_http_status() -> None:
    assert pickle.loads(pickle.dumps(DownloadRefused("why", 403))).http_status == 403

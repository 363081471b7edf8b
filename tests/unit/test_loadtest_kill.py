import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from loadtest.kill import victim, write_profile
from loadtest.load import Outcome
from loadtest.recovery import Kill, ends, first_transcript_seconds, is_good, longest_gap_seconds
from serve_app.errors import WhisperOxError
from serve_app.serving.profile import load_profile

KILL = Kill(at=100.0, ready_seconds=3.0, replaced_seconds=None)
REFUSED = "no transcript: HTTP 503"


def outcome(began: float, ended: float, status: int | None = 200, **more: Any) -> Outcome:
    return Outcome(0, 0, began, ended, 5.0, status, **more)


def document(**changes: Any) -> Mapping[str, Any]:
    requests = {"sent": 9, "lost": 0, "unstated_errors": 0} | changes
    return {"requests": requests, "texts": {"identical": 9}, "same_after": True}


def test_every_request_is_counted_by_its_end() -> None:
    found = ends(
        [
            outcome(0, 1),
            outcome(0, 1, 503, error=REFUSED, code="not_ready"),
            outcome(0, 1, 500, error="no transcript: HTTP 500"),
            outcome(0, 1, None, error="ReadError: "),
            outcome(0, 1, None, gave_up=True),
        ]
    )
    assert found.pop("errors") == {"503 not_ready": 1}
    assert found.pop("sent") == 5
    assert set(found.values()) == {1}


def test_recovery_ends_with_a_request_that_was_sent_after_the_kill() -> None:
    before, refused = outcome(99.0, 100.5), outcome(101.0, 101.1, 503, error=REFUSED)
    assert first_transcript_seconds(KILL, [before, refused]) is None
    assert first_transcript_seconds(KILL, [before, refused, outcome(102.0, 104.0)]) == 4.0


def test_the_longest_gap_is_the_longest_time_without_a_transcript() -> None:
    refused = outcome(3.0, 8.5, 503, error=REFUSED)
    assert longest_gap_seconds([outcome(0, 2), outcome(0, 3), refused, outcome(9, 9.5)]) == 6.5
    assert longest_gap_seconds([outcome(0, 2), outcome(2, 7, None, error="ReadError: ")]) == 5.0
    assert longest_gap_seconds([]) == 0.0


@pytest.mark.parametrize("bad", [{"lost": 1}, {"unstated_errors": 1}])
def test_a_request_without_a_stated_end_is_bad(bad: dict[str, int]) -> None:
    assert is_good(document())
    assert not is_good(document(**bad))


def test_another_text_is_bad() -> None:
    assert not is_good({**document(), "texts": {"different": 1}})
    assert not is_good({**document(), "same_after": False})


def test_a_profile_with_two_model_replicas_is_a_profile(tmp_path: Path) -> None:
    profile = load_profile(str(write_profile(tmp_path, 2)))
    assert profile.deployment_options["Transcriber"]["num_replicas"] == 2
    assert profile.deployment_options["Ingress"]["num_replicas"] == 1


def test_the_victim_is_of_the_servers_own_session() -> None:
    title = "a process that the test of kills has begun"
    with subprocess.Popen([sys.executable, "-c", "input()", title], stdin=subprocess.PIPE) as begun:
        assert victim(os.getsid(0), title).pid == begun.pid
        with pytest.raises(WhisperOxError, match="has no process"):
            victim(os.getpid() + 2**22, title)
        begun.kill()

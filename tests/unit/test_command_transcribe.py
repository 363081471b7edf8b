"""What ``whisper-ox transcribe`` does with odd arguments, files and answers."""

import os
import shutil
from email.utils import formatdate
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from starlette.responses import PlainTextResponse

from serve_app.assets import GOLDEN_CLIP
from serve_app.cli.main import main
from tests.unit.deaf_service import DeafService
from tests.unit.served import listening, served

KEY = "open-sesame"


def transcribe(*arguments: object) -> Result:
    """Run the command, which writes transcripts to standard output."""
    return CliRunner().invoke(main, ["transcribe", "-o", "-", *map(str, arguments)])


@pytest.mark.parametrize("key", [f"{KEY}\n", f" {KEY}\r\n"])
def test_a_key_may_end_in_a_line_feed_as_on_the_server(key: str) -> None:
    with served(DeafService(), KEY) as url:
        done = transcribe(GOLDEN_CLIP, "--url", url, "--key", key)
    assert (done.exit_code, done.stdout) == (0, "\n")


@pytest.mark.parametrize("key", ["open-s\xe9same", "open-\nsesame", "open-\udcffsesame"])
def test_a_key_that_no_header_can_carry_is_refused_unquoted(key: str) -> None:
    with served(DeafService(), KEY) as url:
        done = transcribe(GOLDEN_CLIP, "--url", url, "--key", key)
    assert (done.exit_code, "not printable ASCII" in done.stderr) == (2, True)
    assert "open-" not in done.output


def test_a_path_that_cannot_be_looked_at_does_not_keep_others_from_being_transcribed() -> None:
    too_long = f"{'x' * 256}.wav"
    with served(DeafService()) as url:
        done = transcribe(too_long, GOLDEN_CLIP, "--url", url)
    assert (done.exit_code, done.stdout) == (1, "\n")
    assert f"{too_long}: File name too long" in done.stderr
    assert "1 of 2 files transcribed" in done.stderr


def test_a_file_below_a_closed_folder_is_told_of_like_any_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    closed = tmp_path / "closed"
    stat = os.stat

    def refused(path: "os.PathLike[str] | str", **more: object) -> os.stat_result:
        # Root, as which containers test, may look everywhere.
        if str(path).startswith(f"{closed}/"):
            raise PermissionError(13, "Permission denied", str(path))
        return stat(path)

    monkeypatch.setattr(os, "stat", refused)
    with served(DeafService()) as url:
        done = transcribe(closed / "a.wav", GOLDEN_CLIP, "--url", url)
    assert (done.exit_code, "1 of 2 files transcribed" in done.stderr) == (1, True)


def test_an_odd_link_in_a_folder_is_passed_over(tmp_path: Path) -> None:
    shutil.copy(GOLDEN_CLIP, tmp_path)
    (tmp_path / "link.wav").symlink_to("x" * 256)
    with served(DeafService()) as url:
        done = transcribe(tmp_path, "--url", url)
    assert (done.exit_code, done.stdout) == (0, "\n")


def test_a_file_whose_name_is_not_utf_8_is_transcribed(tmp_path: Path) -> None:
    named = tmp_path / os.fsdecode(b"caf\xe9.wav")
    shutil.copy(GOLDEN_CLIP, named)
    with served(DeafService()) as url:
        done = transcribe(tmp_path, "--url", url)
    assert (done.exit_code, done.stdout) == (0, "\n")


@pytest.mark.parametrize("retry_after", ["-5", "soon", "inf", formatdate(0, usegmt=True)])
def test_an_odd_time_to_try_again_is_no_traceback(retry_after: str) -> None:
    busy = PlainTextResponse("busy", 503, {"Retry-After": retry_after})
    with listening(busy) as url:
        done = transcribe(GOLDEN_CLIP, "--url", url)
    assert (done.exit_code, type(done.exception)) == (1, SystemExit)
    assert "golden.wav: the server answers HTTP 503" in done.stderr


@pytest.mark.parametrize("proxy", ["socks://127.0.0.1:1", "socks5://127.0.0.1:1"])
def test_a_proxy_that_cannot_be_used_is_told_in_one_line(
    proxy: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("all_proxy", proxy)
    done = transcribe(GOLDEN_CLIP, "--url", "http://server.invalid")
    assert (done.exit_code, type(done.exception)) == (1, SystemExit)
    assert done.stderr.startswith("Error: the proxy of the environment cannot be used: ")
    assert len(done.stderr.splitlines()) == 1


def test_an_odd_proxy_does_not_matter_to_a_server_on_this_machine(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("all_proxy", "socks://127.0.0.1:1")
    with served(DeafService()) as url:
        assert transcribe(GOLDEN_CLIP, "--url", url).exit_code == 0

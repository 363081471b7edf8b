"""What ``whisper-ox transcribe`` does with odd arguments, files and answers."""

import pytest
from click.testing import CliRunner, Result

from serve_app.assets import GOLDEN_CLIP
from serve_app.cli.main import main
from tests.unit.deaf_service import DeafService
from tests.unit.served import served

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

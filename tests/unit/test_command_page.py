"""docs/command.md names what the command has."""

import re
from pathlib import Path

from serve_app.cli.main import main
from serve_app.cli.transcribe import FORMATS, transcribe

PAGE = (Path(__file__).parents[2] / "docs" / "command.md").read_text()


def test_every_option_of_the_page_exists() -> None:
    has = {name for one in main.commands.values() for param in one.params for name in param.opts}
    assert set(re.findall(r"(?<=`)--[a-z-]+", PAGE)) - {"--help"} <= has


def test_every_option_of_transcribe_is_on_the_page() -> None:
    options = {max(one.opts, key=len) for one in transcribe.params} - {"files"}
    assert {name for name in options if name not in PAGE} == set()


def test_every_format_and_command_is_on_the_page() -> None:
    assert {name for name in FORMATS if f"`{name}`" not in PAGE} == set()
    assert {name for name in main.commands if f"whisper-ox {name}" not in PAGE} == set()

"""What ``make serve`` would run, with what people may have in their environment."""

import os
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
EXPORTED = {"HOST": "0.0.0.0", "PORT": "9000", "PROFILE": "cpu", "MODEL": "large-v3"}


def serving(*arguments: str) -> str:
    """The command that ``make serve`` would run, with ``EXPORTED`` in the environment."""
    done = subprocess.run(
        ["make", "--dry-run", "serve", *arguments],
        # A surrounding make would hand down its own variables.
        env=os.environ | EXPORTED | {"MAKEFLAGS": "", "MAKEOVERRIDES": ""},
        capture_output=True,
        check=True,
        text=True,
        cwd=ROOT,
    )
    return done.stdout.replace("\\\n", "")


def test_variables_that_a_shell_exports_do_not_open_the_server() -> None:
    command = serving()
    assert "--config dev --host 127.0.0.1 --port 8000" in command
    assert "--model" not in command


@pytest.mark.parametrize(
    ("argument", "option"),
    [
        ("HOST=0.0.0.0", "--host 0.0.0.0"),
        ("PORT=8001", "--port 8001"),
        ("PROFILE=cpu", "--config cpu"),
        ("MODEL=base", "--model base"),
        ("MODELS=base,tiny.en", "--model base,tiny.en"),
    ],
)
def test_what_the_command_line_says_counts(argument: str, option: str) -> None:
    assert option in serving(argument)

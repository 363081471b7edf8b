"""``whisper-ox``: the command that ``pip install`` puts on the path."""

import click

from serve_app import __version__
from serve_app.cli.check import check
from serve_app.cli.serve import serve
from serve_app.cli.transcribe import transcribe


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="whisper-ox")
def main() -> None:
    """Speech to text on your own machine."""


for command in (transcribe, serve, check):
    main.add_command(command)

"""What ``whisper-ox serve`` and ``whisper-ox check`` are told about the server."""

from collections.abc import Callable
from typing import Any

import click

PORT = click.IntRange(1, 65_535)


def server_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options of a server to a command."""
    options = (
        click.option(
            "--config",
            default="dev",
            show_default=True,
            metavar="PROFILE",
            help="Name of a profile, or a YAML file.",
        ),
        click.option(
            "--model",
            "models",
            default="",
            callback=lambda context, option, text: [name for name in text.split(",") if name],
            metavar="NAME[,NAME...]",
            help="Catalogue names, directories or Hugging Face ids; several share the cores.",
        ),
        click.option("--host", help="Address to listen on; 0.0.0.0 is every interface."),
        click.option("--port", type=PORT, help="Port to listen on."),
        click.option(
            "--metrics-port", type=PORT, help="Serve /metrics for Prometheus on this port as well."
        ),
        click.option(
            "--metrics-host",
            default="127.0.0.1",
            show_default=True,
            help="Address of the metrics port.",
        ),
    )
    for option in reversed(options):
        command = option(command)
    return command

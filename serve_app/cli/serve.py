"""``whisper-ox serve``: a server on this machine, until somebody stops it."""

import os
import sys
from contextlib import suppress
from typing import Any

import click

from models import ModelError
from serve_app.cli.server_options import server_options
from serve_app.errors import WhisperOxError
from serve_app.serving.before_ray import StopSignals, prepared_for_ray


@click.command()
@server_options
def serve(**options: Any) -> None:
    """Serve speech to text on this machine.

    The profile holds the settings, and the options below replace some of them.
    """
    exit_status = _serve(options)
    with suppress(OSError):  # the terminal may be closed
        sys.stdout.flush()
        sys.stderr.flush()
    # Not sys.exit: Ray's client would look for its ended processes for up to ten seconds.
    os._exit(exit_status)


def _serve(options: dict[str, Any]) -> int:
    signals = StopSignals()
    try:
        with prepared_for_ray(collects_metrics=options["metrics_port"] is not None):
            from serve_app.serving import local_server  # imports Ray

            local_server.serve(signals, **options)
    except (WhisperOxError, ModelError) as error:
        print(f"whisper-ox: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        pass
    with suppress(OSError):  # the terminal may be closed
        print("\nwhisper-ox: stopped", file=sys.stderr)
    return 0

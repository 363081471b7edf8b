"""``python -m serve_app``: the command line of a server on this machine."""

import argparse
import os
import sys

from models import ModelError
from serve_app.errors import WhisperOxError
from serve_app.serving.before_ray import StopSignals, prepared_for_ray


def parser() -> argparse.ArgumentParser:
    """The options of the command."""
    options = argparse.ArgumentParser(
        prog="python -m serve_app",
        description="Serve speech to text on this machine. Settings: configs/dev.yaml.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    options.add_argument(
        "--config", default="dev", metavar="PROFILE", help="profile name or YAML file"
    )
    options.add_argument(
        "--model",
        dest="models",
        type=lambda text: text.split(","),
        default=[],
        metavar="NAME[,NAME...]",
        help="catalogue names, directories or Hugging Face ids; several share cores and memory",
    )
    options.add_argument("--host", help="address to listen on; 0.0.0.0: every interface")
    options.add_argument("--port", type=_port, help="port to listen on")
    options.add_argument(
        "--metrics-port", type=_port, help="serve /metrics for Prometheus on this port as well"
    )
    options.add_argument("--metrics-host", default="127.0.0.1", help="address of that port")
    return options


def _port(text: str) -> int:
    if not (text.isascii() and text.isdigit() and 1 <= int(text) <= 65_535):
        raise argparse.ArgumentTypeError(f"{text!r} is not a port; allowed: 1 to 65535")
    return int(text)


def main(arguments: list[str] | None = None) -> int:
    """Serve until interrupted; returns the exit status."""
    options = vars(parser().parse_args(arguments))
    signals = StopSignals()
    try:
        with prepared_for_ray(collects_metrics=options["metrics_port"] is not None):
            from serve_app.serving.local_server import serve  # imports Ray

            serve(signals, **options)
    except (WhisperOxError, ModelError) as error:
        print(f"whisper-ox: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        pass
    print("\nwhisper-ox: stopped", file=sys.stderr)
    return 0


if __name__ == "__main__":
    exit_status = main()
    sys.stdout.flush()
    sys.stderr.flush()
    # Not sys.exit: Ray's client would look for its ended processes for up to ten seconds.
    os._exit(exit_status)

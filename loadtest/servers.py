"""The ``--server MODEL=URL`` flag, and a server of our own for models it does not name."""

import argparse
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from loadtest.options import EVALUATED_MODELS
from loadtest.server import start_server


def model_url(text: str) -> tuple[str, str]:
    """Parse ``base=http://127.0.0.1:8000`` for argparse."""
    model, separator, url = text.partition("=")
    if not separator or not url.startswith(("http://", "https://")):
        raise argparse.ArgumentTypeError(
            f"{text!r} is not MODEL=URL, as base=http://127.0.0.1:8000"
        )
    if model not in EVALUATED_MODELS:
        raise argparse.ArgumentTypeError(f"{model!r} is not among {', '.join(EVALUATED_MODELS)}")
    return model, url


def add_server_arguments(parser: argparse.ArgumentParser) -> None:
    """Flags shared by the tools that compare our server with plain faster-whisper."""
    parser.add_argument(
        "--server",
        type=model_url,
        action="append",
        default=[],
        metavar="MODEL=URL",
        help="a running server of that model; repeatable; without it one is started",
    )
    parser.add_argument(
        "--model",
        choices=EVALUATED_MODELS,
        action="append",
        help="repeatable; default: those of --server, else all",
    )
    parser.add_argument("--concurrency", type=int, default=8, help="requests in flight")
    parser.add_argument("--api-key", help="sent as X-API-Key")


def models_asked_for(given: argparse.Namespace) -> list[str]:
    """Models of ``--model``, else of ``--server``, else all."""
    return given.model or [model for model, _ in given.server] or list(EVALUATED_MODELS)


@contextmanager
def server_of(model: str, servers: Mapping[str, str]) -> Iterator[str]:
    """URL of the given server of ``model``, or of one that is started for the block."""
    if model in servers:
        yield servers[model]
    else:
        with start_server(model) as server:
            yield server.url

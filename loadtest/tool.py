"""What all measuring tools share: flags, failures, the output file, exit codes."""

import argparse
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import httpx

from models import ModelError
from serve_app.errors import WhisperOxError

Document = TypeVar("Document", dict[str, Any], list[dict[str, Any]])


def tool_parser(module: str, about: str | None) -> argparse.ArgumentParser:
    """A parser for ``python -m loadtest.MODULE`` with ``--output``; ``about`` is its docstring."""
    parser = argparse.ArgumentParser(
        prog=f"python -m loadtest.{module}",
        description=about,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--output", type=Path, help="write the figures as JSON")
    return parser


def run_tool(
    given: argparse.Namespace,
    measure: Callable[[argparse.Namespace], Document],
    is_good: Callable[[Document], bool],
    show: Callable[[Document], None] = lambda document: None,
) -> int:
    """Measure, ``show`` and write. ``measure`` may print as it goes.

    The exit code is 0 for a good document, 1 for another, and 2 if nothing could be measured.
    """
    try:
        document = measure(given)
    except (WhisperOxError, ModelError, httpx.HTTPError) as error:
        print(f"cannot measure: {error}", file=sys.stderr)
        return 2
    show(document)
    if given.output:
        text = json.dumps(document, indent=1, ensure_ascii=False)
        given.output.write_text(f"{text}\n", encoding="utf-8")
    return 0 if is_good(document) else 1

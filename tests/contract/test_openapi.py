"""The OpenAPI document and the server agree. schemathesis compares them."""

import os
import re
import subprocess
import sys
from pathlib import Path

import httpx

from loadtest.server import Server

ROOT = Path(__file__).parents[2]
EXAMPLES = 8
"""Per operation and phase; ``--max-examples`` of a longer run by hand."""


def test_requests_made_from_the_document_are_answered_as_it_says(tiny_en: Server) -> None:
    command = [
        *(sys.executable, "-m", "schemathesis.cli", "run", f"{tiny_en.url}/openapi.json"),
        *("--checks", "all", "--max-examples", str(EXAMPLES), "--seed", "0", "--no-shrink"),
        *("--generation-database", "none", "--workers", "2", "--request-timeout", "60"),
        *("--max-response-time", "60", "--no-color"),
    ]
    environment = {**os.environ, "SCHEMATHESIS_HOOKS": "tests.contract.valid_requests"}
    run = subprocess.run(
        command, cwd=ROOT, env=environment, check=False, capture_output=True, text=True
    )
    # The curl commands in the report hold whole audio files.
    report = "\n".join(line[:300] for line in run.stdout.splitlines())
    assert run.returncode == 0, report[-6_000:] + run.stderr[-2_000:]
    generated = re.search(r"(\d+) generated", run.stdout)
    assert generated, run.stdout
    print(generated[0])  # of -rP: how many requests that was
    assert int(generated[1]) > EXAMPLES


def test_a_refused_method_is_answered_with_all_that_the_path_has(tiny_en: Server) -> None:
    assert httpx.delete(tiny_en.url).headers["Allow"] == "GET, HEAD, POST"
    assert httpx.get(f"{tiny_en.url}/transcribe").headers["Allow"] == "POST"

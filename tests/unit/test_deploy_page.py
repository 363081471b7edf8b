"""docs/deploy.md: its links lead somewhere, its figures are those of the code and the results."""

import json
import re
from pathlib import Path

import pytest

from loadtest.sizing import ROWS, SizingRow

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "deploy.md").read_text()
LINKS = sorted(set(re.findall(r"\]\(([^)#]+)", PAGE)))
COMMANDS = "\n".join(re.findall(r"```sh\n(.*?)```", PAGE, re.DOTALL))


@pytest.mark.parametrize("link", LINKS)
def test_a_link_leads_to_a_file(link: str) -> None:
    assert (ROOT / "docs" / link).exists()


@pytest.mark.parametrize("path", sorted(set(re.findall(r"\bk8s/[\w./-]+", COMMANDS))))
def test_a_path_in_a_command_is_there_or_is_the_readers_own(path: str) -> None:
    assert (ROOT / path).exists() or path == "k8s/mine"


@pytest.mark.parametrize("row", [row for row in ROWS if row.profile != "dev"])
def test_what_is_promised_is_what_load_runs_are_held_to(row: SizingRow) -> None:
    (line,) = re.findall(rf"^\| `{row.profile}` \|.*$", PAGE, re.MULTILINE)
    least, most = row.rtfx
    assert f"| {least:g} to {most:g}" in line


@pytest.mark.parametrize("model", ["base", "tiny.en"])
def test_what_was_measured_is_what_the_results_say(model: str) -> None:
    name = f"throughput-{model}-epyc-2c-2026-11-21.json"
    results = json.loads((ROOT / "loadtest" / "results" / name).read_text())
    cores = results["machine"]["cores"]
    (ours,) = [one["servers"]["ours"] for one in results["levels"] if one["clients"] == 16]
    (line,) = [line for line in PAGE.splitlines() if name in line]
    assert line.startswith(f"| {model} | {ours['rtfx']:.1f} | {ours['rtfx'] / cores:.1f} | ")
    assert f"| {ours['latency_seconds']['p95']:.1f} s" in line

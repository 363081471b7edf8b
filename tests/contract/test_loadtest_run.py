"""Locust against a real server, headless and short, as ``make loadtest`` runs it."""

import json
from pathlib import Path

import pytest

from loadtest.load_plan import LoadPlan, run_locust
from loadtest.run import OURS, main
from loadtest.sent import BAD, DICTATION, LONG_FILE, STRANGER
from loadtest.server import Server
from tests.contract.conftest import API_KEY, API_KEY_HEADER

pytestmark = pytest.mark.long

DICTATING = ["--chunk", "5", "--dictation-seconds", "8", "--speaking-share", "1"]
OTHERS = ["--strangers-per-minute", "30", "--long-files", "1", "--long-file-seconds", "40"]


def test_every_kind_of_user_is_answered_as_it_should_be(tiny_en: Server, tmp_path: Path) -> None:
    flags = ["--url", tiny_en.url, "--model", "tiny.en", "--levels", "1:5,2:10", *DICTATING]
    main([*flags, *OTHERS, "--bad-clients", "1", "--output", str(tmp_path / "report.json")])
    report = json.loads((tmp_path / "report.json").read_text())
    overall = report["targets"][OURS]["overall"]
    assert overall["errors"] == 0, overall["error_samples"]
    assert set(overall["by_kind"]) == {DICTATION, STRANGER, LONG_FILE, BAD}
    assert [level["users"] for level in report["targets"][OURS]["levels"]] == [1, 2]
    written = {path.name for path in tmp_path.iterdir()}
    assert written >= {f"report-{OURS}{kind}" for kind in ("-locust.html", ".svg", "_stats.csv")}


@pytest.mark.parametrize(("key", "status"), [(API_KEY, 200), ("wrong", 401)])
def test_the_key_goes_along(
    guarded: Server, monkeypatch: pytest.MonkeyPatch, key: str, status: int
) -> None:
    monkeypatch.setenv("WHISPER_API_KEY", key)
    monkeypatch.setenv("WHISPER_API_KEY_HEADER", API_KEY_HEADER)
    plan = LoadPlan("1:4", chunk=2, speaking_share=1.0, dictation_seconds=4.0, model="tiny.en")
    _, sent = run_locust(guarded.url, plan)
    assert {one.status for one in sent} == {status}

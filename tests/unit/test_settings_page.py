"""docs/settings.md describes every setting and every environment variable."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from serve_app.settings import AppSettings, EngineTunables, ModelSettings
from tools.settings_page import settings_page
from tools.variables import HUGGING_FACES, OPEN_TELEMETRYS, OURS, RAYS

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "settings.md"
SOURCES = [path for package in ("serve_app", "models") for path in (ROOT / package).rglob("*.py")]
A_VARIABLE = re.compile(r"\bWHISPER_[A-Z_]+[A-Z]\b|^(?:LOG|RAY|HF|XDG|OTEL)_[A-Za-z_]+$")


def variables_in(source: Path) -> Iterator[str]:
    """Names of environment variables among a module's strings."""
    for node in ast.walk(ast.parse(source.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield from A_VARIABLE.findall(node.value)


def test_the_committed_page_is_current() -> None:
    assert PAGE.read_text(encoding="utf-8") == settings_page(), (
        "run: python -m tools.settings_page > docs/settings.md"
    )


def test_every_setting_is_there() -> None:
    page = settings_page()
    for concern, field in AppSettings.model_fields.items():
        if concern == "models":
            continue
        assert field.annotation is not None
        for name in field.annotation.model_fields:
            assert f"| `{concern}.{name}` | " in page
    assert all(f"| `models[].{name}` | " in page for name in ModelSettings.__annotations__)
    assert all(f"| `{name}` | " in page for name in EngineTunables.model_fields)


@pytest.mark.parametrize(
    "row",
    [
        "| `engine.workers` | whole number from 0 to 256 | `0` |",
        '| `engine.device` | `auto`, `cpu`, `cuda` | `"auto"` |',
        "| `http.extra_transcribe_paths` | list of text | `[]` |",
        "| `quota.concurrent_requests` | whole number from 1 or null | `null` |",
        "| `slack_seconds` | number from 0 to 600 | `30.0` |",
        "| `partial_context` | true, false | `true` |",
    ],
)
def test_it_says_what_is_allowed(row: str) -> None:
    assert row in settings_page()


def test_every_variable_that_code_names_is_there_and_no_other_of_ours() -> None:
    named = {name for source in SOURCES for name in variables_in(source)}
    assert {name for name in named if f"`{name}`" not in settings_page()} == set()
    assert {variable.name for variable in OURS} <= named


def test_no_variable_is_there_twice() -> None:
    names = [variable.name for variable in (*OURS, *RAYS, *OPEN_TELEMETRYS, *HUGGING_FACES)]
    assert len(set(names)) == len(names)

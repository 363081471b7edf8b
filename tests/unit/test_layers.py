"""Imports go only downward, and only one package knows each of the large libraries."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
ABOVE = {
    "models": {"serve_app", "configs", "tools", "loadtest", "tests"},
    "serve_app": {"tools", "loadtest", "tests"},
    "tools": {"loadtest", "tests"},
}
INSIDE = (
    *("assets", "errors", "transcript", "environment", "caller", "cgroup", "cpus", "fresh"),
    *("audio", "options", "settings", "logs", "metrics", "tracing"),
    *("engine", "service", "live", "api", "wyoming", "serving", "cli", "__main__"),
)
"""The parts of ``serve_app``: each may import those before it."""

ROOMS = {
    "ray": "serving",
    "ctranslate2": "engine",
    "faster_whisper": "engine",
    "av": "audio",
    "opentelemetry": "tracing",
    "click": "cli",
}


def sources(part: Path) -> list[Path]:
    return [*part.rglob("*.py")] if part.is_dir() else [part.with_suffix(".py")]


def imports(part: Path) -> Iterator[tuple[str, ...]]:
    """What each import of a package or module names, split at its dots; those in functions too."""
    for source in sources(part):
        for node in ast.walk(ast.parse(source.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                yield from (tuple(alias.name.split(".")) for alias in node.names)
            elif isinstance(node, ast.ImportFrom) and node.module:
                yield from (tuple(f"{node.module}.{a.name}".split(".")) for a in node.names)


@pytest.mark.parametrize("package", ABOVE)
def test_no_package_imports_one_above_it(package: str) -> None:
    found = {name[0] for name in imports(ROOT / package)}
    assert found and found.isdisjoint(ABOVE[package])


@pytest.mark.parametrize("part", INSIDE)
def test_no_part_of_the_server_imports_one_above_it(part: str) -> None:
    names = imports(ROOT / "serve_app" / part)
    found = {name[1] for name in names if name[0] == "serve_app" and len(name) > 1}
    assert found.isdisjoint(INSIDE[INSIDE.index(part) + 1 :])


def test_every_part_of_the_server_has_its_place() -> None:
    folder = ROOT / "serve_app"
    parts = {path.stem for path in folder.glob("*.py")} - {"__init__"}
    parts |= {path.parent.name for path in folder.glob("*/__init__.py")}
    assert parts == {*INSIDE}


@pytest.mark.parametrize("library", ROOMS)
def test_one_room_knows_it(library: str) -> None:
    parts = {p for p in INSIDE if any(n[0] == library for n in imports(ROOT / "serve_app" / p))}
    assert parts == {ROOMS[library]}

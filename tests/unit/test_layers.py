"""Imports go downward only: a package must not know the packages above it."""

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


def imported_packages(source: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(source.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module.partition(".")[0]


@pytest.mark.parametrize("package", ABOVE)
def test_no_package_imports_one_above_it(package: str) -> None:
    sources = [*(ROOT / package).rglob("*.py")]
    upward = {s for s in sources if ABOVE[package] & {*imported_packages(s)}}
    assert sources and upward == set()

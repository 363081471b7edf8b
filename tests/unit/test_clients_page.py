"""docs/clients.md names tests that exist."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_every_test_that_the_page_names_exists() -> None:
    page = (ROOT / "docs" / "clients.md").read_text()
    named = re.findall(r"`(test_\w+\.py)(?:::(test_\w+))?`", page)
    assert len(named) > 20
    for file, test in named:
        source = (ROOT / "tests" / "contract" / file).read_text()
        assert f"def {test}(" in source or not test, f"{file}::{test}"

"""docs/deploy.md: its links and the paths in its commands lead somewhere."""

import re
from pathlib import Path

import pytest

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

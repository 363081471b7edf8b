"""The pages for people: their links and paths lead somewhere."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGES = [*(ROOT / "docs").glob("*.md")]
PAGES += [*(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md"))]
PAGES += [*ROOT.glob("k8s/**/README.md"), ROOT / "loadtest" / "results" / "README.md"]
LINKS = sorted(
    {
        (page, link)
        for page in PAGES
        for link in re.findall(r"\]\(([^)\s]+)\)", page.read_text(encoding="utf-8"))
        if not link.startswith("https://")
    }
)
PATHS = sorted(set(re.findall(r"\bk8s/[\w./-]+", (ROOT / "docs" / "deploy.md").read_text())))


@pytest.mark.parametrize(
    ("page", "link"), LINKS, ids=lambda it: it if isinstance(it, str) else it.stem
)
def test_a_link_leads_to_a_file_and_a_heading(page: Path, link: str) -> None:
    name, _, heading = link.partition("#")
    target = page.parent / name if name else page
    assert target.exists()
    assert not heading or heading in anchors(target)


def anchors(page: Path) -> set[str]:
    """The names that a forge gives to a page's headings."""
    headings = re.findall(r"^#+ (.*)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", one).lower().replace(" ", "-") for one in headings}


@pytest.mark.parametrize("path", PATHS)
def test_a_path_in_the_deployment_page_is_there_or_is_the_readers_own(path: str) -> None:
    assert (ROOT / path.rstrip(".")).exists() or path == "k8s/mine"


def test_every_error_code_is_explained() -> None:
    page = (ROOT / "docs" / "http.md").read_text(encoding="utf-8")
    sources = [path.read_text(encoding="utf-8") for path in (ROOT / "serve_app").rglob("*.py")]
    codes = {code for text in sources for code in re.findall(r'\bcode ?= ?"([a-z_]+)"', text)}
    # A start that fails has no client, and a draft is dropped within the server.
    assert {
        code
        for code in codes - {"invalid_setting", "invalid_profile", "draft_dropped"}
        if f"`{code}`" not in page
    } == set()

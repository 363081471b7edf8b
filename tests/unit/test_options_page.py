"""docs/options.md describes every option and limit."""

from pathlib import Path

from serve_app.options import OptionLimits, TranscribeOptions, VadParameters
from tools.options_page import options_page

PAGE = Path(__file__).parents[2] / "docs" / "options.md"


def test_the_committed_page_is_current() -> None:
    assert PAGE.read_text(encoding="utf-8") == options_page(), (
        "run: python -m tools.options_page > docs/options.md"
    )


def test_every_option_and_limit_is_described() -> None:
    for model in (TranscribeOptions, VadParameters, OptionLimits):
        for name, field in model.model_fields.items():
            assert field.description, name
            assert f"| `{name}` |" in options_page()

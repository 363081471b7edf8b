"""``python -m tools.options_page``: docs/options.md, from the option models."""

import json
from typing import Any

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from serve_app.options import OptionLimits, TranscribeOptions, VadParameters
from serve_app.options.kinds import Kind
from serve_app.options.language import LANGUAGES

_INTRODUCTION = """\
# Options

`generate_kwargs` is a JSON object with any of these keys. Numbers and booleans may also be given as
strings, and `null` means the default. The server ignores unknown keys and names them in its answer.
It answers a wrong type or a value out of range with 422 and names the option, the value it got and
what is allowed.

`make docs` writes this page (`python -m tools.options_page > docs/options.md`), and a test fails
while it is out of date.
"""


def options_page() -> str:
    """The text of docs/options.md."""
    codes = ", ".join(f"`{code}` {name}" for code, name in sorted(LANGUAGES.items()))
    return "\n".join(
        [
            _INTRODUCTION,
            _table(TranscribeOptions),
            "\n## vad_parameters\n",
            "An object. Only the keys that are given are passed on.\n",
            _table(VadParameters),
            "\n## Languages\n",
            "A code of ISO 639-1, -2 or -3, a name in any language, or a tag with a region (`de`, "
            "`deu`, `German`, `Deutsch`, `de-CH`), in any case. `auto`, `detect`, `multi`, `none` "
            "and `und` mean the same as `null`. An English-only model knows `en`, every other "
            "model all of them, except that `yue` came with large-v3.\n",
            f"{codes}.",
            "\n## The server's limits\n",
            "The operator sets these, under `options`.\n",
            "| Setting | Default | Meaning |",
            "|---|---|---|",
            *(
                f"| `{name}` | {field.default} | {field.description} |"
                for name, field in OptionLimits.model_fields.items()
            ),
            "",
        ]
    )


def _table(model: type[BaseModel]) -> str:
    rows = [
        f"| `{name}` | {_allowed(name, field)} | {_default(field.default)} | {field.description} |"
        for name, field in model.model_fields.items()
    ]
    return "\n".join(["| Option | Allowed | Default | Meaning |", "|---|---|---|---|", *rows])


def _allowed(name: str, field: FieldInfo) -> str:
    if name == "language":
        return "see [Languages](#languages)"
    kinds = [entry for entry in field.metadata if isinstance(entry, Kind)]
    return kinds[0].allowed(OptionLimits()) if kinds else "an object"


def _default(value: Any) -> str:
    return f"`{json.dumps(value, ensure_ascii=False)}`"


if __name__ == "__main__":
    print(options_page(), end="")

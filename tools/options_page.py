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
strings, and `null` means the default. The server answers a wrong type or a value out of range with
422 and names the option, the value it got and what is allowed.

`make docs` writes this page (`python -m tools.options_page > docs/options.md`), and a test fails
while it is out of date.
"""

_PLACES = """
## Where options stand

`generate_kwargs` may be a text field or a file part, such as a browser's `Blob`, and its JSON may
be encoded twice. It is also read from the query (`?generate_kwargs=...`) if the form has none.

An option may also be a form field or a query parameter of its own:

```sh
curl -F language=de -F file=@speech.wav 'http://127.0.0.1:8000/transcribe?beam_size=3'
```

If an option has several values, the one in `generate_kwargs` counts, else the last form field, else
the last query parameter. The fields or parameters of a list are taken together instead:
`temperature=0&temperature=0.2` (or `temperature[]`), `temperature=0,0.2` and
`temperature=[0,0.2]` mean the same. `vad_parameters` is JSON there too, and `initial_prompt` is
always text. An empty value, `null` and `undefined` count as not given.

The header `X-Ignored-Options` of the answer names what had no effect: unknown keys, fields, file
parts and query parameters by their names, and other values of an option as `form.language` or
`query.language`. With `http.strict_options` the request is refused with 422 instead.

Options before the file are checked when the file begins, so a wrong one is answered before the file
has come. Put them first."""


def options_page() -> str:
    """The text of docs/options.md."""
    codes = ", ".join(f"`{code}` {name}" for code, name in sorted(LANGUAGES.items()))
    return "\n".join(
        [
            _INTRODUCTION,
            _table(TranscribeOptions),
            _PLACES,
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

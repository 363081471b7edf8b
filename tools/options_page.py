"""``python -m tools.options_page`` prints docs/options.md, made from the option models."""

import json
from typing import Any

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from serve_app.options import OptionLimits, TranscribeOptions, VadParameters
from serve_app.options.kinds import Kind
from serve_app.options.language import LANGUAGES

_INTRODUCTION = """\
# Options

For application developers: what a request may ask for. The model and the server's limits are the
operator's choice ([settings.md](settings.md)).

`generate_kwargs` is a JSON object with any of these keys. All are optional. Numbers and booleans
may also be strings, and `null` means the default. If a value has the wrong type or is out of
range, the answer is 422, and its message names the option, the value and what is allowed.

Most people need three: `language`, if you know it; `word_timestamps`, for the times of words; and
`initial_prompt` or `hotwords`, for names that the model does not know.
"""

_ATTEMPTS = """
## Second attempts

The model's first text may be bad: it repeats a phrase, or the model is unsure of it. The options
`compression_ratio_threshold` and `log_prob_threshold` say when a text fails, and `temperature`
says what the server tries then. A higher temperature makes the model choose less likely words.

| | `batch_size` above 1 (the default) | `batch_size` 1 |
|---|---|---|
| Later temperatures tried | At most two; by default 0.4 and 0.8 | All, in order |
| A silent window (`no_speech_threshold`) | Its first text is kept | Its text is dropped |
| `"recover": false` | No second attempts | No effect |

The first text that passes is used. If none passes, the most probable one that does not repeat
itself is used.

## Windows and segments

The server finds the speech, cuts it into windows of at most 30 s (`chunk_length`), and decodes each
window. With `batch_size` above 1 it works as follows.

**It starts a new segment** with each window, and where two words are at least 0.5 s apart. If you
need one text, join the texts of the segments, or send `response_format=text` to
[OpenAI's path](openai.md). With `"without_timestamps": true` pauses start no segment. With
`"recover": false` each window is one segment, unless you send `"without_timestamps": false`.

**It decodes a window at most five times:** with little silence after the speech
(`partial_context`), with more of it if that text is doubtful, in another language if it may be in
one, and at two higher temperatures. A text is doubtful if it repeats itself, is cut off, or has an
average log-probability below -0.6. A first attempt stops after about 12 tokens for each second of
speech, rounded up to a few lengths, and a second one after 24. Without `max_new_tokens`, none is
longer than 224 tokens.
Afterwards, the server decodes speech of 0.8 s or more that has no word, in at most three rounds and
at temperature 0 only. `http.request_seconds` limits the whole transcription.

**If you name a language and send `"multilingual": true`**, a window is taken to be in another
language only if the model is at least 90 % sure of it and the text in it is clearly more probable.
With `"recover": false` or `batch_size` 1, each window is in the language that is detected in it.
With several models, both options also
[choose the model](several-models.md#which-model-a-request-gets).

**It decodes windows one after the other**, whatever `batch_size` is, if a clip of `clip_timestamps`
is longer than 30 s, or if `vad_filter` is false and the audio is as long as a window or longer. All
that this page says of `batch_size` 1 then applies."""

_PLACES = """
## Where to put options

`generate_kwargs` may be a text field or a file part, such as a browser's `Blob`. Its JSON may be
encoded twice. If the form has no `generate_kwargs`, the server reads it from the query
(`?generate_kwargs=...`).

You may also send an option as a form field or a query parameter of its own:

```sh
curl -F language=de -F file=@speech.wav 'http://127.0.0.1:8000/transcribe?beam_size=3'
```

If an option has several values, the one in `generate_kwargs` counts, then the last form field,
then the last query parameter. Lists are an exception: their fields or parameters are joined.
`temperature=0&temperature=0.2` (or `temperature[]`), `temperature=0,0.2` and `temperature=[0,0.2]`
mean the same. A `vad_parameters` field is JSON, and an `initial_prompt` field is always text. An
empty value, `null` and `undefined` count as not given.

The header `X-Ignored-Options` of the answer names everything that had no effect: unknown keys,
fields, file parts and query parameters, and losing values as `form.language` or `query.language`.
If the operator sets `http.strict_options`, such a request gets 422 instead.

Put options before the file. The server then checks them before the file arrives."""

_LANGUAGES = (
    "Give a code (ISO 639-1, -2 or -3), a name in any language, or a tag with a region: `de`, "
    "`deu`, `German`, `Deutsch` and `de-CH` all mean German. Upper and lower case are the same. "
    "`auto`, `detect`, `multi`, `none` and `und` mean that the server detects the language. An "
    "English-only model knows only `en`. Other models know all of these, but only large-v3 and its "
    "descendants know `yue`.\n"
)


def options_page() -> str:
    """The text of docs/options.md."""
    codes = ", ".join(f"`{code}` {name}" for code, name in sorted(LANGUAGES.items()))
    return "\n".join(
        [
            _INTRODUCTION,
            _table(TranscribeOptions),
            _ATTEMPTS,
            _PLACES,
            "\n## vad_parameters\n",
            "An object. You need to give only the keys that you want to change.\n",
            _table(VadParameters),
            "\n## Languages\n",
            _LANGUAGES,
            f"{codes}.",
            "\n## The server's limits\n",
            "The operator can change these, under `options`.\n",
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

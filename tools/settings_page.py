"""``python -m tools.settings_page`` prints docs/settings.md."""

import json
from collections.abc import Iterator, Sequence
from typing import Any, Literal, get_args, get_origin

from annotated_types import Ge, Gt, Le, Lt
from pydantic import BaseModel
from pydantic.fields import FieldInfo

from serve_app.environment import SET_BY_A_LOCAL_SERVER
from serve_app.settings import AppSettings, EngineTunables, ModelSettings
from tools.variables import HUGGING_FACES, OPEN_TELEMETRYS, OURS, RAYS, Variable

_INTRODUCTION = """\
# Settings

For operators: every setting and every environment variable. [operations.md](operations.md) explains
how to use them; [options.md](options.md) lists what callers may ask for.

A profile is one complete Ray Serve config, like those under [`configs/`](../configs). To change a
setting, copy one, edit it and start it with `make serve PROFILE=my-profile.yaml`. `make serve`
listens on 127.0.0.1, port 8000, whatever the profile says: `HOST=0.0.0.0` and `PORT=` change that.

- Most settings go into the application's `args`, as in the example.
- Those of [the last table](#user_config-of-transcriber) go into `user_config` of the deployment
  `Transcriber`. A redeployment changes them without a restart.

A key that you leave out has its default. If a key is unknown or a value is not allowed, the server
does not start, and its message names the key.

```yaml
applications:
  - name: whisper-ox
    import_path: serve_app.serving.deployments:build_app
    args:
      engine: {model: base}
      log: {format: json}
    deployments:
      - name: Transcriber
        user_config: {decode_batch: 8}
```

"""


def settings_page() -> str:
    """The text of docs/settings.md."""
    return "\n".join([_INTRODUCTION, *_sections(), ""])


def _sections() -> Iterator[str]:
    for name, concern in AppSettings.model_fields.items():
        model = concern.annotation if name != "models" else ModelSettings
        assert isinstance(model, type)
        yield from (f"## args: {name}\n", _first_line(model), "", _settings(model, name), "")
    yield from ("## user_config of Transcriber\n", _first_line(EngineTunables), "")
    yield from (_settings(EngineTunables, ""), "")
    yield "## Environment variables\n"
    yield "Each process reads them when it starts. Those of Whisper OX:\n"
    yield from (_variables(OURS), "")
    yield "Those of Ray. The default is what `python -m serve_app` sets, if it sets one:\n"
    yield from (_variables(RAYS), "")
    yield "Those of OpenTelemetry, for traces. Traces are off while the first three are unset:\n"
    yield from (_variables(OPEN_TELEMETRYS), "")
    yield "Those of Hugging Face, for models that come from there:\n"
    yield _variables(HUGGING_FACES)


def _first_line(model: type[BaseModel]) -> str:
    return " ".join((model.__doc__ or "").split("\n\n")[0].split()).replace("``", "`")


def _settings(model: type[BaseModel], concern: str) -> str:
    place = {"": "", "models": "models[]."}.get(concern, f"{concern}.")
    rows = [
        f"| `{place}{name}` | {_allowed(field)} | {_default_of(field)} | {field.description} |"
        for name, field in model.model_fields.items()
        if name in model.__annotations__
    ]
    return "\n".join(["| Setting | Allowed | Default | Meaning |", "|---|---|---|---|", *rows])


def _variables(variables: Sequence[Variable]) -> str:
    rows = [f"| `{one.name}` | {_default(one)} | {one.meaning} |" for one in variables]
    return "\n".join(["| Variable | Default | Meaning |", "|---|---|---|", *rows])


def _default(variable: Variable) -> str:
    default = SET_BY_A_LOCAL_SERVER.get(variable.name) or variable.default
    return f"`{default}`" if default else "unset"


def _allowed(field: FieldInfo) -> str:
    return " or ".join(_kinds(field.annotation, _bounds(field)))


def _kinds(annotation: Any, bounds: str) -> Iterator[str]:
    """Each alternative of a type, in words."""
    names = {bool: "true, false", int: "whole number", float: "number", str: "text"}
    if get_origin(annotation) is Literal:
        yield ", ".join(f"`{word}`" for word in get_args(annotation))
    elif get_origin(annotation) is tuple:
        yield "list of " + " or ".join(_kinds(get_args(annotation)[0], ""))
    elif annotation is type(None):
        yield "null"
    elif annotation in names:
        yield names[annotation] + (bounds if annotation in (int, float) else "")
    elif arguments := get_args(annotation):
        for argument in arguments:
            yield from _kinds(argument, bounds)
    else:
        raise TypeError(f"{__name__} cannot describe {annotation} yet")


def _bounds(field: FieldInfo) -> str:
    words = []
    for entry in field.metadata:
        if isinstance(entry, Ge):
            words.append(f"from {entry.ge}")
        elif isinstance(entry, Gt):
            words.append(f"above {entry.gt}")
        elif isinstance(entry, Le):
            words.append(f"to {entry.le}")
        elif isinstance(entry, Lt):
            words.append(f"below {entry.lt}")
    return "".join(f" {word}" for word in words)


def _default_of(field: FieldInfo) -> str:
    return "required" if field.is_required() else f"`{_shown(field.default)}`"


def _shown(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)


if __name__ == "__main__":
    print(settings_page(), end="")

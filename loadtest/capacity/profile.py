"""What one replica of a machine costs per call: the input of the capacity planner.

A profile is measured (``python -m loadtest.capacity calibrate``), derived from measurements, or
predicted, and says which. It holds the costs of calls, not rates, which come from the simulation.
All costs are in seconds.
"""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from serve_app.engine.request import WINDOW_SECONDS
from serve_app.errors import WhisperOxError

FOLDER = Path(__file__).resolve().parents[1] / "profiles"

StageName = Literal["encode", "detect", "generate", "align"]


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class CallCost(_Model):
    """A call over n windows, which are encoded with c seconds of context and come to k_1 ... k_n
    tokens.

    It takes ``call + n * (window + c * second + c**2 * square) + max(k) * step + sum(k) * (token +
    c * token_second)`` seconds. The encoder's attention grows with the square of the context. Each
    step of the decoder reads the weights once, whatever the batch, finished windows leave the
    batch, and each token attends to the whole context.
    """

    call: float = Field(default=0.0, ge=0)
    window: float = Field(default=0.0, ge=0)
    second: float = Field(default=0.0, ge=0)
    square: float = Field(default=0.0, ge=0)
    step: float = Field(default=0.0, ge=0)
    token: float = Field(default=0.0, ge=0)
    token_second: float = Field(default=0.0, ge=0)

    def seconds(self, tokens: Sequence[float], context_seconds: float = WINDOW_SECONDS) -> float:
        """Of one call over as many windows as there are ``tokens``."""
        c = context_seconds
        window = self.window + c * self.second + c**2 * self.square
        token = self.token + c * self.token_second
        return self.call + len(tokens) * window + max(tokens) * self.step + sum(tokens) * token


class StageCosts(_Model):
    """What the stages of :class:`serve_app.engine.queue.Stage` cost."""

    encode: CallCost
    detect: CallCost = CallCost()
    generate: CallCost
    align: CallCost = CallCost()

    def of(self, stage: StageName) -> CallCost:
        """One of them."""
        cost: CallCost = getattr(self, stage)
        return cost


class Call(NamedTuple):
    """A step of a window, as :class:`serve_app.engine.queue.Step` has it; a row in a file.

    Calls of one ``stage`` and ``key`` may share a batch: they have the same options and the same
    context. ``tokens`` are those that the decoder writes or aligns, ``charged_seconds`` what the
    request is charged.
    """

    stage: StageName
    key: int = 0
    context_seconds: float = WINDOW_SECONDS
    tokens: float = 0.0
    charged_seconds: float = 0.0


Window = tuple[Call, ...]
"""Its calls, one after the other."""

Rounds = tuple[tuple[Window, ...], ...]
"""The windows of a request: those that VAD has cut, then those in which lost speech is heard again,
round by round. The windows of a round are heard in parallel.
"""


class Recipe(NamedTuple):
    """What a request of so much audio asked of the model; a row in a file."""

    audio_seconds: float
    rounds: Rounds


class PrepareCost(_Model):
    """On one core, before and after the model: voice activity detection, features, text."""

    call: float = Field(default=0.0, ge=0)
    audio_second: float = Field(default=0.0, ge=0)

    def seconds(self, audio_seconds: float) -> float:
        """Of one request."""
        return self.call + audio_seconds * self.audio_second


class ServerCost(_Model):
    """What serving adds to the engine.

    ``request_seconds``: latency of a lone request outside the engine; ``request_core_seconds``: how
    much of it keeps a core busy; ``idle_cores``: what the server uses without any request.
    """

    request_seconds: float = Field(default=0.0, ge=0)
    request_core_seconds: float = Field(default=0.0, ge=0)
    idle_cores: float = Field(default=0.0, ge=0)


class MeasuredCalls(NamedTuple):
    """Evidence: mean seconds of so many ``calls`` over ``windows`` with one context; a row."""

    stage: StageName
    context_seconds: float
    windows: int
    calls: int
    seconds: float


class MachineProfile(_Model):
    """One replica on one machine.

    ``loaded`` costs hold while every worker is busy, per worker. ``alone`` says by stage how many
    times as long a batch takes that has every core to itself; the stages that are missing run on
    one worker even then.
    """

    name: str
    kind: Literal["measured", "derived", "predicted"]
    basis: str = Field(description="How it came about: the command, or the arithmetic.")
    model: str
    compute_type: str
    device: Literal["cpu", "cuda"] = "cpu"
    cores: int = Field(ge=1, description="CPU cores of the replica.")
    workers: int = Field(ge=1)
    threads_per_worker: int = Field(default=1, ge=1)
    encode_batch: int = Field(default=1, ge=1)
    decode_batch: int = Field(default=8, ge=1)
    loaded: StageCosts
    alone: dict[StageName, float] = {}
    prepare: PrepareCost = PrepareCost()
    server: ServerCost = ServerCost()
    recipes: tuple[Recipe, ...] = Field(min_length=1)
    evidence: tuple[MeasuredCalls, ...] = ()
    machine: dict[str, Any] = {}

    def at_speed(self, speed: float) -> "MachineProfile":
        """The same machine while it does everything ``speed`` times as fast."""
        costs = self.model_dump()
        for name in ("loaded", "prepare", "server"):
            costs[name] = _times(costs[name], 1 / speed)
        costs["server"]["idle_cores"] = self.server.idle_cores
        return MachineProfile.model_validate(costs)

    def written(self) -> str:
        """As JSON: a line for each field, each recipe and each row of the evidence."""
        fields = self.model_dump(mode="json", exclude_defaults=True)
        lines = []
        for name, value in fields.items():
            text = json.dumps(value, ensure_ascii=False)
            if name in ("recipes", "evidence"):
                text = "[\n  " + ",\n  ".join(json.dumps(row) for row in value) + "\n ]"
            lines.append(f' "{name}": {text}')
        return "{\n" + ",\n".join(lines) + "\n}\n"


def _times(costs: Any, factor: float) -> Any:
    """Every number in ``costs``."""
    if isinstance(costs, dict):
        return {name: _times(value, factor) for name, value in costs.items()}
    return costs * factor


def profile_path(name: str) -> Path:
    """A path, or the name of a profile in ``loadtest/profiles``."""
    return Path(name) if name.endswith(".json") else FOLDER / f"{name}.json"


def read_profile(name: str) -> MachineProfile:
    """A profile by name or path. Raises ``WhisperOxError`` with the file and what is wrong."""
    path = profile_path(name)
    try:
        return MachineProfile.model_validate_json(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        known = ", ".join(sorted(file.stem for file in FOLDER.glob("*.json"))) or "none"
        raise WhisperOxError(f"there is no profile {path}; known by name: {known}") from error
    except ValidationError as error:
        wrong = "; ".join(
            f"{'.'.join(map(str, problem['loc']))}: {problem['msg']}"
            for problem in error.errors(include_url=False)[:5]
        )
        raise WhisperOxError(f"{path} is not a machine profile: {wrong}") from error

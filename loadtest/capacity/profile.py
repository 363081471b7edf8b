"""What one replica of a machine costs per call: the input of the capacity planner.

A profile is measured (``python -m loadtest.capacity calibrate``), derived from a results file of
``loadtest.engine_ceiling``, or predicted, and says which. It holds costs of calls, not rates: rates
come out of the simulation. All costs are seconds.
"""

from collections.abc import Sequence
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class CallCost(_Model):
    """A call over n windows takes ``call + n * window`` seconds."""

    call: float = Field(default=0.0, ge=0)
    window: float = Field(default=0.0, ge=0)

    def seconds(self, windows: int) -> float:
        """Of one call."""
        return self.call + windows * self.window


class DecodeCost(_Model):
    """A decoder call over n windows that come to k_1 ... k_n tokens.

    It takes ``call + n * window + max(k) * step + sum(k) * token`` seconds: each step reads the
    weights once, whatever the batch, and finished windows leave the batch.
    """

    call: float = Field(default=0.0, ge=0)
    window: float = Field(default=0.0, ge=0)
    step: float = Field(default=0.0, ge=0)
    token: float = Field(default=0.0, ge=0)

    def seconds(self, tokens: Sequence[float]) -> float:
        """Of one call."""
        longest, total = max(tokens), sum(tokens)
        return self.call + len(tokens) * self.window + longest * self.step + total * self.token


class StageCosts(_Model):
    """What the stages of :class:`serve_app.engine.queue.Stage` cost."""

    encode: CallCost
    detect: CallCost = CallCost()
    decode: DecodeCost


class LoneCosts(_Model):
    """A batch that has the machine to itself and every core.

    ``decode`` is None if one worker decodes it sooner
    (:meth:`serve_app.engine.backend.WhisperBackend.choose_lone_decoding`).
    """

    encode: CallCost
    detect: CallCost = CallCost()
    decode: DecodeCost | None = None


class Call(_Model):
    """One stage of one window. Decoder calls of one ``key`` may share a batch."""

    stage: Literal["encode", "detect", "generate"]
    key: int = 0
    tokens: float = Field(default=0, ge=0)


class Recipe(_Model):
    """The calls that a request of one window made, one after the other, and those that it made when
    it was sent ``again``, where chance is in them.
    """

    audio_seconds: float = Field(gt=0)
    calls: tuple[Call, ...] = Field(min_length=1)
    again: tuple[tuple[Call, ...], ...] = ()

    @property
    def told(self) -> tuple[tuple[Call, ...], ...]:
        """How it went each time."""
        return (self.calls, *self.again)

    @property
    def first_attempt(self) -> tuple[Call, ...]:
        """The calls up to the first generation."""
        stages = [call.stage for call in self.calls]
        return self.calls[: stages.index("generate") + 1] if "generate" in stages else self.calls


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


class DecodeRow(_Model):
    """One line of the evidence: mean seconds of a decoder call over ``windows``.

    ``rtfx``: audio seconds per second of all workers at that batch, encoding included.
    """

    windows: int = Field(ge=1)
    calls: int = Field(ge=1)
    seconds: float = Field(gt=0)
    rtfx: float = Field(gt=0)


class MachineProfile(_Model):
    """One replica on one machine.

    ``loaded`` costs hold while every worker is busy, per worker; ``alone`` those of a batch that
    has every core to itself (None: there is no such worker). ``solo_speed``: how much faster a
    worker is while the others rest.
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
    solo_speed: float = Field(default=1.0, gt=0)
    loaded: StageCosts
    alone: LoneCosts | None = None
    prepare: PrepareCost = PrepareCost()
    server: ServerCost = ServerCost()
    recipes: tuple[Recipe, ...] = Field(min_length=1)
    decode_table: tuple[DecodeRow, ...] = ()
    machine: dict[str, Any] = {}

    def at_speed(self, speed: float) -> "MachineProfile":
        """The same machine while it does everything ``speed`` times as fast."""
        costs = self.model_dump()
        for name in ("loaded", "alone", "prepare", "server"):
            costs[name] = _times(costs[name], 1 / speed)
        costs["server"]["idle_cores"] = self.server.idle_cores
        return MachineProfile.model_validate(costs)

    def without_fallback(self) -> "MachineProfile":
        """The same machine where no window is decoded again: requests at temperature 0."""
        once = (r.model_copy(update={"calls": r.first_attempt, "again": ()}) for r in self.recipes)
        return self.model_copy(update={"recipes": tuple(once)})


def _times(costs: Any, factor: float) -> Any:
    """Every number in ``costs``."""
    if isinstance(costs, dict):
        return {name: _times(value, factor) for name, value in costs.items()}
    return costs if costs is None else costs * factor

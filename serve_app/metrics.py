"""Every metric of the server, declared once, and the sink that the rest of it records into.

:mod:`serve_app.serving.ray_metrics` carries what is recorded to Ray's metrics export, whose
Prometheus endpoint adds ``ray_`` in front of every name and ``_total`` behind counters. Counters
add up over replicas; a gauge belongs to one replica and has its label ``replica``.

Ray rebuilds a histogram from its buckets, so that ``_count`` is right, quantiles are as good as the
buckets are narrow, and ``_sum`` is only an estimate. Seconds that must add up are a counter.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal

from typing_extensions import override

PREFIX: Final = "whisper_ox_"

Process = Literal["Ingress", "Transcriber"]
"""The deployment whose replicas record a metric."""


@dataclass(frozen=True)
class Metric:
    """What counters, gauges and histograms share.

    ``name`` is without prefix, ``help`` names the unit. ``labels`` have few values each, none of
    which a client can make up; ``values`` lists those of an only label, where all are known.
    """

    name: str
    process: Process
    help: str
    labels: tuple[str, ...] = ()
    values: tuple[str, ...] = ()

    @property
    def exported_name(self) -> str:
        """The name at the Prometheus endpoint."""
        return f"ray_{PREFIX}{self.name}"


@dataclass(frozen=True)
class Counter(Metric):
    """A total that only grows, from each process's start."""

    @property
    @override
    def exported_name(self) -> str:
        return f"{super().exported_name}_total"


@dataclass(frozen=True)
class Gauge(Metric):
    """The latest value of one replica; gone from the endpoint soon after the replica is."""


@dataclass(frozen=True)
class Histogram(Metric):
    """How values are spread over ``buckets`` (upper bounds, inclusive, ascending)."""

    buckets: tuple[float, ...] = ()


class Sink:
    """Where measurements go. Recording never raises for a value and takes a few microseconds.

    This one forgets them: it is for an engine or an application that nobody watches.
    """

    def count(self, metric: Counter, amount: float = 1.0, **labels: str) -> None:
        """Add ``amount``, at least 0."""

    def set(self, metric: Gauge, value: float, **labels: str) -> None:
        """Replace the gauge's value."""

    def observe(self, metric: Histogram, value: float, **labels: str) -> None:
        """Add one value."""


NO_METRICS: Final = Sink()

NO_KEY: Final = "anonymous"
"""Value of the label ``key`` for requests without an API key."""

STAGES: Final = ("encode", "detect", "generate", "align")
"""Values of the label ``stage``, the names of ``serve_app.engine.queue.Stage``."""
_BY_STAGE: Final = {"labels": ("stage",), "values": STAGES}

# Upper bounds in seconds, each about twice the one before: from a refusal to a file of two hours on
# a slow machine, and from one decoder call to the queue of many such files.
_REQUEST_BUCKETS = (
    *(0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 1.5, 2.5, 5.0),
    *(10.0, 20.0, 40.0, 60.0, 120.0, 300.0, 600.0, 1200.0, 2400.0, 4800.0, 9600.0),
)
_SHORT_BUCKETS = (
    *(0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1),
    *(0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 20.0, 40.0, 60.0, 120.0, 300.0, 900.0),
)
_BATCH_BUCKETS = (1.0, 2.0, 3.0, 4.0, 6.0, 8.0, 12.0, 16.0, 24.0, 32.0, 48.0, 64.0)

REQUESTS = Counter(
    "requests",
    "Ingress",
    "Requests answered, by HTTP method, route template (other: refused before it was looked up, "
    "or there is none), status (gone: the client left before an answer) and name of the API key "
    "(anonymous: none).",
    ("method", "route", "status", "key"),
)
REJECTED = Counter(
    "rejected",
    "Ingress",
    "Requests answered with an error, by its code (unauthorized, overloaded, not_ready, ...) and "
    "route.",
    ("reason", "route"),
)
REQUEST_SECONDS = Histogram(
    "request_seconds",
    "Ingress",
    "From a request's head to the end of its answer, in seconds.",
    ("route",),
    buckets=_REQUEST_BUCKETS,
)
FIRST_BYTE_SECONDS = Histogram(
    "first_byte_seconds",
    "Ingress",
    "From a request's head to the first byte of its answer, in seconds.",
    ("route",),
    buckets=_REQUEST_BUCKETS,
)
REQUESTS_IN_FLIGHT = Gauge(
    "requests_in_flight", "Ingress", "Requests that this replica is receiving or answering."
)
AUDIO_RECEIVED_SECONDS = Counter(
    "audio_received_seconds",
    "Ingress",
    "Audio handed to the model, in seconds, by name of the API key.",
    ("key",),
)
AUDIO_DECODE_SECONDS = Histogram(
    "audio_decode_seconds",
    "Ingress",
    "From an upload's last byte to its samples, in seconds.",
    buckets=_SHORT_BUCKETS,
)
MODEL_RETRIES = Counter(
    "model_retries", "Ingress", "Requests sent again because a Transcriber replica died under them."
)
LIVE_SESSIONS = Gauge("live_sessions", "Ingress", "Live sessions that this replica holds.")
LIVE_LAG_SECONDS = Histogram(
    "live_lag_seconds",
    "Ingress",
    "Audio of a live session that came after what a text covers, when that is told, in seconds, by "
    "the kind of text.",
    ("kind",),
    ("partial", "final"),
    buckets=_REQUEST_BUCKETS,
)

MODEL_INFO = Gauge(
    "model_info",
    "Transcriber",
    "1 for a replica that serves, with its model.",
    ("model", "device", "compute_type"),
)
REPLICA_STARTS = Counter(
    "replica_starts", "Transcriber", "Replicas that have loaded the model and become ready."
)
MEMORY_BYTES = Gauge(
    "memory_bytes", "Transcriber", "Resident memory of this replica's process, in bytes."
)
OPEN_REQUESTS = Gauge(
    "open_requests", "Transcriber", "Requests whose windows this replica queues or serves."
)
QUEUED_WINDOWS = Gauge("queued_windows", "Transcriber", "Windows that wait for some stage.")
QUEUED_AUDIO_SECONDS = Gauge(
    "queued_audio_seconds",
    "Transcriber",
    "Audio of open requests that is not transcribed yet, in seconds.",
)
ESTIMATED_WAIT_SECONDS = Gauge(
    "estimated_wait_seconds",
    "Transcriber",
    "How long a request that came now would wait before its own work begins, in seconds, by its "
    "length. Admission refuses by it.",
    ("length",),
    ("short", "bulk"),
)
FULL_LOAD_RTFX = Gauge(
    "full_load_rtfx",
    "Transcriber",
    "Seconds of audio per second with every worker busy, as admission has measured it; 0 before.",
)
AUDIO_TRANSCRIBED_SECONDS = Counter(
    "audio_transcribed_seconds",
    "Transcriber",
    "Audio of finished transcriptions, in seconds. Over engine_active_seconds it is the RTFx.",
)
ENGINE_ACTIVE_SECONDS = Counter(
    "engine_active_seconds", "Transcriber", "Time in which some batch was being served, in seconds."
)
ENGINE_SECONDS = Histogram(
    "engine_seconds",
    "Transcriber",
    "From the engine's receipt of a request to its last segment, in seconds.",
    buckets=_REQUEST_BUCKETS,
)
STAGE_BATCHES = Counter("stage_batches", "Transcriber", "Batches served, by stage.", **_BY_STAGE)
STAGE_WINDOWS = Counter(
    "stage_windows",
    "Transcriber",
    "Windows served, by stage. Over stage_batches it is the mean batch, over stage_slots the fill.",
    **_BY_STAGE,
)
STAGE_SLOTS = Counter(
    "stage_slots",
    "Transcriber",
    "Windows that those batches had room for: the stage's limit, summed over batches.",
    **_BY_STAGE,
)
STAGE_BUSY_SECONDS = Counter(
    "stage_busy_seconds",
    "Transcriber",
    "Time in the model, in seconds, by stage, summed over workers.",
    **_BY_STAGE,
)
STAGE_WAIT_SECONDS = Counter(
    "stage_wait_seconds",
    "Transcriber",
    "Time that windows waited for a stage, in seconds, summed over windows.",
    **_BY_STAGE,
)
BATCH_WINDOWS = Histogram(
    "batch_windows",
    "Transcriber",
    "Windows in a batch, by stage.",
    **_BY_STAGE,
    buckets=_BATCH_BUCKETS,
)
BATCH_SECONDS = Histogram(
    "batch_seconds",
    "Transcriber",
    "Time of one batch in the model, in seconds, by stage.",
    **_BY_STAGE,
    buckets=_SHORT_BUCKETS,
)
QUEUE_WAIT_SECONDS = Histogram(
    "queue_wait_seconds",
    "Transcriber",
    "Time that one window waited for a stage, in seconds.",
    **_BY_STAGE,
    buckets=_SHORT_BUCKETS,
)
VAD_SECONDS = Histogram(
    "vad_seconds",
    "Transcriber",
    "Voice activity detection in one request's audio, in seconds.",
    buckets=_SHORT_BUCKETS,
)
SPEECH_SECONDS = Counter(
    "speech_seconds", "Transcriber", "Speech that VAD heard in finished requests, in seconds."
)
SPEECH_COVERED_SECONDS = Counter(
    "speech_covered_seconds",
    "Transcriber",
    "The part of speech_seconds that words cover, in seconds. Its share is the coverage.",
)
SPEECH_RECOVERED_SECONDS = Counter(
    "speech_recovered_seconds",
    "Transcriber",
    "Speech that words cover only since it was heard again, in seconds.",
)
RECOVERY_WINDOWS = Counter(
    "recovery_windows",
    "Transcriber",
    "Windows cut from speech that no word covered, and heard on their own.",
)
DRAFTS_DROPPED = Counter(
    "drafts_dropped",
    "Transcriber",
    "Drafts of live sessions that were not heard, because a newer one came first or time was up.",
)
FALLBACKS = Counter(
    "fallbacks", "Transcriber", "Attempts to decode a window at a temperature above 0."
)

METRICS: Final[Sequence[Metric]] = tuple(
    declared for declared in tuple(globals().values()) if isinstance(declared, Metric)
)
"""All of the above, in order."""

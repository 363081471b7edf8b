"""Every metric of the server, declared once, and the sink that records it.

:mod:`serve_app.serving.ray_metrics` passes what is recorded to Ray's metrics export. Its Prometheus
endpoint puts ``ray_`` before every name and ``_total`` after counters. Counters add up over
replicas. A gauge belongs to one replica and has the label ``replica``.

Ray rebuilds a histogram from its buckets: ``_count`` is right, quantiles are as good as the buckets
are narrow, and ``_sum`` is only an estimate. For seconds that must add up, use a counter.
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

    ``name`` has no prefix, and ``help`` names the unit. Each of ``labels`` has few values, and a
    client cannot invent one. ``values`` lists those of a single label if all are known.
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
    """The latest value of one replica. It leaves the endpoint soon after the replica does."""


@dataclass(frozen=True)
class Histogram(Metric):
    """How values are distributed over ``buckets`` (upper bounds, inclusive, ascending)."""

    buckets: tuple[float, ...] = ()


class Sink:
    """Where measurements go. Recording never raises and takes a few microseconds.

    This one forgets them. It serves an engine or an application that nobody watches.
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
    "Answered requests, by HTTP method, route template (other: refused before routing, or no "
    "route), status (gone: the client left before the answer) and name of the API key (anonymous: "
    "no key).",
    ("method", "route", "status", "key"),
)
REJECTED = Counter(
    "rejected",
    "Ingress",
    "Requests answered with an error, by error code (unauthorized, overloaded, not_ready, ...) "
    "and route.",
    ("reason", "route"),
)
REQUEST_SECONDS = Histogram(
    "request_seconds",
    "Ingress",
    "Time from a request's head to the end of its answer, in seconds.",
    ("route",),
    buckets=_REQUEST_BUCKETS,
)
FIRST_BYTE_SECONDS = Histogram(
    "first_byte_seconds",
    "Ingress",
    "Time from a request's head to the first byte of its answer, in seconds.",
    ("route",),
    buckets=_REQUEST_BUCKETS,
)
REQUESTS_IN_FLIGHT = Gauge(
    "requests_in_flight", "Ingress", "Requests that this replica is receiving or answering."
)
AUDIO_RECEIVED_SECONDS = Counter(
    "audio_received_seconds",
    "Ingress",
    "Audio handed to a model, in seconds, by name of the API key and of the model.",
    ("key", "model"),
)
AUDIO_DECODE_SECONDS = Histogram(
    "audio_decode_seconds",
    "Ingress",
    "Time from an upload's last byte to its decoded samples, in seconds.",
    buckets=_SHORT_BUCKETS,
)
MODEL_RETRIES = Counter(
    "model_retries",
    "Ingress",
    "Requests sent again because the Transcriber replica that held them died.",
)
LIVE_SESSIONS = Gauge("live_sessions", "Ingress", "Live sessions that this replica holds.")
LIVE_LAG_SECONDS = Histogram(
    "live_lag_seconds",
    "Ingress",
    "Audio received but not yet covered by a text when the text is sent, in seconds, by the kind "
    "of text.",
    ("kind",),
    ("partial", "final"),
    buckets=_REQUEST_BUCKETS,
)

MODEL_INFO = Gauge(
    "model_info",
    "Transcriber",
    "1 for each replica that serves, labelled with its model.",
    ("model", "device", "compute_type"),
)
REPLICA_STARTS = Counter(
    "replica_starts", "Transcriber", "Replicas that have loaded the model and become ready."
)
MEMORY_BYTES = Gauge(
    "memory_bytes", "Transcriber", "Resident memory of this replica's process, in bytes."
)
OPEN_REQUESTS = Gauge(
    "open_requests", "Transcriber", "Requests that this replica queues or transcribes."
)
QUEUED_WINDOWS = Gauge("queued_windows", "Transcriber", "Windows that wait for a stage.")
QUEUED_AUDIO_SECONDS = Gauge(
    "queued_audio_seconds",
    "Transcriber",
    "Audio of these requests that is not transcribed yet, in seconds.",
)
ESTIMATED_WAIT_SECONDS = Gauge(
    "estimated_wait_seconds",
    "Transcriber",
    "How long a request would wait if it arrived now, in seconds, by its length. Admission uses "
    "it to refuse requests.",
    ("length",),
    ("short", "bulk"),
)
FULL_LOAD_RTFX = Gauge(
    "full_load_rtfx",
    "Transcriber",
    "Seconds of audio per second when every worker is busy, as measured; 0 until then.",
)
AUDIO_TRANSCRIBED_SECONDS = Counter(
    "audio_transcribed_seconds",
    "Transcriber",
    "Audio of finished transcriptions, in seconds. Divided by engine_active_seconds it is the "
    "RTFx.",
)
ENGINE_ACTIVE_SECONDS = Counter(
    "engine_active_seconds", "Transcriber", "Time during which at least one batch ran, in seconds."
)
ENGINE_SECONDS = Histogram(
    "engine_seconds",
    "Transcriber",
    "Time from a request's arrival in the engine to its last segment, in seconds.",
    buckets=_REQUEST_BUCKETS,
)
STAGE_BATCHES = Counter("stage_batches", "Transcriber", "Batches, by stage.", **_BY_STAGE)
STAGE_WINDOWS = Counter(
    "stage_windows",
    "Transcriber",
    "Windows, by stage. Divided by stage_batches it is the mean batch; divided by stage_slots, "
    "the fill.",
    **_BY_STAGE,
)
STAGE_SLOTS = Counter(
    "stage_slots",
    "Transcriber",
    "Windows that would have fitted into those batches, by stage.",
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
    "Time to find the speech in one request's audio, in seconds.",
    buckets=_SHORT_BUCKETS,
)
SPEECH_SECONDS = Counter(
    "speech_seconds",
    "Transcriber",
    "Speech that voice activity detection found in finished requests, in seconds.",
)
SPEECH_COVERED_SECONDS = Counter(
    "speech_covered_seconds",
    "Transcriber",
    "The part of speech_seconds that words cover, in seconds. Divided by it, the coverage.",
)
SPEECH_RECOVERED_SECONDS = Counter(
    "speech_recovered_seconds",
    "Transcriber",
    "Speech that words cover only because it was heard again, in seconds.",
)
RECOVERY_WINDOWS = Counter(
    "recovery_windows",
    "Transcriber",
    "Windows cut from speech that no word covered, to be heard again.",
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

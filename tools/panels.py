"""What the Grafana dashboard shows. :mod:`tools.dashboard` puts it into Grafana's format.

The queries are PromQL with ``$__rate_interval``, which Grafana replaces.
"""

from dataclasses import dataclass

from serve_app import metrics
from serve_app.metrics import Histogram, Metric

PROBES = "/health|/readyz"
"""Routes that Kubernetes calls rather than people."""


@dataclass(frozen=True)
class Query:
    """One line of a graph, or one for each value of the label that ``legend`` has in ``{{}}``."""

    expression: str
    legend: str


@dataclass(frozen=True)
class Panel:
    """A graph over time. ``unit`` is Grafana's id of a unit, such as ``reqps``."""

    title: str
    unit: str
    queries: tuple[Query, ...]
    description: str


def rate(metric: Metric, *by: str, where: str = "") -> str:
    """Increase per second over all replicas, for each combination of the labels ``by``."""
    return f"sum{_by(by)} (rate({metric.exported_name}{_where(where)}[$__rate_interval]))"


def ratio(above: Metric, below: Metric, *by: str, where: str = "") -> str:
    """The increase of ``above`` divided by that of ``below``."""
    return f"{rate(above, *by, where=where)} / {rate(below, *by, where=where)}"


def quantile(share: float, metric: Histogram, *by: str, where: str = "") -> str:
    """The value that ``share`` of the observations do not exceed, over all replicas."""
    buckets = f"{metric.exported_name}_bucket{_where(where)}"
    return f"histogram_quantile({share}, sum{_by(('le', *by))} (rate({buckets}[$__rate_interval])))"


def _panel(title: str, unit: str, *queries: Query, description: str = "") -> Panel:
    return Panel(title, unit, queries, description)


def _by(labels: tuple[str, ...]) -> str:
    return f" by ({', '.join(labels)})" if labels else ""


def _where(matchers: str) -> str:
    return f"{{{matchers}}}" if matchers else ""


def _quantiles(metric: Histogram, where: str = "") -> tuple[Query, ...]:
    return tuple(
        Query(quantile(share, metric, where=where), f"p{share * 100:.0f}")
        for share in (0.5, 0.95, 0.99)
    )


_PEOPLE = f'route!~"{PROBES}"'
_FAILED = f'{_PEOPLE}, status=~"5.."'
_DECODED = 'stage="generate"'

SECTIONS: dict[str, tuple[Panel, ...]] = {
    "Traffic": (
        _panel(
            "Requests by route and status",
            "reqps",
            Query(
                rate(metrics.REQUESTS, "method", "route", "status"),
                "{{method}} {{route}} {{status}}",
            ),
        ),
        _panel(
            "Requests by key",
            "reqps",
            Query(rate(metrics.REQUESTS, "key", where=_PEOPLE), "{{key}}"),
        ),
        _panel(
            "Audio received by key",
            "none",
            Query(rate(metrics.AUDIO_RECEIVED_SECONDS, "key"), "{{key}}"),
            description="Seconds of audio per second. Compare it with the RTFx at full load.",
        ),
        _panel(
            "Requests in progress",
            "short",
            Query(f"sum ({metrics.REQUESTS_IN_FLIGHT.exported_name})", "at the HTTP side"),
            Query(f"sum ({metrics.OPEN_REQUESTS.exported_name})", "in the engine"),
        ),
        _panel(
            "Rejected by reason",
            "reqps",
            Query(rate(metrics.REJECTED, "reason", where=_PEOPLE), "{{reason}}"),
        ),
        _panel(
            "Share of 5xx",
            "percentunit",
            Query(
                f"({rate(metrics.REQUESTS, where=_FAILED)} or vector(0))"
                f" / {rate(metrics.REQUESTS, where=_PEOPLE)}",
                "5xx",
            ),
        ),
    ),
    "Time": (
        _panel("Request", "s", *_quantiles(metrics.REQUEST_SECONDS, where=_PEOPLE)),
        _panel("First byte", "s", *_quantiles(metrics.FIRST_BYTE_SECONDS, where=_PEOPLE)),
        _panel("Engine", "s", *_quantiles(metrics.ENGINE_SECONDS)),
        _panel(
            "Queue wait of a window, p95",
            "s",
            Query(quantile(0.95, metrics.QUEUE_WAIT_SECONDS, "stage"), "{{stage}}"),
        ),
        _panel("Decoding of uploads", "s", *_quantiles(metrics.AUDIO_DECODE_SECONDS)),
        _panel("Voice activity detection", "s", *_quantiles(metrics.VAD_SECONDS)),
    ),
    "Live": (
        _panel(
            "Live sessions",
            "short",
            Query(f"sum ({metrics.LIVE_SESSIONS.exported_name})", "held"),
        ),
        _panel(
            "Lag of live text, p95",
            "s",
            Query(quantile(0.95, metrics.LIVE_LAG_SECONDS, "kind"), "{{kind}}"),
        ),
        _panel(
            "Partial texts dropped", "ops", Query(rate(metrics.DRAFTS_DROPPED), "replaced or late")
        ),
    ),
    "Engine": (
        _panel(
            "RTFx",
            "none",
            Query(
                ratio(metrics.AUDIO_TRANSCRIBED_SECONDS, metrics.ENGINE_ACTIVE_SECONDS),
                "per active replica",
            ),
            Query(f"avg ({metrics.FULL_LOAD_RTFX.exported_name})", "at full load"),
            description="Seconds of audio transcribed per second in which the engine works, and "
            "what admission has measured with every worker busy. A long file counts when it is "
            "done.",
        ),
        _panel(
            "Batch size",
            "none",
            Query(ratio(metrics.STAGE_WINDOWS, metrics.STAGE_BATCHES, "stage"), "{{stage}} mean"),
            Query(quantile(0.95, metrics.BATCH_WINDOWS, "stage"), "{{stage}} p95"),
        ),
        _panel(
            "Batch fill",
            "percentunit",
            Query(ratio(metrics.STAGE_WINDOWS, metrics.STAGE_SLOTS, "stage"), "{{stage}}"),
            description="Windows per batch over the stage's limit. A low fill is not a fault: a "
            "batch takes what is queued and never waits until it is full.",
        ),
        _panel(
            "Model time per window",
            "s",
            Query(ratio(metrics.STAGE_BUSY_SECONDS, metrics.STAGE_WINDOWS, "stage"), "{{stage}}"),
        ),
        _panel(
            "Model time per batch, p95",
            "s",
            Query(quantile(0.95, metrics.BATCH_SECONDS, "stage"), "{{stage}}"),
        ),
        _panel(
            "Mean wait of a window",
            "s",
            Query(ratio(metrics.STAGE_WAIT_SECONDS, metrics.STAGE_WINDOWS, "stage"), "{{stage}}"),
        ),
        _panel(
            "Estimated wait",
            "s",
            Query(
                f"max by (length) ({metrics.ESTIMATED_WAIT_SECONDS.exported_name})", "{{length}}"
            ),
            description="The wait of a new request on the replica with the longest queue.",
        ),
        _panel(
            "Queued audio",
            "s",
            Query(f"sum ({metrics.QUEUED_AUDIO_SECONDS.exported_name})", "seconds"),
        ),
        _panel(
            "Queued windows",
            "short",
            Query(f"sum ({metrics.QUEUED_WINDOWS.exported_name})", "windows"),
        ),
        _panel(
            "Engine active",
            "percentunit",
            Query(rate(metrics.ENGINE_ACTIVE_SECONDS, "replica"), "{{replica}}"),
            description="Share of the time in which some batch is being served.",
        ),
    ),
    "Quality": (
        _panel(
            "Speech coverage",
            "percentunit",
            Query(ratio(metrics.SPEECH_COVERED_SECONDS, metrics.SPEECH_SECONDS), "coverage"),
            description="Share of the speech found by VAD that words cover.",
        ),
        _panel(
            "Share of fallbacks",
            "percentunit",
            Query(
                f"{rate(metrics.FALLBACKS)} / {rate(metrics.STAGE_WINDOWS, where=_DECODED)}",
                "above temperature 0",
            ),
            description="Share of the attempts to decode a window at a temperature above 0.",
        ),
        _panel(
            "Recovered speech",
            "none",
            Query(rate(metrics.SPEECH_RECOVERED_SECONDS), "seconds per second"),
            Query(rate(metrics.RECOVERY_WINDOWS), "windows per second"),
            description="Speech that words cover only since it was heard again, and the windows "
            "that were cut for it.",
        ),
    ),
    "Replicas": (
        _panel(
            "Serving",
            "short",
            Query(
                f"sum by (model, device, compute_type) ({metrics.MODEL_INFO.exported_name})",
                "{{model}} {{device}} {{compute_type}}",
            ),
        ),
        _panel(
            "Memory",
            "bytes",
            Query(f"sum by (replica) ({metrics.MEMORY_BYTES.exported_name})", "{{replica}}"),
        ),
        _panel(
            "Starts and retries",
            "short",
            Query(f"sum ({metrics.REPLICA_STARTS.exported_name})", "replicas started"),
            Query(f"sum ({metrics.MODEL_RETRIES.exported_name})", "requests sent again"),
            description="Totals since Ray's node agent started; a step is a start or a retry.",
        ),
    ),
}

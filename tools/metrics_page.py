"""``python -m tools.metrics_page`` prints docs/metrics.md."""

from serve_app.metrics import METRICS, Counter, Gauge, Histogram, Metric

_INTRODUCTION = """\
# Metrics

For operators: how to read the server's metrics with Prometheus, and what each one means.
[`k8s/observability/`](../k8s/observability/README.md) has alerts and a Grafana dashboard.

Ray runs an agent on each machine. It collects the metrics of all processes every 10 s
(`RAY_metrics_report_interval_ms`, at least 1,000) and waits for Prometheus to read them. It sends
nothing.

## Where to scrape

- **One machine.** `make serve METRICS_PORT=9464`, or `python -m serve_app --metrics-port 9464`,
  opens `http://127.0.0.1:9464/metrics`. In a container, add `--metrics-host 0.0.0.0` and publish
  the port (`-p 127.0.0.1:9464:9464`). This port asks for no key. It shows no audio and no text, but
  it shows the names of keys and the traffic.
- **Kubernetes.** Every Ray pod answers on its port `metrics` (8080).

```yaml
scrape_configs:
  - job_name: whisper-ox
    scrape_interval: 15s
    static_configs:
      - targets: ["127.0.0.1:9464"]
```

## Watch these

- **Lost words:** `speech_covered_seconds` divided by `speech_seconds`. The alert is below 0.85.
- **Overload:** `estimated_wait_seconds` with `length="short"`, for which the alert is above 30 s;
  `queued_audio_seconds`; and `rejected` with `reason="overloaded"`.
- **Live captions that lag:** `live_lag_seconds` and `drafts_dropped`.

## What there is

Ray Serve adds the labels `application`, `deployment` and `replica`, and Ray adds `NodeAddress`,
`SessionName`, `WorkerId` and others. Counters add up over replicas. A gauge belongs to one replica
and disappears about 20 s after it. A client cannot create a label value: keys appear under the
names that you gave them, and a request without a route counts as `other`.

Ray's `_sum` of a histogram is only an estimate; `_count` and quantiles are right. For a mean,
divide the rates of two counters (`ray_whisper_ox_` and `_total` are left out here):

| Question | Divide | By |
|---|---|---|
| How fast is the model (RTFx)? | `audio_transcribed_seconds` | `engine_active_seconds` |
| How many windows share a batch? | `stage_windows` | `stage_batches` |
| How full are the batches? | `stage_windows` | `stage_slots` |
| How long does a window wait? | `stage_wait_seconds` | `stage_windows` |
| How much of the speech do words cover? | `speech_covered_seconds` | `speech_seconds` |

RTFx is seconds of audio per second of work. A request counts when it is finished, so choose a range
that is longer than your longest file takes.
"""

_CLOSING = """\
The same endpoint has Ray's own metrics, such as `ray_serve_*` about the deployments.
"""


def metrics_page() -> str:
    """The text of docs/metrics.md."""
    sides = {
        "Ingress": "### The HTTP side (deployment `Ingress`)",
        "Transcriber": "### The model (deployment `Transcriber`)",
    }
    tables = [
        f"{title}\n\n{_table([metric for metric in METRICS if metric.process == process])}\n"
        for process, title in sides.items()
    ]
    return "\n".join([_INTRODUCTION, *tables, _CLOSING])


def _table(chosen: list[Metric]) -> str:
    rows = [
        f"| `{metric.exported_name}` | {_kind(metric)} | {_labels(metric)} | {metric.help} |"
        for metric in chosen
    ]
    return "\n".join(["| Metric | Kind | Labels | Meaning |", "|---|---|---|---|", *rows])


def _kind(metric: Metric) -> str:
    if isinstance(metric, Histogram):
        return f"histogram, {metric.buckets[0]:g} to {metric.buckets[-1]:g}"
    return {Counter: "counter", Gauge: "gauge"}[type(metric)]


def _labels(metric: Metric) -> str:
    shown = ", ".join(f"`{label}`" for label in metric.labels)
    return f"{shown} ({', '.join(metric.values)})" if metric.values else shown


if __name__ == "__main__":
    print(metrics_page(), end="")

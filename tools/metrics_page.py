"""``python -m tools.metrics_page``: docs/metrics.md, from the declarations of the metrics."""

from serve_app.metrics import METRICS, Counter, Gauge, Histogram, Metric

_INTRODUCTION = """\
# Metrics

Every replica records into Ray's metrics export. The node agent that Ray runs on each machine
collects from all processes every 10 s and answers Prometheus. Nothing is sent anywhere: Prometheus
comes and reads.

## Where to scrape

- `make serve METRICS_PORT=9464`, which is `python -m serve_app --metrics-port 9464`: one endpoint,
  `http://127.0.0.1:9464/metrics`. Off by default. `--metrics-host 0.0.0.0` opens it to other
  machines, which a container needs. It does not ask for a key. It shows neither audio nor text, but
  it does show the names of keys and the traffic.
- On Kubernetes every Ray pod answers on its port `metrics` (8080);
  [`k8s/observability/`](../k8s/observability/README.md) has the PodMonitor, the alerts and the
  Grafana dashboard.

```yaml
scrape_configs:
  - job_name: whisper-ox
    scrape_interval: 15s
    static_configs:
      - targets: ["127.0.0.1:9464"]
```

## What there is

Besides the labels below there are `application`, `deployment` and `replica` from Ray Serve and
those of Ray itself (`NodeAddress`, `SessionName`, `WorkerId`, ...). Counters add up over replicas
and processes; the node's agent keeps the last value of a process that has ended. A gauge belongs to
one replica and disappears about 20 s after it. No label takes a value from a client: a request that
is refused before routing (size, key, quota) or has no route counts as `other`, and keys appear
under the names that the operator gave them.

Ray passes a histogram on as the counts of its buckets, so quantiles and `_count` are right, but
`_sum` is an estimate from the middles of the buckets. Take the ratio of two counters for a mean:

- RTFx: `ray_whisper_ox_audio_transcribed_seconds_total` over
  `ray_whisper_ox_engine_active_seconds_total`: seconds of audio per second of work. A request
  counts when it is done, so choose a range that is longer than your longest file takes.
- mean batch, batch fill and mean wait: `stage_windows` over `stage_batches`, over `stage_slots`,
  and `stage_wait_seconds` over `stage_windows`.
- coverage: `speech_covered_seconds` over `speech_seconds`.

`RAY_metrics_report_interval_ms` changes the 10 s; Ray accepts 1,000 and more.
"""

_CLOSING = """\
The same endpoint has Ray's own metrics, such as `ray_serve_*` about the deployments.

`make docs` writes this page (`python -m tools.metrics_page > docs/metrics.md`), and a test fails
while it is out of date.
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

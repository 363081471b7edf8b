"""The plots of a load run that locust's own page lacks."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

Values = Sequence[float | None]

SECONDS = "seconds since the load began"


def draw(target: Mapping[str, Any], path: Path) -> None:
    """Draw a target of ``loadtest.run``'s JSON into ``path``, an SVG or PNG file."""
    time, engine, levels = target["over_time"], target["engine_over_time"], target["levels"]
    ordered = sorted(levels, key=lambda level: float(level["offered_rtfx"]))
    latency: dict[str, Values] = {
        name: [level["latency_seconds"].get(name) for level in ordered]
        for name in ("p50", "p95", "p99")
    }
    load = [level["offered_rtfx"] for level in ordered]
    charts: list[tuple[str, str, Sequence[float], Mapping[str, Values]]] = [
        ("audio s per s", SECONDS, time["at"], _of(time, "offered_rtfx", "served_rtfx")),
        ("requests", SECONDS, time["at"], _of(time, "refused", "errors")),
    ]
    if len(levels) > 1:
        charts.append(("latency, s", "audio offered, s per s", load, latency))
    if engine.get("at"):
        charts.append(("windows per decode batch", SECONDS, engine["at"], _of(engine, "batch")))
        queues = _of(engine, "queued_windows", "open_requests")
        charts.append(("queue", SECONDS, engine["at"], queues))
    figure = Figure(figsize=(9, 3 * len(charts)), layout="constrained")
    for number, (upward, across, places, series) in enumerate(charts, start=1):
        axes = figure.add_subplot(len(charts), 1, number, xlabel=across, ylabel=upward)
        for name, values in series.items():
            # matplotlib breaks a line where a value is NaN.
            axes.plot(places, [float("nan") if v is None else v for v in values], "o-", label=name)
        axes.set_ylim(bottom=0)
        axes.legend()
    figure.savefig(path)


def _of(series: Mapping[str, Values], *names: str) -> dict[str, Values]:
    return {name: series[name] for name in names}

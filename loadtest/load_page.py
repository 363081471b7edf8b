"""The report of a load run as one HTML file: no scripts, no network, nothing beside it."""

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from loadtest.charts import line_chart

STYLE = """
body { font: 15px/1.5 sans-serif; color: #222; max-width: 60rem; margin: 2rem auto }
table { border-collapse: collapse; margin: 1rem 0 }
td, th { padding: .2rem .8rem; text-align: right }
th { border-bottom: 1px solid #888 } td:first-child, th:first-child { text-align: left }
h2 { margin-top: 2.2rem } .kept { color: #2b6a35 } .broken { color: #b0301c; font-weight: bold }
svg { width: 100%; height: auto } code { background: #f2f2f2; padding: 0 .2rem }
"""

_PER_LEVEL = ("p50", "p95", "p99", "max")


def page(report: Mapping[str, Any]) -> str:
    """HTML of what ``loadtest.run`` writes as JSON."""
    parts = [
        "<!doctype html><html lang=en><meta charset=utf-8>",
        f"<title>Load run, {escape(report['model'])}</title><style>{STYLE}</style>",
        f"<h1>Load run: {escape(report['model'])}, {escape(report['profile'])}</h1>",
        _setting(report),
        "<h2>Verdict</h2>",
        *_verdict(report),
        "<h2>Figures</h2>",
        _figures(report["targets"]),
    ]
    for name, target in report["targets"].items():
        parts += [f"<h2>{escape(name)}</h2>", *_charts(target)]
    return "\n".join([*parts, "</html>", ""])


def _setting(report: Mapping[str, Any]) -> str:
    about, habit = report["machine"], report["load"]
    chunk = habit["chunk_seconds"]
    levels = ", ".join(f"{one['users']} for {one['seconds']:g} s" for one in habit["levels"])
    return (
        f"<p>Users who dictate: {escape(levels)}. They speak {habit['speaking_share']:.0%} of the "
        f"time, about {habit['dictation_seconds']:g} s at once; the service posts "
        + (f"chunks of {chunk:g} s" if chunk else "whole dictations")
        + f". {escape(about['processor'])}, {about['cores']} cores, "
        f"{escape(about['date'])}. Latency counts from the moment when a request was due.</p>"
    )


def _verdict(report: Mapping[str, Any]) -> list[str]:
    rows = [
        f"<tr><td>{escape(check['name'])}<td>{escape(check['found'])}"
        f"<td class={'kept' if check['passed'] else 'broken'}>"
        f"{'kept' if check['passed'] else 'not kept'}</tr>"
        for check in report["verdict"]
    ]
    return ["<table><tr><th>promise<th>found<th></tr>", *rows, "</table>"]


def _figures(targets: Mapping[str, Mapping[str, Any]]) -> str:
    head = (
        "<tr><th>server, users<th>requests<th>refused<th>errors<th>RTFx served<th>RTFx busy"
        + "".join(f"<th>{name}" for name in _PER_LEVEL)
        + "<th>WER</tr>"
    )
    rows = []
    for name, target in targets.items():
        for level in target["levels"]:
            latency = "".join(f"<td>{_seconds(level, key)}" for key in _PER_LEVEL)
            wer = "-" if level["wer"] is None else f"{level['wer']:.1%}"
            rows.append(
                f"<tr><td>{escape(name)}, {level['users']}<td>{level['requests']}"
                f"<td>{level['refused']}<td>{level['errors']}<td>{level['served_rtfx']:.1f}"
                f"<td>{level['busy_rtfx']:.1f}{latency}<td>{wer}</tr>"
            )
    return f"<table>{head}{''.join(rows)}</table>"


def _charts(target: Mapping[str, Any]) -> list[str]:
    time, levels = target["over_time"], target["levels"]
    seconds = "seconds since the load began"
    charts = [
        line_chart(
            "Latency over time",
            time["at"],
            {name: time[name] for name in ("p50", "p95", "p99")},
            across=seconds,
            upward="latency, s",
        ),
        line_chart(
            "Audio offered and served",
            time["at"],
            {"offered": time["offered_rtfx"], "served": time["served_rtfx"]},
            across=seconds,
            upward="audio s per s",
        ),
        line_chart(
            "Refusals and errors",
            time["at"],
            {"refused (429)": time["refused"], "errors": time["errors"]},
            across=seconds,
            upward="requests",
        ),
    ]
    if len(levels) > 1:
        charts.insert(0, _by_load(levels))
    engine = target.get("engine_over_time") or {}
    if engine.get("at"):
        queue = {"windows queued": engine["queued_windows"], "requests": engine["open_requests"]}
        batches = {"windows per decode batch": engine["batch"], "share filled": engine["fill"]}
        charts += [
            line_chart("Decode batches", engine["at"], batches, across=seconds, upward="windows"),
            line_chart("Queue", engine["at"], queue, across=seconds, upward="count"),
        ]
    return charts


def _by_load(levels: Sequence[Mapping[str, Any]]) -> str:
    ordered = sorted(levels, key=lambda level: float(level["offered_rtfx"]))
    latencies = {
        name: [level["latency_seconds"].get(name) for level in ordered]
        for name in ("p50", "p95", "p99")
    }
    return line_chart(
        "Latency over load",
        [level["offered_rtfx"] for level in ordered],
        latencies,
        across="audio offered, s per s",
        upward="latency, s",
    )


def _seconds(level: Mapping[str, Any], key: str) -> str:
    value = level["latency_seconds"].get(key)
    return "-" if value is None else f"{value:.2f} s"

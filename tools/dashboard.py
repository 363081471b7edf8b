"""``python -m tools.dashboard``: k8s/observability/dashboard.json, the Grafana dashboard.

Format: Grafana's dashboard JSON model, schema version 39 (Grafana 11).
"""

import json
from typing import Any

from tools.panels import SECTIONS, Panel

WIDTH = 24
"""Columns of Grafana's grid."""
PANEL_WIDTH, PANEL_HEIGHT = 8, 8


def dashboard() -> dict[str, Any]:
    """Grafana's JSON model of :data:`tools.panels.SECTIONS`."""
    panels: list[dict[str, Any]] = []
    y = 0
    for title, section in SECTIONS.items():
        panels.append(_row(title, len(panels) + 1, y))
        y += 1
        per_row = WIDTH // PANEL_WIDTH
        for number, panel in enumerate(section):
            x = number % per_row * PANEL_WIDTH
            panels.append(_graph(panel, len(panels) + 1, x, y + number // per_row * PANEL_HEIGHT))
        y += -(-len(section) // per_row) * PANEL_HEIGHT
    return {
        "uid": "whisper-ox",
        "title": "Whisper OX",
        "schemaVersion": 39,
        "editable": True,
        "refresh": "30s",
        "time": {"from": "now-3h", "to": "now"},
        "templating": {
            "list": [{"name": "datasource", "type": "datasource", "query": "prometheus"}]
        },
        "panels": panels,
    }


def _row(title: str, identifier: int, y: int) -> dict[str, Any]:
    place = {"x": 0, "y": y, "w": WIDTH, "h": 1}
    return {"id": identifier, "type": "row", "title": title, "collapsed": False, "gridPos": place}


def _graph(panel: Panel, identifier: int, x: int, y: int) -> dict[str, Any]:
    source = {"type": "prometheus", "uid": "${datasource}"}
    return {
        "id": identifier,
        "type": "timeseries",
        "title": panel.title,
        "description": panel.description,
        "datasource": source,
        "gridPos": {"x": x, "y": y, "w": PANEL_WIDTH, "h": PANEL_HEIGHT},
        "fieldConfig": {"defaults": {"unit": panel.unit, "min": 0}, "overrides": []},
        "targets": [
            {
                "refId": chr(ord("A") + number),
                "datasource": source,
                "expr": query.expression,
                "legendFormat": query.legend,
            }
            for number, query in enumerate(panel.queries)
        ],
    }


if __name__ == "__main__":
    print(json.dumps(dashboard(), indent=2))

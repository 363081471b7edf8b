"""The PromQL of the dashboard and the alerts, and what it needs."""

import json
from pathlib import Path

import promql_parser
import yaml

OBSERVABILITY = Path(__file__).parents[2] / "k8s" / "observability"
RATE_INTERVAL = "1m"
"""Grafana's replacement for ``$__rate_interval``."""


def panel_queries() -> dict[str, str]:
    """The PromQL of the committed dashboard, by panel and legend."""
    dashboard = json.loads((OBSERVABILITY / "dashboard.json").read_text())
    return {
        f"{panel['title']}: {target['legendFormat']}": target["expr"].replace(
            "$__rate_interval", RATE_INTERVAL
        )
        for panel in dashboard["panels"]
        for target in panel.get("targets", ())
    }


def alert_queries() -> dict[str, str]:
    """The PromQL of the committed alerts, by name."""
    manifest = yaml.safe_load((OBSERVABILITY / "alerts.yaml").read_text())
    return {
        rule["alert"]: rule["expr"]
        for group in manifest["spec"]["groups"]
        for rule in group["rules"]
    }


def needs(query: str) -> dict[str, set[str]]:
    """Labels that a query selects or groups by, per name of a series. Raises ``ValueError``."""
    wanted: dict[str, set[str]] = {}

    def names_in(expression: promql_parser.Expr) -> list[str]:
        names: list[str] = []

        def note(node: promql_parser.Expr) -> None:
            if isinstance(node, promql_parser.VectorSelector):
                names.append(str(node.name))
                matchers = node.matchers.matchers
                wanted.setdefault(str(node.name), set()).update(m.name for m in matchers)

        promql_parser.walk(expression, note)
        return names

    def group(node: promql_parser.Expr) -> None:
        if isinstance(node, promql_parser.AggregateExpr) and node.modifier:
            for name in names_in(node.expr):
                wanted[name].update(node.modifier.labels)

    tree = promql_parser.parse(query)
    names_in(tree)
    promql_parser.walk(tree, group)
    return wanted

"""How a local server lets its requests end."""

from types import SimpleNamespace
from typing import Any

import pytest

from serve_app.api.edge.drain import DrainStage
from serve_app.serving import local_server
from serve_app.settings import DrainSettings


@pytest.mark.parametrize(("n_signals", "least"), [(1, 30.0), (2, 0.0)])
def test_a_second_signal_ends_the_wait_for_load_balancers(
    n_signals: int, least: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    slept: list[float] = []
    stages: list[DrainStage] = []

    def unfinished(_: Any, stage: DrainStage) -> int:
        stages.append(stage)
        return 0

    clock = SimpleNamespace(sleep=slept.append, monotonic=lambda: sum(slept))
    monkeypatch.setattr(local_server, "time", clock)
    monkeypatch.setattr(local_server, "_n_unfinished", unfinished)
    signals: Any = SimpleNamespace(received=[15] * n_signals)
    ingress: Any = None
    local_server._let_requests_end(ingress, DrainSettings(notice_seconds=30), signals)
    assert least <= sum(slept) < least + 1
    assert stages == [DrainStage.LEAVING, DrainStage.CLOSED]

"""How a local server starts Serve, finds out that it is ready, and lets its requests end."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from starlette.responses import PlainTextResponse

from loadtest.server import free_port
from serve_app.api.edge.drain import DrainStage
from serve_app.serving import local_server
from serve_app.serving.profile import load_profile, profile_path
from serve_app.settings import DrainSettings, LogSettings
from tests.unit.served import listening


def test_it_asks_itself_without_a_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{free_port()}")
    monkeypatch.delenv("no_proxy", raising=False)
    with listening(PlainTextResponse("ready")) as url:
        assert local_server._is_ready(url)
    assert not local_server._is_ready(url)


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


def test_serve_logs_as_the_profile_says_in_the_format_of_our_log(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(profile_path("cpu").read_text().replace("WARNING", "ERROR"))
    given: list[Any] = []
    serve = SimpleNamespace(
        start=lambda **options: given.append(options["logging_config"]),
        RunTarget=lambda target, **options: given.append(options["logging_config"]),
        run_many=lambda *args, **options: [None],
    )
    monkeypatch.setattr(local_server, "ray_serve", serve)
    local_server._deploy(load_profile(str(path)), LogSettings(format="json"), "127.0.0.1")
    both = {"encoding": "JSON", "enable_access_log": False}
    assert given == [both | {"log_level": "CRITICAL"}, both | {"log_level": "ERROR"}]

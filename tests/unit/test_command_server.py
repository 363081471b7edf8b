"""What ``whisper-ox transcribe`` does while a server is busy; the HTTP and the client are real."""

from typing import BinaryIO

import pytest

from loadtest.server import free_port
from serve_app.assets import GOLDEN_CLIP
from serve_app.caller import Caller
from serve_app.cli.server import Refused, RunningServer
from serve_app.errors import InvalidAudio, Overloaded
from tests.unit.deaf_service import DeafService
from tests.unit.served import served


class BusyAtFirst(DeafService):
    """Refuses the first request."""

    async def admit(self, caller: Caller, body_bytes: int | None) -> None:
        if self.error:
            error, self.error = self.error, None
            raise error


class Told:
    """A progress that remembers."""

    def __init__(self) -> None:
        self.waited: list[float] = []
        self.positions: list[tuple[float, float]] = []

    def sending(self, file: BinaryIO, n_bytes: int) -> BinaryIO:
        return file

    def waiting(self, seconds: float) -> None:
        self.waited.append(seconds)

    def hearing(self, position: float, seconds: float) -> None:
        self.positions.append((position, seconds))


def test_a_file_is_sent_again_when_a_busy_server_says_so() -> None:
    told = Told()
    with served(BusyAtFirst(Overloaded("full", retry_after_seconds=1))) as url:
        heard = RunningServer(url).transcribe(GOLDEN_CLIP, "transcribe", {}, told)
    assert (heard.done["text"], told.waited) == ("", [1.0])
    assert told.positions[-1] == (heard.seconds, heard.seconds)
    assert heard.seconds == pytest.approx(1.143)


def test_what_will_not_pass_by_waiting_is_not_sent_again() -> None:
    told = Told()
    with (
        served(BusyAtFirst(InvalidAudio("broken"))) as url,
        pytest.raises(Refused, match="broken"),
    ):
        RunningServer(url).transcribe(GOLDEN_CLIP, "transcribe", {}, told)
    assert told.waited == []


def test_options_without_effect_are_told() -> None:
    with served(DeafService()) as url:
        heard = RunningServer(url).transcribe(GOLDEN_CLIP, "transcribe", {"beem_size": "1"}, Told())
    assert heard.ignored == "beem_size"


def test_a_server_on_this_machine_is_asked_without_a_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "all_proxy"):
        monkeypatch.setenv(name, f"http://127.0.0.1:{free_port()}")
    monkeypatch.delenv("no_proxy", raising=False)
    with served(DeafService()) as url:
        for address in (url, url.replace("127.0.0.1", "localhost")):
            heard = RunningServer(address).transcribe(GOLDEN_CLIP, "transcribe", {}, Told())
            assert heard.done["text"] == ""


def test_a_server_elsewhere_is_asked_through_the_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("no_proxy", raising=False)
    with served(DeafService()) as url:
        monkeypatch.setenv("http_proxy", url)
        elsewhere = RunningServer("http://server.invalid")
        heard = elsewhere.transcribe(GOLDEN_CLIP, "transcribe", {}, Told())
    assert heard.done["text"] == ""


def test_no_option_keeps_the_events_from_coming() -> None:
    with served(DeafService()) as url:
        heard = RunningServer(url).transcribe(
            GOLDEN_CLIP, "transcribe", {"stream": "false"}, Told()
        )
    assert heard.done["text"] == ""

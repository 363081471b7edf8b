"""The progress bar of one file: bytes while it is sent, then the time in the audio."""

import sys
import threading
from typing import BinaryIO, NoReturn, cast

from tqdm import tqdm
from tqdm.utils import CallbackIOWrapper

TICK_SECONDS = 0.5

SENDING = "{desc}: sending {percentage:3.0f}%|{bar}| {n_fmt}/{total_fmt} [{elapsed}]"
HEARING = "{desc}: {percentage:3.0f}%|{bar}| [{elapsed}<{remaining}{postfix}]"


class Bar:
    """A :class:`serve_app.cli.server.Progress` on stderr, if that is a terminal. Close it."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._is_sent = False
        self._bar = self._new(None, SENDING)
        self._closed = threading.Event()
        threading.Thread(target=self._tick, daemon=True).start()

    def sending(self, file: BinaryIO, n_bytes: int) -> BinaryIO:
        """Count what is read from ``file``."""
        self._bar.close()
        self._bar = self._new(n_bytes, SENDING)
        return cast(BinaryIO, CallbackIOWrapper(self._bar.update, file, "read"))

    def waiting(self, seconds: float) -> None:
        """Say that the server is busy."""
        tqdm.write(f"{self._name}: the server is busy; trying again in {seconds:.0f} s", sys.stderr)

    def hearing(self, position: float, seconds: float) -> None:
        """Move on to ``position``."""
        if not self._is_sent:
            self._is_sent = True
            self._bar.close()
            self._bar = self._new(seconds, HEARING)
        self._bar.set_postfix_str(f"{_clock(position)} of {_clock(seconds)}", refresh=False)
        self._bar.update(min(position, seconds) - self._bar.n)

    def close(self) -> None:
        """Take the bar off the screen."""
        self._closed.set()
        self._bar.close()

    def _new(self, total: float | None, bar_format: str) -> "tqdm[NoReturn]":
        return tqdm(
            total=total,
            desc=self._name,
            bar_format=bar_format,
            unit_scale=True,
            leave=False,
            disable=None,  # only where stderr is a terminal
        )

    def _tick(self) -> None:
        # The time goes on while nothing is heard, so that nobody takes the command for dead.
        while not self._closed.wait(TICK_SECONDS):
            self._bar.refresh()


def _clock(seconds: float) -> str:
    return str(tqdm.format_interval(seconds))

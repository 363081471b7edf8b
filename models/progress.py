"""How far a transfer is: a bar on a terminal, a line every ten per cent elsewhere, or nothing."""

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Literal

from tqdm import tqdm

ProgressMode = Literal["auto", "bar", "lines", "quiet"]
Advance = Callable[[int], None]

_LINE_STEP = 0.1
_LINE_INTERVAL_SECONDS = 1.0


@contextmanager
def transfer(
    label: str, total_bytes: int | None, *, initial_bytes: int = 0, mode: ProgressMode = "auto"
) -> Iterator[Advance]:
    """Show one transfer on stderr; call the yielded function with the bytes of each step.

    ``auto`` is a bar where stderr is a terminal, else lines. ``initial_bytes`` were there before.
    """
    if mode == "auto":
        mode = "bar" if sys.stderr.isatty() else "lines"
    if mode == "bar":
        with tqdm(
            desc=label,
            total=total_bytes,
            initial=initial_bytes,
            unit="B",
            unit_scale=True,
            dynamic_ncols=True,
        ) as bar:

            def advance(n_bytes: int) -> None:
                bar.update(n_bytes)

            yield advance
    elif mode == "lines":
        yield _Lines(label, total_bytes, initial_bytes).advance
    else:
        yield lambda n_bytes: None


class _Lines:
    """Writes a line at every tenth of the total, at most one a second, and the last one always."""

    def __init__(self, label: str, total_bytes: int | None, initial_bytes: int) -> None:
        self._label = label
        self._total = total_bytes
        self._done = initial_bytes
        self._next_share = _LINE_STEP
        self._last_line_at = 0.0
        if initial_bytes:
            self._write("resumed at")

    def advance(self, n_bytes: int) -> None:
        self._done += n_bytes
        if not self._total:
            return
        share = self._done / self._total
        now = time.monotonic()
        due = share >= self._next_share and now - self._last_line_at >= _LINE_INTERVAL_SECONDS
        if due or self._done == self._total:
            self._write("at")
            self._last_line_at = now
            self._next_share = share + _LINE_STEP

    def _write(self, verb: str) -> None:
        of_total = f" of {self._total / 1e6:.1f} MB" if self._total else ""
        print(f"{self._label}: {verb} {self._done / 1e6:.1f}{of_total}", file=sys.stderr)

"""Shows progress of a transfer on stderr: a bar on a terminal, otherwise a line for every tenth."""

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from tqdm import tqdm

Advance = Callable[[int], object]

_LINE_STEP = 0.1
_LINE_INTERVAL_SECONDS = 1.0


@contextmanager
def transfer(
    label: str, total_bytes: int | None, *, initial_bytes: int = 0, quiet: bool = False
) -> Iterator[Advance]:
    """Show one transfer; call the yielded function with the number of bytes of each step.

    ``initial_bytes`` are already there, ``quiet`` shows nothing.
    """
    if quiet:
        yield lambda n_bytes: None
    elif sys.stderr.isatty():
        with tqdm(
            desc=label,
            total=total_bytes,
            initial=initial_bytes,
            unit="B",
            unit_scale=True,
            dynamic_ncols=True,
        ) as bar:
            yield bar.update
    else:
        yield _Lines(label, total_bytes, initial_bytes).advance


class _Lines:
    """Prints a line at every tenth of the total, at most once a second, and always the last one."""

    def __init__(self, label: str, total_bytes: int | None, initial_bytes: int) -> None:
        self._label = label
        self._total = total_bytes
        self._done = initial_bytes
        self._next_share = _LINE_STEP
        self._last_line_at = 0.0
        if initial_bytes:
            self._print("resumed at")

    def advance(self, n_bytes: int) -> None:
        self._done += n_bytes
        if not self._total:
            return
        share = self._done / self._total
        now = time.monotonic()
        due = share >= self._next_share and now - self._last_line_at >= _LINE_INTERVAL_SECONDS
        if due or self._done == self._total:
            self._print("at")
            self._last_line_at = now
            self._next_share = share + _LINE_STEP

    def _print(self, verb: str) -> None:
        of_total = f" of {self._total / 1e6:.1f} MB" if self._total else ""
        print(f"{self._label}: {verb} {self._done / 1e6:.1f}{of_total}", file=sys.stderr)

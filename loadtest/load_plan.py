"""What a load run sends. Locust sends it in a subprocess, because gevent patches its whole
process.
"""

import argparse
import os
import subprocess
import sys
import tempfile
from collections.abc import Collection
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from loadtest.dictation import Habit, Level, parse_levels
from loadtest.sent import Sent, read_sent
from serve_app.errors import WhisperOxError

ROOT = Path(__file__).resolve().parents[1]
START_SECONDS = 180.0
"""Seconds for locust to start and to prepare the speech, on a busy machine."""


def _flag(default: Any, about: str) -> Any:
    return field(default=default, metadata={"help": about})


@dataclass(frozen=True)
class LoadPlan:
    """Each field is a flag of ``loadtest.run`` and of ``loadtest/locustfile.py``."""

    levels: str = _flag("8:120", "people who dictate, as USERS:SECONDS,... one after the other")
    chunk: float = _flag(15.0, "seconds, as WHISPER_CHUNK_DURATION_SECONDS; 0: whole dictations")
    speaking_share: float = _flag(0.5, "of the users' time")
    dictation_seconds: float = _flag(60.0, "mean length of a dictation")
    strangers_per_minute: float = _flag(0.0, "Poisson arrivals of single chunks")
    long_files: int = _flag(0, "users who upload long files")
    long_file_seconds: float = _flag(600.0, "length of a long file")
    bad_clients: int = _flag(0, "users who send what must be refused")
    model: str = _flag("base", "decides the options that are sent")
    drain_seconds: float = _flag(120.0, "for the last answers; one that comes later is an error")
    seed: int = _flag(0, "of people and of their speech")

    @classmethod
    def add_arguments(cls, parser: argparse.ArgumentParser, names: Collection[str] = ()) -> None:
        """A flag for each field, or for some by ``names``."""
        for one in fields(cls):
            if names and one.name not in names:
                continue
            name, about = f"--{one.name.replace('_', '-')}", one.metadata["help"]
            parser.add_argument(name, type=type(one.default), default=one.default, help=about)

    @classmethod
    def of(cls, given: argparse.Namespace) -> "LoadPlan":
        """The values of the flags."""
        return cls(**{one.name: getattr(given, one.name) for one in fields(cls)})

    @property
    def habit(self) -> Habit:
        """How people dictate. Raises ``WhisperOxError`` for values that make no sense."""
        return Habit(self.chunk, self.speaking_share, self.dictation_seconds)

    @property
    def steps(self) -> list[Level]:
        """The levels. Raises ``WhisperOxError`` for levels that make no sense."""
        return parse_levels(self.levels)

    @property
    def seconds(self) -> float:
        """Seconds for which it sends."""
        return sum(level.seconds for level in self.steps)

    def flags(self) -> list[str]:
        """The flags that give this plan."""
        return [f"--{one.name.replace('_', '-')}={getattr(self, one.name)}" for one in fields(self)]

    def users(self) -> list[str]:
        """The classes of ``locustfile.py`` that it needs."""
        kinds = {
            "DictatingUser": any(level.users for level in self.steps),
            "Strangers": self.strangers_per_minute > 0,
            "LongFileUser": self.long_files > 0,
            "BadClientUser": self.bad_clients > 0,
        }
        return [name for name, is_wanted in kinds.items() if is_wanted]


def run_locust(
    url: str, plan: LoadPlan, report: Path | None = None
) -> tuple[dict[str, Any], list[Sent]]:
    """Send the load to the server at ``url``; see :func:`loadtest.sent.read_sent`.

    If there is a ``report``, locust writes its page ``REPORT-locust.html`` and tables
    ``REPORT_*.csv``. Raises ``WhisperOxError`` with what locust said if it fails or does not end.
    """
    with tempfile.TemporaryDirectory(prefix="whisper-ox-load-") as folder:
        records = Path(folder) / "sent.json"
        command = [
            *(sys.executable, "-m", "locust", "-f", str(ROOT / "loadtest" / "locustfile.py")),
            *("--headless", "--only-summary", "--loglevel", "WARNING"),
            # Whether what was found is a failure is for the report to say.
            *("--exit-code-on-error", "0", "--host", url, f"--records={records}"),
            *plan.flags(),
            *(("--html", f"{report}-locust.html", "--csv", str(report)) if report else ()),
            *plan.users(),
        ]
        path = os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH"))))
        longest = START_SECONDS + plan.seconds + plan.drain_seconds
        try:
            done = subprocess.run(
                command,
                env={**os.environ, "PYTHONPATH": path},
                timeout=longest,
                capture_output=True,
                text=True,
                check=False,
            )
        except subprocess.TimeoutExpired as error:
            raise WhisperOxError(f"locust did not end within {longest:.0f} s") from error
        if done.returncode:
            said = (done.stderr or done.stdout)[-2000:]
            raise WhisperOxError(f"locust ended with {done.returncode}: {said}")
        return read_sent(records)

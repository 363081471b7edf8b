"""A bounded headless locust run as a subprocess: gevent's patches stay in it."""

import os
import subprocess
import sys
import tempfile
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from loadtest.dictation import Habit, Level
from loadtest.journal import Sent, read_journal
from serve_app.errors import WhisperOxError

ROOT = Path(__file__).resolve().parents[1]
START_SECONDS = 180.0
"""For locust to start and to make the speech, on a busy machine."""
DRAIN_SECONDS = 120.0
"""How long answers may come after the end of a load; one that does not is an error."""


@dataclass(frozen=True)
class LoadPlan:
    """What a run sends; see the flags of :mod:`loadtest.locustfile`, and its ``--help``.

    ``model`` decides the options of our contract, ``dialect`` how a server is asked.
    """

    levels: tuple[Level, ...]
    habit: Habit = field(default_factory=Habit)
    model: str = "base"
    dialect: str = "contract"
    strangers_per_minute: float = 0.0
    long_files: int = 0
    long_file_seconds: float = 600.0
    bad_clients: int = 0
    drain_seconds: float = DRAIN_SECONDS
    seed: int = 0

    @property
    def seconds(self) -> float:
        """How long it sends."""
        return sum(level.seconds for level in self.levels)

    def described(self) -> dict[str, Any]:
        """As JSON values, those of the habit among the others."""
        described = asdict(self)
        return {**described.pop("habit"), **described}


def command(url: str, plan: LoadPlan, journal: Path) -> list[str]:
    """The arguments of the process; only kinds of users that are wanted are named."""
    kinds = {
        "DictatingUser": any(level.users for level in plan.levels),
        "Strangers": plan.strangers_per_minute > 0,
        "LongFileUser": plan.long_files > 0,
        "BadClientUser": plan.bad_clients > 0,
    }
    flags = {
        "levels": ",".join(f"{level.users}:{level.seconds:g}" for level in plan.levels),
        "chunk-seconds": plan.habit.chunk_seconds,
        "speaking-share": plan.habit.speaking_share,
        "dictation-seconds": plan.habit.dictation_seconds,
        "speech-model": plan.model,
        "dialect": plan.dialect,
        "strangers-per-minute": plan.strangers_per_minute,
        "long-files": plan.long_files,
        "long-file-seconds": plan.long_file_seconds,
        "bad-clients": plan.bad_clients,
        "drain-seconds": plan.drain_seconds,
        "seed": plan.seed,
        "journal": journal,
    }
    return [
        *(sys.executable, "-m", "locust", "-f", str(ROOT / "loadtest" / "locustfile.py")),
        *("--headless", "--only-summary", "--loglevel", "WARNING"),
        # Whether what was found is a failure is for the report to say.
        *("--exit-code-on-error", "0", "--host", url),
        *(f"--{name}={value}" for name, value in flags.items()),
        *(name for name, is_wanted in kinds.items() if is_wanted),
    ]


def run_locust(url: str, plan: LoadPlan) -> tuple[dict[str, Any], list[Sent]]:
    """Send the load to the server at ``url``; see :func:`loadtest.journal.read_journal`.

    Raises ``WhisperOxError`` where locust fails or does not end, with what it said.
    """
    with tempfile.TemporaryDirectory(prefix="whisper-ox-load-") as folder:
        journal = Path(folder) / "journal.jsonl"
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), *_python_path()])}
        longest = START_SECONDS + plan.seconds + plan.drain_seconds
        try:
            done = subprocess.run(
                command(url, plan, journal),
                env=environment,
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
        return read_journal(journal)


def _python_path() -> list[str]:
    given = os.environ.get("PYTHONPATH")
    return [given] if given else []

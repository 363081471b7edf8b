"""Full load for minutes, with clients that leave: are all replies right, does memory stay flat?

``python -m loadtest.soak --model base --minutes 20 [--output FILE]``: each of a mix of requests
(languages, tasks, word times, batch sizes, formats, two intended errors) is first answered alone.
Then clients post random ones in a closed loop, and some close the connection at a random moment.
Every other request must get the same status and text as alone. All decode at temperature 0, so
nothing is drawn at random, but sums of floats are rounded differently in batches of another shape,
which may flip a beam between near-equal hypotheses: texts of up to ``TOLERANCE`` word errors count
as near and are reported. RSS of the replicas is sampled all the time; its slope is that of the
second half, by least squares. Exit code 1 for lost, wrong or different replies.
"""

import argparse
import asyncio
import io
import itertools
import random
import sys
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from typing import Any

import soundfile
from faster_whisper import decode_audio

from loadtest.client import transcribe
from loadtest.load import Outcome, Post, closed_loop, latency_percentiles, machine
from loadtest.memory import MemoryWatch, slope_per_hour
from loadtest.options import COMPUTE_TYPE, EVALUATED_MODELS, clips_for, contract_options
from loadtest.server import start_server
from loadtest.speech import Clip, corpus_clips, registry_clips
from loadtest.tool import run_tool, tool_parser
from loadtest.wav import SAMPLE_RATE_HZ
from loadtest.wer import word_errors
from serve_app.errors import WhisperOxError

TOLERANCE = 0.1
"""Word errors per word against the text as answered alone."""

FORMATS = ("WAV", "FLAC", "OGG", "MP3")
BATCH_SIZES = (8, 1, 4)
LONGEST_SECONDS = 25.0


@dataclass(frozen=True)
class Case:
    """A kind of request; ``alone`` is the (status, text) it got with the server to itself.

    ``is_broken``: it is meant to be refused. ``language`` is that of the speech.
    """

    name: str
    audio: bytes
    options: Mapping[str, Any]
    language: str
    seconds: float
    is_broken: bool = False
    alone: tuple[int, str] = (0, "")
    alone_seconds: float = 0.0


def verdict(outcome: Outcome, case: Case) -> str:
    """``left``, ``lost``, ``wrong status``, ``identical``, ``near`` or ``different``."""
    if outcome.gave_up:
        return "left"
    if outcome.status is None:
        return "lost"
    status, text = case.alone
    if outcome.status != status:
        return "wrong status"
    if outcome.text == text:
        return "identical"
    errors = word_errors(text, outcome.text, case.language)
    return "near" if errors.rate <= TOLERANCE else "different"


FAILURES = ("lost", "wrong status", "different")


def mixed_cases(model: str, clips: Sequence[Clip], n: int) -> list[Case]:
    """``n`` cases of ``clips`` with options and formats in cycles of coprime lengths, so that
    they meet in every way, and two that must be refused: broken audio and a broken option.
    """
    chosen = random.Random(0).sample(list(clips), min(n, len(clips)))
    cases = [_case(model, number, clip) for number, clip in enumerate(chosen)]
    good = replace(cases[0], is_broken=True)
    options = {**good.options, "beam_size": -1}
    return [
        *cases,
        replace(good, name="broken audio", audio=random.Random(0).randbytes(20_000)),
        replace(good, name="broken option", options=options),
    ]


def _case(model: str, number: int, clip: Clip) -> Case:
    batch_size = BATCH_SIZES[number % len(BATCH_SIZES)]
    options: dict[str, Any] = dict(contract_options(model, clip.language, batch_size))
    options["temperature"] = 0
    options["word_timestamps"] = number % 5 == 1
    if options["multilingual"]:
        options["task"] = "translate" if number % 7 == 2 else "transcribe"
        options["language"] = None if number % 11 == 3 else options["language"]
    container = FORMATS[number % len(FORMATS)]
    name = f"{clip.id} {container} batch {batch_size} {options['task']}"
    return Case(name, _encoded(clip, container), options, clip.language or "en", clip.seconds)


def _encoded(clip: Clip, container: str) -> bytes:
    file = io.BytesIO()
    soundfile.write(file, decode_audio(str(clip.path)), SAMPLE_RATE_HZ, format=container)
    return file.getvalue()


def answered_alone(url: str, case: Case, api_key: str | None) -> Case:
    """``case`` with its answer and the seconds it took; the server must have nothing else to do."""
    reply = transcribe(url, case.audio, case.options, api_key)
    text = reply.text if reply.status == 200 else ""
    return replace(case, alone=(reply.status, text), alone_seconds=reply.seconds)


class Storm:
    """Random cases until ``seconds`` are over; a share ``leaving`` of the clients hang up."""

    def __init__(self, cases: Sequence[Case], clients: int, leaving: float, seconds: float) -> None:
        self._cases = cases
        self._clients = clients
        self._leaving = leaving
        self._seconds = seconds
        self._chosen: list[Case] = []

    def posts(self) -> Iterator[Post]:
        """The posts; hanging up may hit a request anywhere between upload and answer."""
        chance = random.Random(1)
        deadline = time.perf_counter() + self._seconds
        while time.perf_counter() < deadline:
            case = chance.choice(self._cases)
            patience = chance.uniform(0, self._clients * case.alone_seconds)
            self._chosen.append(case)
            yield Post(
                number=len(self._chosen) - 1,
                audio=case.audio,
                options=case.options,
                seconds=case.seconds,
                give_up_seconds=patience if chance.random() < self._leaving else None,
            )

    def case_of(self, outcome: Outcome) -> Case:
        """The case that was posted."""
        return self._chosen[outcome.number]


def _measure(given: argparse.Namespace) -> dict[str, Any]:
    about = machine()
    clips = [c for c in corpus_clips() or registry_clips() if c.seconds <= LONGEST_SECONDS]
    cases = mixed_cases(given.model, clips_for(given.model, clips), given.cases)
    with ExitStack() as stack:
        url, memory = given.url, None
        if not url:
            server = stack.enter_context(start_server(given.model))
            url = server.url
            memory = MemoryWatch(server.process.pid, every_seconds=5.0)
        cases = [answered_alone(url, case, given.api_key) for case in cases]
        unexpected = [case.name for case in cases if (case.alone[0] == 200) == case.is_broken]
        if unexpected:
            raise WhisperOxError(f"alone, these are answered wrongly: {', '.join(unexpected)}")
        print(f"{len(cases)} cases answered alone; load for {given.minutes:g} minutes", flush=True)
        if memory:
            stack.enter_context(memory)
        storm = Storm(cases, given.clients, given.leaving, given.minutes * 60)
        outcomes = asyncio.run(closed_loop(url, storm.posts(), given.clients, given.api_key))
        after = answered_alone(url, cases[0], given.api_key)
    found = [(verdict(outcome, storm.case_of(outcome)), outcome) for outcome in outcomes]
    good = [outcome for kind, outcome in found if kind in ("identical", "near")]
    return {
        "tool": "soak",
        "machine": about,
        "model": given.model,
        "compute_type": COMPUTE_TYPE,
        "minutes": given.minutes,
        "clients": given.clients,
        "leaving": given.leaving,
        "cases": len(cases),
        "tolerance": TOLERANCE,
        "verdicts": dict(Counter(kind for kind, _ in found)),
        "same_after": after.alone == cases[0].alone,
        "latency_seconds": latency_percentiles([outcome.latency for outcome in good]),
        "examples": [
            {
                "verdict": kind,
                "case": storm.case_of(outcome).name,
                "alone": storm.case_of(outcome).alone,
                "answer": [outcome.status, outcome.text or outcome.error],
            }
            for kind, outcome in itertools.islice(
                (one for one in found if one[0] in (*FAILURES, "near")), 20
            )
        ],
        "memory": {
            name: {
                "first_mib": series.mebibytes[0],
                "last_mib": series.mebibytes[-1],
                "peak_mib": max(series.mebibytes),
                "slope_mib_per_hour": slope_per_hour(series.seconds, series.mebibytes),
                "processes": len(series.pids),
                "mib": [round(value, 1) for value in series.mebibytes],
            }
            for name, series in (memory.series() if memory else {}).items()
        },
    }


def _print(document: Mapping[str, Any]) -> None:
    print(", ".join(f"{count} {kind}" for kind, count in sorted(document["verdicts"].items())))
    for example in document["examples"]:
        print(f"  {example['verdict']}: {example['case']}")
        print(f"    alone {str(example['alone'])[:300]}\n    load  {str(example['answer'])[:300]}")
    for name, row in document["memory"].items():
        slope = row["slope_mib_per_hour"]
        print(
            f"RSS of {name}: {row['first_mib']:.0f} MiB at first, peak {row['peak_mib']:.0f}, last "
            f"{row['last_mib']:.0f}; slope of the second half "
            + (f"{slope:+.1f} MiB/h" if slope is not None else "unknown (too short)")
            + f"; {row['processes']} processes"
        )
    print("afterwards the first case is answered " + ("alike" if document["same_after"] else "NOT"))


def is_good(document: Mapping[str, Any]) -> bool:
    """Whether every request was answered as it should be, by the processes it began with."""
    return (
        not any(document["verdicts"].get(kind) for kind in FAILURES)
        and document["same_after"]
        and all(row["processes"] == 1 for row in document["memory"].values())
    )


def main(arguments: list[str] | None = None) -> int:
    """Soak and print; 1 for lost, wrong or different replies, 2 where it could not be done."""
    parser = tool_parser("soak", __doc__)
    parser.add_argument("--model", choices=EVALUATED_MODELS, default="base")
    parser.add_argument("--url", help="a running server (no memory figures); default: a new one")
    parser.add_argument("--minutes", type=float, default=20.0)
    parser.add_argument("--clients", type=int, default=16)
    parser.add_argument("--leaving", type=float, default=0.15, help="share that hangs up")
    parser.add_argument("--cases", type=int, default=40)
    parser.add_argument("--api-key", help="sent as X-API-Key")
    given = parser.parse_args(arguments)
    return run_tool(given, _measure, is_good, _print)


if __name__ == "__main__":
    sys.exit(main())

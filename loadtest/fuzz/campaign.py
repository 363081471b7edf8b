"""Inputs by number in a process of their own, which may hang, crash or grow and be reported for it.

FFmpeg is C: what goes wrong there raises nothing. The parent therefore counts the answers; where
one does not come, the input it stands for is to blame, and a new worker goes on behind it.
"""

import faulthandler
import logging
import multiprocessing
import signal
import time
import traceback
from collections.abc import Callable
from dataclasses import replace
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import psutil

from loadtest.fuzz.tally import Attempt, Tally, memory_report
from loadtest.fuzz.target import Target
from loadtest.memory import MEBIBYTE

MOST_CPU_SECONDS = 2.0
"""Processor time that one input may take; a busy machine does not stretch it."""

HANG_SECONDS = 60.0
"""Time without an answer after which the worker is killed."""

_RSS_EVERY = 100
_CONTEXT = multiprocessing.get_context("spawn")


class Campaign:
    """A run of one target. ``tally`` and ``memory`` hold what was found so far."""

    def __init__(
        self,
        target: Target,
        seed: int,
        folder: Path | None = None,
        hang_seconds: float = HANG_SECONDS,
    ) -> None:
        self.tally = Tally(target.name, seed, folder)
        self.memory: list[tuple[int, float]] = []
        self._target = target
        self._hang_seconds = hang_seconds
        self._wall_seconds = 0.0

    def run(self, inputs: int, first: int = 0) -> None:
        """Try ``inputs`` from number ``first`` on."""
        began = time.perf_counter()
        number, end = first, first + inputs
        while number < end and not self.tally.has_too_many_failures:
            number = self._run_worker(number, end)
        self._wall_seconds += time.perf_counter() - began

    def report(self) -> dict[str, Any]:
        """The figures as JSON; memory is that of the last worker."""
        numbers, mebibytes = zip(*self.memory, strict=True) if self.memory else ((), ())
        return {
            **self.tally.report(),
            "wall_seconds": round(self._wall_seconds, 1),
            "memory": memory_report(numbers, mebibytes),
        }

    def _run_worker(self, first: int, end: int) -> int:
        """Returns the number to go on with: behind the input that ended the worker, if one did."""
        receiver, sender = _CONTEXT.Pipe(duplex=False)
        share = (self._target, self.tally.seed, first, end, sender)
        worker = _CONTEXT.Process(target=_work, args=share)
        worker.start()
        sender.close()
        self.memory = []
        number = first
        try:
            while number < end and not self.tally.has_too_many_failures:
                attempt = self._next(receiver, worker, number)
                payload = self._target.input(self.tally.seed, number) if attempt.failure else None
                self.tally.note(attempt, payload)
                if attempt.rss_mib is not None:
                    self.memory.append((number, attempt.rss_mib))
                number += 1
                if not worker.is_alive() and attempt.outcome in ("hang", "crash"):
                    break
        finally:
            receiver.close()
            worker.kill()
            worker.join()
        return number

    def _next(self, receiver: Connection, worker: BaseProcess, number: int) -> Attempt:
        """The answer to input ``number``, or its place where there is none."""
        try:
            if receiver.poll(self._hang_seconds):
                attempt: Attempt = receiver.recv()
                return attempt
        except EOFError:
            worker.join()
            return Attempt(number, "crash", failure=_ending(worker.exitcode))
        if worker.pid is not None:
            psutil.Process(worker.pid).send_signal(signal.SIGABRT)
            worker.join()
        return Attempt(number, "hang", failure=f"no answer for {self._hang_seconds:.0f} s")


def tried(attempt: Callable[[bytes], str], payload: bytes, number: int = 0) -> Attempt:
    """One input, tried in this process; ``seconds`` are processor time."""
    began = time.process_time()
    failure = ""
    try:
        outcome = attempt(payload)
    except Exception as error:
        outcome = f"bug: {type(error).__name__}"
        failure = "".join(traceback.format_exception(error))[-4_000:]
    seconds = time.process_time() - began
    if seconds > MOST_CPU_SECONDS and not failure:
        failure = f"{outcome}, after {seconds:.1f} s of processor time"
        outcome = "slow"
    return Attempt(number, outcome, seconds, failure)


def _work(target: Target, seed: int, first: int, end: int, answers: Connection) -> None:
    faulthandler.enable()  # where a crash was, or the hang that SIGABRT ends, on stderr
    logging.disable()
    process = psutil.Process()
    for number in range(first, end):
        attempt = tried(target.attempt, target.input(seed, number), number)
        if number % _RSS_EVERY == 0:
            attempt = replace(attempt, rss_mib=process.memory_info().rss / MEBIBYTE)
        answers.send(attempt)


def _ending(exit_code: int | None) -> str:
    if exit_code is not None and exit_code < 0:
        return f"the worker died of {signal.Signals(-exit_code).name}"
    return f"the worker exited with {exit_code}"

"""Times calls of this machine's engine and prints them as JSON. ``calibrate`` runs it as a child
process, with its own flags as JSON.

It has its own process because malloc and BLAS read the Transcriber's environment once, at the
start. First it sends requests one at a time through the real pipeline and records their calls:
which stages, with which context, how many tokens, how long with every core, and how long outside
the model. Then it sends the same windows again to all workers at once, in decoder batches of
several sizes.
"""

import argparse
import asyncio
import json
import random
import sys
import threading
import time
from collections import defaultdict
from collections.abc import Hashable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, cast

from typing_extensions import override

from loadtest.capacity.fit import TimedCall
from loadtest.capacity.profile import Call, Recipe, Rounds, StageName
from loadtest.chunks import Chunk, Speech
from loadtest.dictation import Habit
from loadtest.options import english_options
from serve_app.audio.decode import decode_audio
from serve_app.audio.limits import AudioLimits
from serve_app.engine import request as engine
from serve_app.engine.backend import WhisperBackend
from serve_app.engine.device import Backend
from serve_app.engine.engine import Engine
from serve_app.engine.queue import BatchLimits, Hearing, Job, Stage, Step
from serve_app.engine.scheduler import Scheduler
from serve_app.engine.transcription import transcribe
from serve_app.engine.window import MEL_FRAMES_PER_SECOND
from serve_app.options import TranscribeOptions, check_against_model
from serve_app.serving.profile import load_profile
from serve_app.settings import EngineTunables

WARM_UPS = 3


@dataclass(frozen=True)
class Recorded:
    """A step as it was taken, ``alone`` or not."""

    step: Step
    timed: TimedCall
    alone: bool


Hearings = list[list[list[Recorded]]]
"""The steps of each window of a request, by rounds."""


@dataclass
class Recorder(Backend):
    """Passes calls on to ``backend`` and keeps them."""

    backend: WhisperBackend
    calls: list[TimedCall] = field(default_factory=list)
    latest_is_alone: bool = False

    def run(
        self, stage: Stage, key: Hashable, payloads: Sequence[Any], *, alone: bool
    ) -> Sequence[Any]:
        """See :class:`serve_app.engine.device.Backend`."""
        began = time.perf_counter()
        results = self.backend.run(stage, key, payloads, alone=alone)
        seconds = time.perf_counter() - began
        n_frames: int = key[-1]  # type: ignore[index]  # every key ends with it, see steps.py
        name = cast(StageName, stage.name.lower())
        tokens = _tokens(stage, payloads, results)
        self.calls.append(TimedCall(name, n_frames / MEL_FRAMES_PER_SECOND, tokens, seconds))
        self.latest_is_alone = alone
        return results


def _tokens(stage: Stage, payloads: Sequence[Any], results: Sequence[Any]) -> tuple[int, ...]:
    """Decoding steps of each window: the tokens of its longest hypothesis and their end."""
    if stage is Stage.GENERATE:
        return tuple(max(map(len, result.sequences_ids)) + 1 for result in results)
    if stage is Stage.ALIGN:
        return tuple(len(tokens) for _, (tokens, _) in payloads)
    return (0,) * len(results)


class RecordingScheduler(Scheduler):
    """A single worker that takes one window at a time: calls come one after the other."""

    def __init__(self, backend: WhisperBackend) -> None:
        self._recorder = Recorder(backend)
        self._rounds: Hearings = []
        self._jobs: list[Job] = []
        super().__init__(self._recorder, BatchLimits(encode=1, decode=1, bulk_decode=1), 1)

    def take(self) -> Hearings:
        """What was heard since the last time."""
        rounds, self._rounds = self._rounds, []
        return rounds

    @override
    def hear(
        self,
        request: engine.Request,
        hearing: Hearing,
        after: Job | None = None,
        *,
        again: bool = False,
    ) -> Job:
        # What is heard again comes in rounds, each of which follows from the whole one before.
        is_over = len(self._rounds) == 1 or all(job.heard.done() for job in self._jobs)
        if not self._rounds or (again and is_over):
            self._rounds.append([])
            self._jobs = []
        steps: list[Recorded] = []
        self._rounds[-1].append(steps)
        job = super().hear(request, self._recorded(hearing, steps), after, again=again)
        self._jobs.append(job)
        return job

    def _recorded(self, hearing: Hearing, steps: list[Recorded]) -> Hearing:
        step = next(hearing)
        while True:
            result = yield step
            latest = self._recorder.calls[-1]
            steps.append(Recorded(step, latest, self._recorder.latest_is_alone))
            try:
                step = hearing.send(result)
            except StopIteration as returned:
                return returned.value


@dataclass
class Bench:
    """An engine whose calls are recorded."""

    model: str
    config: str

    def __post_init__(self) -> None:
        profile = load_profile(self.config).changed(models=[self.model])
        options = profile.deployment_options["Transcriber"]
        tunables = EngineTunables.model_validate(options.get("user_config") or {})
        self.engine = Engine(profile.settings.engine, tunables)
        self.engine.scheduler.stop()
        self.scheduler = self.engine.scheduler = RecordingScheduler(self.engine.backend)

    def request(self, said: Chunk) -> tuple[Hearings, float]:
        """One request while nobody else asks for anything. Returns what was heard, and the seconds
        outside the model.
        """
        sent = TranscribeOptions.model_validate(english_options(self.model))
        options = check_against_model(sent, self.engine.facts)
        clip = decode_audio(said.audio, limits=AudioLimits())
        began = time.perf_counter()
        asyncio.run(transcribe(self.engine, clip, options))
        seconds = time.perf_counter() - began
        heard = self.scheduler.take()
        return heard, seconds - sum(recorded.timed.seconds for recorded in every(heard))

    def replay(self, windows: Sequence[Sequence[Step]], batch: int) -> list[TimedCall]:
        """Every window once through all workers at once, ``batch`` in each decoder call.

        Only calls that ended while all of them were at work are kept.
        """
        groups = iter([windows[n : n + batch] for n in range(0, len(windows), batch)])
        lock = threading.Lock()
        kept: list[TimedCall] = []
        is_over = threading.Event()

        def work() -> None:
            while True:
                with lock:
                    group = next(groups, None)
                    if group is None:
                        is_over.set()
                        return
                recorder = Recorder(self.engine.backend)
                _pass(
                    recorder,
                    group,
                    encode_batch=self.engine.limits().encode,
                    detects=self.engine.facts.multilingual,
                )
                if not is_over.is_set():
                    with lock:
                        kept.extend(recorder.calls)

        threads = [threading.Thread(target=work) for _ in range(self.engine.workers)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return kept


def _pass(
    recorder: Recorder, group: Sequence[Sequence[Step]], *, encode_batch: int, detects: bool
) -> None:
    """Take the steps of a group on one worker: encode, then decode and align all at once."""
    encode, *rest = zip(*group, strict=True)
    for n in range(0, len(encode), encode_batch):
        steps = encode[n : n + encode_batch]
        recorder.run(Stage.ENCODE, steps[0].key, [step.payload for step in steps], alone=False)
    if detects:
        outputs = [(step.payload[0], None) for step in rest[0]]
        recorder.run(Stage.DETECT, ((), rest[0][0].key[-1]), outputs, alone=False)
    for steps in rest:
        payloads = [step.payload for step in steps]
        recorder.run(steps[0].stage, steps[0].key, payloads, alone=False)


def every(heard: Hearings) -> Iterator[Recorded]:
    """All steps of a request."""
    return (recorded for windows in heard for steps in windows for recorded in steps)


def rounds_of(heard: Hearings, keys: dict[Hashable, int]) -> Rounds:
    """A request's calls as a recipe has them; what may share a batch has a number in ``keys``."""

    def call(one: Recorded) -> Call:
        key = keys.setdefault((one.step.stage, one.step.key), len(keys))
        stage, context_seconds, (tokens,), _ = one.timed
        return Call(stage, key, context_seconds, tokens, one.step.seconds)

    return tuple(tuple(tuple(map(call, steps)) for steps in windows) for windows in heard)


def alike(heard: Sequence[Hearings]) -> list[list[list[Step]]]:
    """Windows that were heard at the first attempt, in groups that may share batches: one for each
    context of the decoder.
    """
    groups: dict[Any, list[list[Step]]] = defaultdict(list)
    for windows in heard:
        for steps in (w for one_round in windows for w in one_round):
            taken = [recorded.step for recorded in steps]
            if [step.stage for step in taken] == [Stage.ENCODE, Stage.GENERATE, Stage.ALIGN]:
                _, generate, align = taken
                groups[generate.key, align.key].append(taken)
    largest: dict[int, list[list[Step]]] = {}
    for (_, align_key), group in sorted(groups.items(), key=lambda one: len(one[1])):
        largest[align_key[-1]] = group
    return list(largest.values())


def said(chunk_seconds: Sequence[float], last_pieces: int) -> list[Chunk]:
    """What people post: all full chunks of every length, then the last pieces of dictations.

    Those are cut anywhere, evenly spread up to the longest chunk: half a sentence or half a word
    makes Whisper try again more often than whole speech does, and that costs the most.
    """
    full = []
    for seconds in chunk_seconds:
        full += Speech.of(Habit(seconds)).every(seconds)
    longest = max(chunk_seconds)
    speech = Speech.of(Habit(longest))
    return full + [
        speech.chunk((number + 0.5) / last_pieces * longest, number)
        for number in range(last_pieces)
    ]


def measure(given: argparse.Namespace) -> dict[str, Any]:
    """All of it, as JSON values."""
    bench = Bench(given.model, given.config)
    limits = bench.engine.limits()
    decode_batches = given.decode_batch or [2**n for n in range(limits.decode.bit_length())]
    recipes, prepared, requests = list[Recipe](), [], list[Hearings]()
    keys: dict[Hashable, int] = {}
    spoken = said(given.chunk_seconds, given.last_pieces)
    for one in spoken[:WARM_UPS]:
        bench.request(one)
    print(f"{len(spoken)} requests, one at a time", file=sys.stderr)
    for one in spoken:
        heard, besides = bench.request(one)
        if not heard:
            continue  # silence
        recipes.append(Recipe(one.seconds, rounds_of(heard, keys)))
        prepared.append([one.seconds, besides])
        requests.append(heard)
    loaded: list[TimedCall] = []
    for windows in alike(requests):
        frames = windows[0][-1].key[-1]  # type: ignore[index]  # every key ends with it
        seconds = frames / MEL_FRAMES_PER_SECOND
        print(f"windows of {seconds:g} s on all workers at once", file=sys.stderr)
        random.Random(0).shuffle(windows)
        for batch in decode_batches:
            fewest = max(given.windows, 2 * bench.engine.workers * batch)
            many = [windows[n % len(windows)] for n in range(fewest)]
            loaded += bench.replay(many, batch)
    return {
        "recipes": recipes,
        "prepared": prepared,
        "loaded": loaded,
        "lone": [one.timed for heard in requests for one in every(heard) if one.alone],
        "lone_decoding_uses_every_core": bench.engine.backend.decodes_alone_on_every_core,
        "device": bench.engine.device,
        "compute_type": bench.engine.compute_type,
        "workers": bench.engine.workers,
        "encode_batch": limits.encode,
        "decode_batch": limits.decode,
    }


if __name__ == "__main__":
    json.dump(measure(argparse.Namespace(**json.loads(sys.argv[1]))), sys.stdout)

"""Decoding in separate processes: the results, what ends it, and what it leaves behind."""

import asyncio
import mmap
import os
import resource
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import psutil
import pytest

from serve_app import cgroup
from serve_app.audio import worker
from serve_app.audio.decode import decode_audio
from serve_app.audio.limits import AudioLimits, WorkerLimits
from serve_app.audio.pool import LARGE_BYTES
from serve_app.errors import (
    AudioTooCostly,
    AudioTooLarge,
    NotReady,
    Overloaded,
    UnsupportedAudio,
    WhisperOxError,
)
from tests.conditions import eventually
from tests.unit.audio_files import COMPRESSED, compressed, sweep, timed, written
from tests.unit.bombs import BOMBS, comments
from tests.unit.decoding import MIB, SPARE_KIB, Decoding, decoding

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="needs files in memory")

BOUNDS = WorkerLimits(workers=2, cpu_seconds=1, memory_bytes=64 * MIB)


@pytest.fixture(scope="module")
def pool() -> Iterator[Decoding]:
    with decoding(BOUNDS) as running:
        yield running


@pytest.fixture
def patient() -> Iterator[Decoding]:
    """A pool whose workers may be busy for longer than a test takes."""
    with decoding(WorkerLimits(workers=2, cpu_seconds=300)) as running:
        yield running


def busy_worker() -> psutil.Process | None:
    """The worker that decodes a bomb, once it has begun."""
    workers = [one for zygote in psutil.Process().children() for one in zygote.children()]
    return next((one for one in workers if one.cpu_times().user > 0.2), None)


async def leave(running: Decoding) -> None:
    """Give up a call while its worker is busy, and wait for that one's end."""
    call = asyncio.create_task(running.pool.decode(bytearray(comments())))
    while not busy_worker():
        await asyncio.sleep(0.01)
    call.cancel()
    n_endings = len(running.endings)
    while len(running.endings) == n_endings:
        await asyncio.sleep(0.01)


@pytest.mark.parametrize("name", COMPRESSED)
def test_samples_are_those_of_decoding_in_process(pool: Decoding, name: str) -> None:
    payload = compressed(name)
    clip, here = pool.decode(payload), decode_audio(payload, limits=AudioLimits())
    np.testing.assert_array_equal(clip.samples, here.samples)
    assert clip.received_seconds == here.received_seconds


@pytest.mark.parametrize("weights", [(1, 1), (1, 0.5), (1, -1), (0, 0, 1), (1, 0.001)])
def test_channels_are_mixed_as_in_process(pool: Decoding, weights: tuple[float, ...]) -> None:
    voice = sweep(16_000)[:, 0] * (np.arange(24_000) % 8_000 < 4_000)  # with pauses, as speech has
    channels = [np.roll(voice, 4_000 * place) * weight for place, weight in enumerate(weights)]
    payload = written(np.stack(channels, axis=1), 16_000)
    here = decode_audio(payload, limits=AudioLimits())
    np.testing.assert_array_equal(pool.decode(payload).samples, here.samples)


def test_channels_that_are_kept_apart_are_clips_of_their_own(pool: Decoding) -> None:
    sound, held = sweep(44_100, 2), list[int]()
    payload = written(sound, 44_100)
    clips = pool.channels(payload, held.append)
    for clip, own in zip(clips, sound.T, strict=True):
        alone = decode_audio(written(own[:, None], 44_100), limits=AudioLimits())
        np.testing.assert_array_equal(clip.samples, alone.samples)
        assert clip.received_seconds == alone.received_seconds
    assert sum(held) == sum(clip.samples.nbytes for clip in clips) - len(payload)


def test_the_upload_is_emptied_once_a_worker_has_it(pool: Decoding) -> None:
    upload = bytearray(compressed("mp3"))
    pool.loop.run_until_complete(pool.pool.decode(upload))
    assert not upload


def test_refusals_are_those_of_decoding_in_process(pool: Decoding) -> None:
    for payload in (b"text", compressed("webm")[:5_000]):
        with pytest.raises(WhisperOxError) as here:
            decode_audio(payload, limits=AudioLimits())
        with pytest.raises(type(here.value)) as there:
            pool.decode(payload)
        assert (there.value.message, there.value.code) == (here.value.message, here.value.code)


@pytest.mark.parametrize("name", BOMBS)
def test_a_bomb_costs_no_more_than_its_worker_may_take(pool: Decoding, name: str) -> None:
    pool.decode(compressed("mp3"))
    usual_kib = pool.endings[-1].peak_kib
    payload = BOMBS[name]()
    with pytest.raises(WhisperOxError) as refused:
        pool.decode(payload)
    ending = pool.endings[-1]
    assert 400 <= refused.value.status < 500
    assert ending.cpu_seconds < BOUNDS.cpu_seconds_for(0) + 1
    most_kib = usual_kib + SPARE_KIB + (BOUNDS.memory_bytes + len(payload)) / 1024
    assert ending.peak_kib < most_kib


def test_too_much_work_is_told_from_damage(pool: Decoding) -> None:
    with pytest.raises(AudioTooCostly, match="processor time") as refused:
        pool.decode(comments())
    assert (refused.value.status, refused.value.code) == (422, "audio_too_costly")
    assert pool.endings[-1].code == -signal.SIGXCPU


def test_silence_for_hours_is_decoded_in_little_memory(pool: Decoding) -> None:
    hour = written(np.zeros((8_000 * 3_600, 1)), 8_000, "PCM_16", "FLAC")
    assert pool.decode(hour).seconds == 3_600
    assert pool.endings[-1].peak_kib < 2 * 3_600 * 16_000 / 1024


def granted_cpu_seconds(n_tracks: int, monkeypatch: pytest.MonkeyPatch) -> int:
    """The most processor time that a worker gets for ten minutes of silence in each track."""
    silent = [(0.0, np.zeros(8_000 * 600))]
    payload = timed("matroska", "flac", *[silent] * n_tracks, rate_hz=8_000)
    granted: list[int] = []
    monkeypatch.setattr(resource, "getrlimit", lambda _: (0, 1_000))
    monkeypatch.setattr(resource, "setrlimit", lambda _, limits: granted.append(limits[0]))
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with ours, theirs, tempfile.TemporaryFile() as output, mmap.mmap(-1, len(payload)) as upload:
        upload.write(payload)
        progress = worker._Progress(theirs, WorkerLimits(cpu_seconds=1))
        worker._answer(upload, [output.fileno()], progress, AudioLimits())
    return max(granted)


def test_silent_tracks_that_are_tried_one_after_the_other_grant_no_more_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    one, four = (granted_cpu_seconds(n, monkeypatch) for n in (1, 4))
    assert four == one == pytest.approx(600 / 20, abs=2)


def test_decoding_that_stalls_is_given_up() -> None:
    bounds = WorkerLimits(workers=1, cpu_seconds=300, stall_seconds=0.1)
    with decoding(bounds) as impatient, pytest.raises(AudioTooCostly, match="without progress"):
        impatient.decode(comments())


def test_memory_is_held_while_it_is_taken(pool: Decoding) -> None:
    payload = written(sweep(8_000, seconds=60), 8_000, "PCM_16", "FLAC")
    held = [len(payload)]
    clip = pool.decode(payload, held.append)
    assert sum(held) == clip.samples.nbytes
    assert max(np.cumsum(held)) == len(payload) + clip.samples.nbytes


def test_decoding_ends_where_memory_is_short(pool: Decoding) -> None:
    held: list[int] = []

    def hold(n_bytes: int) -> None:
        held.append(n_bytes)
        if sum(held) > 5 * MIB:
            raise Overloaded("Memory is short.")

    with pytest.raises(Overloaded):
        pool.decode(written(np.zeros((8_000 * 3_600, 1)), 8_000, "PCM_16", "FLAC"), hold)
    # It is killed, unless it notices first that nobody listens any more.
    assert pool.endings[-1].code in (-signal.SIGKILL, 1)


def test_a_caller_who_leaves_ends_the_work(patient: Decoding) -> None:
    patient.loop.run_until_complete(leave(patient))
    assert patient.endings[0].code == -signal.SIGKILL
    assert busy_worker() is None


@pytest.mark.parametrize("whom", ["worker", "zygote"])
def test_what_is_killed_is_replaced(patient: Decoding, whom: str) -> None:
    async def kill() -> None:
        call = asyncio.create_task(patient.pool.decode(bytearray(comments())))
        while not (worker := busy_worker()):
            await asyncio.sleep(0.01)
        (worker if whom == "worker" else worker.parent() or worker).kill()
        await call

    with pytest.raises(NotReady):
        patient.loop.run_until_complete(kill())
    assert patient.decode(compressed("mp3")).seconds == pytest.approx(1.5, abs=0.1)


def test_large_uploads_leave_workers_to_small_ones(patient: Decoding) -> None:
    async def small_beside_large() -> bool:
        large = [patient.pool.decode(bytearray(comments(LARGE_BYTES + 2**18))) for _ in range(3)]
        busy = [asyncio.create_task(call) for call in large]
        while not busy_worker():
            await asyncio.sleep(0.01)
        await patient.pool.decode(bytearray(compressed("mp3")))
        are_busy = not any(call.done() for call in busy)
        for call in busy:
            call.cancel()
        await asyncio.gather(*busy, return_exceptions=True)
        return are_busy

    assert patient.loop.run_until_complete(small_beside_large())


def run_python(code: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-c", code],
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        check=False,
    )


CONFINED = """
import socket, subprocess
from serve_app.audio.limits import AudioLimits, WorkerLimits
from serve_app.audio.worker import confine

def is_refused(what, *arguments):
    try:
        what(*arguments)
    except OSError:
        return True

confine(AudioLimits(), WorkerLimits())
assert is_refused(open, "/etc/hostname")
assert is_refused(open, "/tmp/new", "w")
assert is_refused(socket.socket)
assert is_refused(subprocess.Popen, ["true"])
try:
    bytearray(2**30)
except MemoryError:
    print("confined")
"""


def test_a_confined_process_opens_nothing_and_takes_no_memory() -> None:
    run = run_python(CONFINED)
    assert run.stdout == "confined\n", run.stderr


ABANDONED = """
import os, signal, psutil
from serve_app.audio.limits import WorkerLimits
from tests.unit.audio_files import compressed
from tests.unit.decoding import decoding

with decoding(WorkerLimits(workers=3)) as pool:
    pool.decode(compressed("mp3"))
    print(*[one.pid for one in psutil.Process().children(recursive=True)], flush=True)
    os.kill(os.getpid(), signal.SIGKILL)
"""


def test_workers_end_with_the_process_that_they_work_for() -> None:
    run = run_python(ABANDONED)
    pids = [int(pid) for pid in run.stdout.split()]
    assert len(pids) >= 3, run.stderr
    eventually(lambda: not any(map(psutil.pid_exists, pids)))


@pytest.mark.parametrize(("quota", "n_workers"), [(6.0, 6), (1.0, 4), (None, 64)])
def test_there_is_a_worker_for_each_cpu_that_the_container_may_use(
    quota: float | None, n_workers: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "cpu_count", lambda: 64)
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: {*range(64)})
    monkeypatch.setattr(cgroup, "cpu_quota", lambda root: quota)
    assert WorkerLimits().n_workers == n_workers


def test_a_pool_that_ends_leaves_no_process_and_no_descriptor() -> None:
    before = len(os.listdir("/proc/self/fd"))
    children = len(psutil.Process().children(recursive=True))
    with decoding(WorkerLimits(workers=2, cpu_seconds=300)) as pool:
        pool.decode(compressed("mp3"))
        with pytest.raises(UnsupportedAudio):
            pool.decode(b"text")
        with pytest.raises(AudioTooLarge):
            pool.decode(BOMBS["sample_count"]())
        pool.loop.run_until_complete(leave(pool))
    assert len(psutil.Process().children(recursive=True)) <= children
    assert len(os.listdir("/proc/self/fd")) == before

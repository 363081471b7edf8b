"""A model process measures itself, and its fragmented heap shrinks while it lives."""

import os
import subprocess
import sys
import threading
from types import SimpleNamespace
from typing import Any

import psutil
import pytest
import yaml

from serve_app import metrics
from serve_app.engine.queue import BatchLimits
from serve_app.engine.request import Demand
from serve_app.engine.scheduler import Scheduler
from serve_app.engine.upkeep import measure, repeat
from serve_app.serving.profile import profile_path
from tests.unit.ledger import Ledger
from tests.unit.scripted_model import ScriptedModel

FRAGMENTED = """
import time
from types import SimpleNamespace
import numpy, psutil
from serve_app.engine.upkeep import keep_up
from serve_app.metrics import NO_METRICS

def rss():
    return psutil.Process().memory_info().rss / 2**20

blocks = [(numpy.ones(2**19), bytearray(100_000)) for _ in range(64)]  # 4 MiB, and what stays
full = rss()
kept = [small for _, small in blocks]
del blocks
print(full - rss())
keep_up(SimpleNamespace(sink=NO_METRICS))  # of this engine no gauge can be measured
for _ in range(200):
    if full - rss() > 200:
        break
    time.sleep(0.05)
print(full - rss())
"""


@pytest.mark.skipif(sys.platform != "linux", reason="glibc's")
def test_a_heap_full_of_holes_is_trimmed() -> None:
    profile = yaml.safe_load(profile_path("dev").read_text())
    transcriber = profile["applications"][0]["deployments"][-1]
    tunables = transcriber["ray_actor_options"]["runtime_env"]["env_vars"]
    done = subprocess.run(
        [sys.executable, "-c", FRAGMENTED],
        env={**os.environ, **tunables},
        capture_output=True,
        text=True,
        check=True,
    )
    before, after = map(float, done.stdout.split())
    assert before < 20
    assert after > 200


def test_a_failed_measurement_does_not_end_the_gauges() -> None:
    measured, ended = 0, threading.Event()

    def fail() -> None:
        nonlocal measured
        measured += 1
        if measured == 2:
            ended.set()
        raise RuntimeError("not now")

    repeat(fail, ended, period_seconds=0.0)
    assert measured == 2


def test_the_gauges_say_what_the_engine_is_and_holds() -> None:
    ledger = Ledger()
    scheduler = Scheduler(ScriptedModel(lambda window, prompt: []), BatchLimits(), workers=1)
    engine: Any = SimpleNamespace(
        sink=ledger,
        facts=SimpleNamespace(name="tiny.en"),
        device="cpu",
        compute_type="int8",
        scheduler=scheduler,
    )
    scheduler.open_request(Demand(audio_seconds=15.0, work_seconds=30.0))
    measure(engine, psutil.Process())
    labels = {"model": "tiny.en", "device": "cpu", "compute_type": "int8"}
    assert ledger.gauge(metrics.MODEL_INFO, **labels) == 1
    assert ledger.gauge(metrics.MEMORY_BYTES) > 1_000_000
    assert ledger.gauge(metrics.OPEN_REQUESTS) == 1
    assert ledger.gauge(metrics.QUEUED_AUDIO_SECONDS) == 15.0
    assert ledger.gauge(metrics.QUEUED_WINDOWS) == 0
    assert ledger.gauge(metrics.ESTIMATED_WAIT_SECONDS, length="short") == 0.0
    scheduler.stop()

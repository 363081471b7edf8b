"""A fragmented heap shrinks while its process lives."""

import os
import subprocess
import sys

import pytest
import yaml

from serve_app.serving.profile import profile_path

FRAGMENTED = """
import ctypes, time
import numpy, psutil
from serve_app.engine import heap

def rss():
    return psutil.Process().memory_info().rss / 2**20

blocks = [(numpy.ones(2**19), bytearray(100_000)) for _ in range(64)]  # 4 MiB, and what stays
full = rss()
kept = [small for _, small in blocks]
del blocks
print(full - rss())
heap.keep_trimmed()
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

"""Orphans of a server's processes do not stay behind, as zombies or alive."""

import subprocess
import sys

import pytest

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="only Linux lets us adopt orphans")

ADOPTS = """
import subprocess, time, psutil
from serve_app.serving.ray_processes import RayProcesses
processes = RayProcesses()
# The shell ends at once and leaves its background job to whoever adopts it.
subprocess.run(["sh", "-c", "sleep {seconds} &"], check=True)
[orphan] = psutil.Process().children()
"""

REAPS = (
    ADOPTS.format(seconds=0)
    + """
while orphan.status() != psutil.STATUS_ZOMBIE:
    time.sleep(0.01)
processes.reap()
assert not orphan.is_running()
"""
)

KILLS = (
    ADOPTS.format(seconds=600)
    + """
processes.reap()
assert orphan.is_running()
processes.kill()
assert not orphan.is_running()
"""
)

WATCHES = """
import subprocess, psutil
from serve_app.serving.ray_processes import RayProcesses
processes = RayProcesses()
own = subprocess.Popen(["sleep", "600"])
processes.watch()
own.kill()
while psutil.Process(own.pid).status() != psutil.STATUS_ZOMBIE:
    pass
processes.reap()
assert own.wait() == -9  # its Popen object has still got the status
"""


@pytest.mark.parametrize("code", [REAPS, KILLS, WATCHES], ids=["reaps", "kills", "watches"])
def test_orphans_are_ended_and_children_of_others_left_alone(code: str) -> None:
    """In a process of its own, because adopting orphans cannot be undone."""
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr

"""Servers that tools start."""

import os
import signal

import pytest

from loadtest.server import sigterm_as_exit


def test_a_terminated_tool_leaves_its_blocks_in_order() -> None:
    before = signal.getsignal(signal.SIGTERM)
    left = []
    with pytest.raises(SystemExit) as end:
        try:
            with sigterm_as_exit():
                os.kill(os.getpid(), signal.SIGTERM)
                signal.pause()
        finally:
            left.append("the block around it")
    assert (end.value.code, left) == (143, ["the block around it"])
    assert signal.getsignal(signal.SIGTERM) is before

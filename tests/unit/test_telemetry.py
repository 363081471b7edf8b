"""What the server is made of reports to nobody."""

import os
import subprocess
import sys
from pathlib import Path

HEAR = """
import serve_app
import numpy as np
from faster_whisper.vad import get_speech_timestamps
print(get_speech_timestamps(np.zeros(16_000, np.float32)))
"""


def test_the_runtime_of_vad_keeps_no_diary(tmp_path: Path) -> None:
    answer = subprocess.run(
        [sys.executable, "-c", HEAR],
        capture_output=True,
        check=True,
        env={**os.environ, "HOME": str(tmp_path), "XDG_CACHE_HOME": str(tmp_path / "cache")},
    )
    assert answer.stdout.strip() == b"[]"
    assert [*tmp_path.iterdir()] == []

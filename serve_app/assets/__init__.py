"""Files that the package brings along."""

from importlib.resources import files
from pathlib import Path

GOLDEN_CLIP = Path(str(files(__name__) / "golden.wav"))
"""A spoken "Hello world": ``en/hello_world.wav`` of pytest-audioeval 0.1.3 (MIT, see
``README.md`` beside it), resampled to 16 kHz PCM16."""

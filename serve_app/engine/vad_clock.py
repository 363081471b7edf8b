"""How long voice activity detection takes inside faster-whisper's pipelines."""

import time
from collections.abc import Callable
from typing import Any


class VadClock:
    """Stands before the feature extractor of one pipeline run, whose first call ends the VAD.

    Both pipelines detect speech and cut the audio before anything else (faster-whisper 1.2.1), so
    the time from here, ``began`` by ``time.perf_counter()``, to that call is the VAD's.
    ``prepared`` is called after every call of it.
    """

    def __init__(self, extractor: Any, prepared: Callable[[], object] = lambda: None) -> None:
        self._extractor = extractor
        self._prepared = prepared
        self.began = time.perf_counter()
        self._ended: float | None = None

    def __call__(self, *arguments: Any, **options: Any) -> Any:
        """Features, as the extractor computes them."""
        self.stop()
        features = self._extractor(*arguments, **options)
        self._prepared()
        return features

    def __getattr__(self, name: str) -> Any:
        return getattr(self._extractor, name)

    def stop(self) -> float:
        """Seconds from the start to the first call of this or of the extractor."""
        if self._ended is None:
            self._ended = time.perf_counter()
        return self._ended - self.began

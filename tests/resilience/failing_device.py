"""``python -m tests.resilience.failing_device --port PORT --faults FOLDER``: a server whose device
breaks when a test says so.

All of it is real but the fault: a file ``error`` or ``stall`` in the folder breaks the device of
the replica that finds it first, for as long as that replica lives.
"""

import argparse
import os
import threading
from collections.abc import Hashable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from typing_extensions import override

from models import resolve
from serve_app.engine.backend import WhisperBackend
from serve_app.engine.queue import Stage
from serve_app.serving.before_ray import prepared_for_ray
from serve_app.settings import AppSettings

FOLDER = "FAILING_DEVICE_FAULTS"
MODEL = "tiny.en"
STALL_SECONDS = 1.0


class FailingBackend(WhisperBackend):
    """The real model, until the fault exists."""

    _fault = ""

    @override
    def run(
        self, stage: Stage, key: Hashable, payloads: Sequence[Any], *, alone: bool
    ) -> Sequence[Any]:
        for fault in ("error", "stall"):
            with suppress(FileNotFoundError):
                Path(os.environ[FOLDER], fault).unlink()
                self._fault = fault
        if self._fault == "error":
            raise RuntimeError("CUDA failed with error an illegal memory access was encountered")
        if self._fault == "stall":
            threading.Event().wait()
        return super().run(stage, key, payloads, alone=alone)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--faults", required=True)
    given = parser.parse_args()
    os.environ[FOLDER] = given.faults
    resolve(MODEL)
    with prepared_for_ray():
        serve(given.port)


def serve(port: int) -> None:
    """Serve until interrupted."""
    import ray
    from ray import serve

    import serve_app.engine.engine
    from serve_app.serving.deployments import Transcriber, assemble
    from serve_app.serving.profile import load_profile

    class FailingTranscriber(Transcriber):
        """A model replica on such a device."""

        def __init__(self, settings: AppSettings) -> None:
            # The engine makes its backend itself, and nobody else should choose one.
            setattr(serve_app.engine.engine, "WhisperBackend", FailingBackend)  # noqa: B010  # mypy
            super().__init__(settings)

    profile = load_profile("dev").changed(models=[MODEL], port=port)
    engine = profile.settings.engine.model_copy(update={"stall_seconds": STALL_SECONDS})
    settings = profile.settings.model_copy(update={"engine": engine})
    ray.init(address="local", namespace="serve", include_dashboard=False, logging_level="WARNING")
    serve.start(http_options={"host": "127.0.0.1", "port": port})
    application = assemble(settings, profile.deployment_options, FailingTranscriber)
    serve.run(application, name=profile.application.name, blocking=True)


if __name__ == "__main__":
    main()

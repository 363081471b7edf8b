"""The server that people write first: FastAPI around faster-whisper, one default pipeline per
request.

``python -m loadtest.baselines.naive_server --model base --port 8001`` answers the contract's POST
on ``/transcribe``, and ``GET /readyz``. It is the baseline of ``loadtest.bench.throughput``: one
``WhisperModel`` in int8 with the library's own defaults for everything else. Each request calls
``BatchedInferencePipeline(model).transcribe`` with its options, in a thread of FastAPI's pool. The
server is neither clever nor handicapped.
"""

import argparse
import json
import sys
from typing import Annotated, Any

import uvicorn
from fastapi import FastAPI, File, Form, HTTPException, UploadFile
from faster_whisper import BatchedInferencePipeline, WhisperModel

from loadtest.options import COMPUTE_TYPE
from models import resolve


def build_app(model: WhisperModel) -> FastAPI:
    """The application around a loaded model."""
    app = FastAPI()

    @app.get("/readyz")
    def ready() -> dict[str, bool]:
        return {"ready": True}

    @app.post("/transcribe")
    def transcribe(
        file: Annotated[UploadFile, File()], generate_kwargs: Annotated[str, Form()] = "{}"
    ) -> dict[str, Any]:
        try:
            options = json.loads(generate_kwargs)
            segments, info = BatchedInferencePipeline(model).transcribe(file.file, **options)
            return render(list(segments), info)
        except (TypeError, ValueError) as error:
            raise HTTPException(422, str(error)) from error

    return app


def render(segments: list[Any], info: Any) -> dict[str, Any]:
    """The contract's response body from faster-whisper's segments and info."""
    return {
        "segments": [
            {
                "start": s.start,
                "end": s.end,
                "text": s.text.strip(),
                "sequence_confidence": s.avg_logprob,
                "words": s.words and [vars(word) for word in s.words],
            }
            for s in segments
        ],
        "language": info.language,
        "duration": info.duration,
    }


def main(arguments: list[str] | None = None) -> int:
    """Serve until interrupted."""
    parser = argparse.ArgumentParser(
        prog="python -m loadtest.baselines.naive_server",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--model", default="base", help="catalogue name, directory or hub id")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=8001)
    given = parser.parse_args(arguments)
    model = WhisperModel(str(resolve(given.model).path), compute_type=COMPUTE_TYPE)
    uvicorn.run(build_app(model), host=given.host, port=given.port, log_level="warning")
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""``python -m serve_app.client FILE``: post an audio file to a server, print the transcript."""

import argparse
import json
import sys
from pathlib import Path

import httpx

from serve_app.settings import ApiKey

TIMEOUT_SECONDS = 3600.0


def main(arguments: list[str] | None = None) -> int:
    """Return the exit status: 0, or 1 if the server refuses the file or cannot be reached."""
    parser = argparse.ArgumentParser(
        prog="python -m serve_app.client",
        description="Post an audio file to a running server and print the transcript.",
    )
    parser.add_argument("file", type=Path, help="audio in any supported format")
    parser.add_argument("--url", default="http://127.0.0.1:8000", help="where the server is")
    parser.add_argument(
        "--options", default="{}", metavar="JSON", help='generate_kwargs, as \'{"language":"de"}\''
    )
    parser.add_argument("--json", action="store_true", help="print the whole answer")
    given = parser.parse_args(arguments)
    try:
        answer = _post(given.url, given.file, given.options)
    except OSError as error:
        print(f"cannot read {given.file}: {error.strerror}", file=sys.stderr)
        return 1
    except (httpx.TransportError, httpx.InvalidURL) as error:
        print(f"no answer from {given.url} ({error}); is `make serve` running?", file=sys.stderr)
        return 1
    if answer.status_code != 200:
        print(f"HTTP {answer.status_code}: {answer.text}", file=sys.stderr)
        return 1
    transcript = answer.json()
    if given.json:
        print(json.dumps(transcript, ensure_ascii=False, indent=2))
        return 0
    for segment in transcript["segments"]:
        print(f"[{segment['start']:8.2f} -> {segment['end']:8.2f}] {segment['text']}")
    heard = "" if transcript["segments"] else ", no speech"
    print(
        f"({transcript['language']}, {transcript['duration']:.2f} s of audio in "
        f"{answer.elapsed.total_seconds():.2f} s{heard})",
        file=sys.stderr,
    )
    return 0


def _post(url: str, file: Path, options: str) -> httpx.Response:
    api_key = ApiKey.from_environment()
    headers = {api_key.header: api_key.key} if api_key.key else {}
    return httpx.post(
        f"{url.rstrip('/')}/transcribe",
        files={"file": (file.name, file.read_bytes())},
        data={"generate_kwargs": options},
        headers=headers,
        timeout=TIMEOUT_SECONDS,
    )


if __name__ == "__main__":
    sys.exit(main())

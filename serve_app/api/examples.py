"""The request that the documentation page shows and that the server prints when it is ready."""

from importlib.resources import files
from pathlib import Path

EXAMPLE_CLIP = Path(str(files("serve_app") / "assets" / "golden.wav"))
"""A spoken "Hello world": ``en/hello_world.wav`` of pytest-audioeval 0.1.3 (MIT, see
``assets/README.md``), resampled to 16 kHz PCM16."""

EXAMPLE_OPTIONS = '{"language":"en","beam_size":5}'


def curl_example(url: str, clip: Path | str) -> str:
    """One line of shell that transcribes ``clip``."""
    return (
        f"curl -F file=@{clip} -F generate_kwargs='{EXAMPLE_OPTIONS}' {url.rstrip('/')}/transcribe"
    )


CURL_EXAMPLE = curl_example("http://127.0.0.1:8000", "serve_app/assets/golden.wav")

"""Which files are transcribed, and where each transcript goes."""

import glob
import os
from collections.abc import Iterable, Iterator
from pathlib import Path

import click

from serve_app.audio.plan import inspect
from serve_app.errors import WhisperOxError

HEAD_BYTES = 16 * 1024
"""What tells whether a file is audio; an ID3 tag with a picture is longer, but says so at once."""


def audio_files(given: Iterable[str]) -> list[Path]:
    """Every file that the arguments of a command name, once, in order.

    A directory stands for all audio files in it and below; a pattern such as ``*.mp3`` that no
    shell has expanded stands for what matches. Raises ``click.UsageError`` for an argument that
    names nothing.
    """
    found: dict[Path, None] = {}
    for argument in given:
        named = [Path(argument)]
        # os.path answers False where pathlib raises, as for a name that is too long.
        if not os.path.exists(argument) and glob.has_magic(argument):
            named = [Path(name) for name in sorted(glob.glob(argument, recursive=True))]
        files = [file for path in named for file in _files(path)]
        if not files:
            raise click.UsageError(f"there is no audio file in {argument}")
        found |= dict.fromkeys(files)
    return [*found]


def _files(path: Path) -> Iterator[Path]:
    if not os.path.isdir(path):
        yield path  # if it is not there, or not audio, that is told when its turn comes
        return
    # Path.rglob ends with an error at some links, depending on the version of Python.
    found = sorted(Path(folder, name) for folder, _, names in os.walk(path) for name in names)
    yield from (file for file in found if os.path.isfile(file) and _is_audio(file))


def _is_audio(file: Path) -> bool:
    try:
        with file.open("rb") as opened:
            head = opened.read(HEAD_BYTES)
        if not head.startswith(b"ID3"):
            inspect(head, is_whole=False)
    except (OSError, WhisperOxError):
        return False
    return True


def transcript_paths(audio: Iterable[Path], folder: Path | None, suffix: str) -> dict[Path, Path]:
    """Where the transcript of each file goes: beside it, or into ``folder``.

    Raises ``click.UsageError`` where two would go to the same place.
    """
    sources: dict[Path, Path] = {}
    for file in audio:
        target = (folder or file.parent) / f"{file.stem}.{suffix}"
        if target in sources:
            raise click.UsageError(
                f"{sources[target]} and {file} would both be written to {target}; transcribe them "
                "in two runs, with another --output"
            )
        sources[target] = file
    return {file: target for target, file in sources.items()}

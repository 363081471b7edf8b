"""``whisper-ox transcribe``: files in, transcripts out, by a server that is running."""

import json
import time
from contextlib import closing
from pathlib import Path

import click

from serve_app.cli.bar import Bar
from serve_app.cli.files import audio_files, transcript_paths
from serve_app.cli.server import Heard, NoServer, Refused, RunningServer

FORMATS = {
    "txt": "text",
    "srt": "srt",
    "vtt": "vtt",
    "json": "verbose_json",
    "tsv": "json",
}
"""The formats, which are also the suffixes of the files, and what the server is asked for."""

STDOUT = "-"


def _sendable(context: click.Context, option: click.Parameter, key: str) -> str:
    """The key without outer spaces, as the server takes it.

    A key that no header can carry is refused here, because HTTP libraries quote it in their errors.
    """
    key = key.strip()
    if not (key.isascii() and key.isprintable()):
        raise click.BadParameter("the key has characters that are not printable ASCII")
    return key


@click.command(short_help="Transcribe audio files and folders.")
@click.argument("files", nargs=-1, required=True, metavar="FILE...")
@click.option(
    "-f",
    "--format",
    "form",
    type=click.Choice([*FORMATS]),
    default="txt",
    show_default=True,
    help="What to write: plain text, subtitles, JSON with everything, or start, end (in "
    "milliseconds) and text in columns.",
)
@click.option(
    "-o",
    "--output",
    metavar="DIR",
    help="Folder for the transcripts, - for standard output; by default each goes beside its file.",
)
@click.option(
    "--url", default="http://127.0.0.1:8000", show_default=True, help="Where the server is."
)
@click.option(
    "--key",
    envvar="WHISPER_API_KEY",
    default="",
    callback=_sendable,
    help="API key.  [env: WHISPER_API_KEY]",
)
@click.option("-l", "--language", help="Such as en or German; detected if not given.")
@click.option(
    "--task",
    type=click.Choice(["transcribe", "translate"]),
    default="transcribe",
    show_default=True,
    help="translate: into English.",
)
@click.option("--words", is_flag=True, help="Times of each word as well, in JSON.")
@click.option(
    "--option",
    "options",
    multiple=True,
    metavar="NAME=VALUE",
    help="Any other option of docs/options.md, such as beam_size=1; may be repeated.",
)
@click.pass_context
def transcribe(
    context: click.Context,
    *,
    files: tuple[str, ...],
    form: str,
    output: str | None,
    url: str,
    key: str,
    language: str | None,
    task: str,
    words: bool,
    options: tuple[str, ...],
) -> None:
    """Transcribe audio and video files, folders of them, or patterns such as "*.mp3".

    A server has to be running: whisper-ox serve starts one. A file that fails does not keep the
    others from being transcribed; the exit status is then 1.
    """
    if words and form != "json":
        raise click.UsageError("--words needs --format json")
    fields: dict[str, str | list[str]] = {**_read(options), "response_format": FORMATS[form]}
    if language:
        fields["language"] = language
    if words:
        fields["timestamp_granularities[]"] = ["word", "segment"]
    audio = audio_files(files)
    folder = _folder(output) if output and output != STDOUT else None
    targets = {} if output == STDOUT else transcript_paths(audio, folder, form)
    server, failed = RunningServer(url, key), []
    for number, file in enumerate(audio, start=1):
        name = f"[{number}/{len(audio)}] {file.name}" if len(audio) > 1 else file.name
        began = time.monotonic()
        try:
            with closing(Bar(name)) as bar:
                heard = server.transcribe(file, task, fields, bar)
            target = _write(_text(heard, form), targets.get(file))
        except NoServer as error:
            raise click.ClickException(str(error)) from error
        except (Refused, OSError) as error:
            failed.append(file)
            reason = _fault(error, file) if isinstance(error, OSError) else error
            click.secho(f"{name}: {reason}", fg="red", err=True)
            continue
        took = f"{heard.seconds:.1f} s of audio in {time.monotonic() - began:.1f} s"
        silent = "" if heard.done["text"].strip() else "; no speech"
        click.echo(f"{name}{target} ({took}{silent})", err=True)
        if heard.ignored:
            click.secho(f"{name}: without effect: {heard.ignored}", fg="yellow", err=True)
    if len(audio) > 1:
        click.echo(f"{len(audio) - len(failed)} of {len(audio)} files transcribed", err=True)
    if failed:
        context.exit(1)


def _folder(name: str) -> Path:
    """The folder for the transcripts, made before any work is done for it."""
    folder = Path(name)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise click.UsageError(f"--output {name} cannot be a folder: {error.strerror}") from error
    return folder


def _fault(error: OSError, file: Path) -> str:
    """What went wrong, and where if that is not in ``file``."""
    elsewhere = error.filename is not None and Path(error.filename) != file
    return f"{error.filename}: {error.strerror}" if elsewhere else str(error.strerror)


def _read(options: tuple[str, ...]) -> dict[str, str]:
    pairs = [option.partition("=") for option in options]
    wrong = next((name for name, equals, _ in pairs if not (name and equals)), None)
    if wrong is not None:
        raise click.UsageError(f"--option {wrong}: expected NAME=VALUE, such as beam_size=1")
    return {name: value for name, _, value in pairs}


def _text(heard: Heard, form: str) -> str:
    match form:
        case "json":
            told = {name: value for name, value in heard.done.items() if name != "type"}
            return f"{json.dumps(told, ensure_ascii=False, indent=2)}\n"
        case "tsv":
            rows = [
                f"{round(one['start'] * 1000)}\t{round(one['end'] * 1000)}\t"
                f"{' '.join(one['text'].split())}\n"
                for one in heard.segments
            ]
            return "".join(["start\tend\ttext\n", *rows])
        case "txt":
            return f"{heard.done['text']}\n"
        case _:
            return str(heard.done["text"])


def _write(text: str, target: Path | None) -> str:
    """Write to ``target`` or, without one, to standard output; returns what to say about it."""
    if target is None:
        click.echo(text, nl=False)
        return ""
    target.write_text(text, encoding="utf-8")
    return f" -> {target}"

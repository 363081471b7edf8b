"""``python -m models``: list, fetch, verify, path, bundle and unbundle model weights."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from models.bundle import bundle, unbundle
from models.failures import ModelError
from models.listing import table
from models.local import refetch, resolve, verify
from models.store import MODELS_DIR_ENV, ModelStore

_INTERRUPTED_EXIT = 130
_MODEL_HELP = "catalogue name, Hugging Face id (org/repo or org/repo@revision) or local directory"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command. The exit code is 0, 1 (one line on stderr says why), 2 (usage) or 130."""
    options = _parser().parse_args(arguments)
    try:
        _COMMANDS[options.command](options)
    except (ModelError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("interrupted; run the same command again to continue", file=sys.stderr)
        return _INTERRUPTED_EXIT
    return 0


def _list(options: argparse.Namespace) -> None:
    print(table(ModelStore.at(options.models_dir)))


def _fetch(options: argparse.Namespace) -> None:
    fetch = refetch if options.force else resolve
    for model in options.models:
        local = fetch(model, cache_dir=options.models_dir, quiet=options.quiet)
        print(f"{local.name}: {local.path}")


def _verify(options: argparse.Namespace) -> None:
    """Check every model before raising, so that one run names all damaged ones."""
    store = ModelStore.at(options.models_dir)
    names = options.models or [str(directory) for directory in store.installed()]
    failures: list[ModelError] = []
    for name in names:
        try:
            local = verify(name, cache_dir=options.models_dir)
            print(f"{local.name}: every file has the recorded SHA-256 ({local.path})")
        except ModelError as error:
            failures.append(error)
    if failures:
        raise ModelError("; ".join(error.message for error in failures))
    if not names:
        raise ModelError(f"no model is in {store.root}")


def _path(options: argparse.Namespace) -> None:
    local = resolve(options.model, cache_dir=options.models_dir, allow_download=False)
    print(local.path)


def _bundle(options: argparse.Namespace) -> None:
    archive = bundle(
        options.models, options.output, cache_dir=options.models_dir, quiet=options.quiet
    )
    print(f"{archive}: {archive.stat().st_size / 1e6:.1f} MB")


def _unbundle(options: argparse.Namespace) -> None:
    for local in unbundle(options.archive, cache_dir=options.models_dir, quiet=options.quiet):
        print(f"{local.name}: {local.path}")


_COMMANDS = {
    "list": _list,
    "fetch": _fetch,
    "verify": _verify,
    "path": _path,
    "bundle": _bundle,
    "unbundle": _unbundle,
}


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m models", description="Manage model weights.")
    shared = argparse.ArgumentParser(add_help=False)
    shared.add_argument(
        "--models-dir",
        type=Path,
        metavar="DIR",
        help=f"where models are kept (default: ${MODELS_DIR_ENV}, else ~/.cache/whisper-ox/models)",
    )
    transfers = argparse.ArgumentParser(add_help=False)
    transfers.add_argument("--quiet", action="store_true", help="no progress on stderr")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")

    commands.add_parser("list", parents=[shared], help="show the catalogue and what is installed")
    fetch = commands.add_parser("fetch", parents=[shared, transfers], help="download models")
    fetch.add_argument("models", nargs="+", metavar="MODEL", help=_MODEL_HELP)
    fetch.add_argument("--force", action="store_true", help="fetch it again and replace it")
    check = commands.add_parser(
        "verify", parents=[shared], help="read and hash installed models again"
    )
    check.add_argument("models", nargs="*", metavar="MODEL", help="default: all that are installed")
    path = commands.add_parser("path", parents=[shared], help="print an installed model's path")
    path.add_argument("model", metavar="MODEL", help=_MODEL_HELP)
    pack = commands.add_parser(
        "bundle", parents=[shared, transfers], help="write installed models into one archive"
    )
    pack.add_argument("models", nargs="+", metavar="MODEL", help=_MODEL_HELP)
    pack.add_argument("-o", "--output", type=Path, required=True, metavar="FILE.tar")
    unpack = commands.add_parser(
        "unbundle", parents=[shared, transfers], help="verify an archive and install its models"
    )
    unpack.add_argument("archive", type=Path, metavar="FILE.tar")
    return parser


if __name__ == "__main__":
    sys.exit(main())

"""What can go wrong between a model's name and its files on this machine.

ModelError
├── ModelNotFound
├── ModelInvalid
├── BundleInvalid
├── ChecksumMismatch
├── DiskFull
├── Offline
├── DownloadInterrupted
└── DownloadRefused
"""

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

#: What a write answers on a full disk, a spent quota or a file-size limit.
_FULL_DISK_ERRNOS = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})


class ModelError(Exception):
    """A model cannot be found, fetched or trusted.

    ``message`` says what happened and what to do about it. ``code`` is stable, for programs.
    """

    code = "model_error"

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message


class ModelNotFound(ModelError):
    """No catalogue entry, directory, repository or bundle has this name."""

    code = "model_not_found"


class ModelInvalid(ModelError):
    """A directory lacks files that faster-whisper needs, or does not match its manifest."""

    code = "model_invalid"


class BundleInvalid(ModelError):
    """An archive is truncated or altered, or is not a bundle."""

    code = "bundle_invalid"


class ChecksumMismatch(ModelError):
    """Files differ from the pinned or recorded SHA-256."""

    code = "checksum_mismatch"


class DiskFull(ModelError):
    """The disk is full, or has too little room for what must be written."""

    code = "disk_full"


class Offline(ModelError):
    """The model is not on this machine, and the network is unreachable or must not be used."""

    code = "offline"


class DownloadInterrupted(ModelError):
    """The connection broke several times in a row. The next run resumes the partial file."""

    code = "download_interrupted"


class DownloadRefused(ModelError):
    """The server refused the download (HTTP 401, 403, 404 ...), or cannot be trusted.

    ``http_status`` is None if there was no HTTP answer.
    """

    code = "download_refused"

    def __init__(self, message: str, http_status: int | None = None) -> None:
        super().__init__(message)
        self.http_status = http_status


@contextmanager
def explain_full_disk(path: Path) -> Iterator[None]:
    """Turn the ``OSError`` of a write under ``path`` into ``DiskFull`` if there is no room left."""
    try:
        yield
    except OSError as error:
        if error.errno not in _FULL_DISK_ERRNOS:
            raise
        raise DiskFull(
            f"no room left to write {path} ({error.strerror}); free some space, or set "
            "WHISPER_OX_MODELS_DIR to a directory on a larger disk, and run the command again"
        ) from error

"""What can go wrong between a model's name and its files on this disk."""

import errno
from pathlib import Path

from serve_app.errors import WhisperOxError

#: What a write answers on a full disk, a spent quota or a file-size limit.
_FULL_DISK_ERRNOS = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})


class ModelError(WhisperOxError):
    """A model cannot be found, fetched or trusted."""

    code = "model_error"
    status = 503


class ModelNotFound(ModelError):
    """No catalogue entry, directory or repository has this name."""

    code = "model_not_found"
    status = 404


class ModelInvalid(ModelError):
    """A directory lacks files that faster-whisper needs, or its record does not fit its files."""

    code = "model_invalid"


class ChecksumMismatch(ModelError):
    """Bytes differ from the pinned or recorded SHA-256."""

    code = "checksum_mismatch"


class DiskFull(ModelError):
    """The disk has, or had, too little room."""

    code = "disk_full"


class DownloadInterrupted(ModelError):
    """The connection broke again and again; what arrived is kept and resumed by the next run."""

    code = "download_interrupted"


class DownloadRefused(ModelError):
    """The server answered, and said no (401, 403, 404 ...)."""

    code = "download_refused"


class Offline(ModelError):
    """The model is not on this machine and the network is unreachable or not to be used."""

    code = "offline"


class BundleInvalid(ModelError):
    """An archive is truncated, altered or was not written by ``bundle``."""

    code = "bundle_invalid"


def is_disk_full(error: OSError) -> bool:
    """Whether a write failed for want of room."""
    return error.errno in _FULL_DISK_ERRNOS


def disk_full(path: Path, error: OSError) -> DiskFull:
    """The error for a write under ``path`` that ran out of room."""
    return DiskFull(
        f"no room left to write {path} ({error.strerror}); free some space, or set "
        "WHISPER_OX_MODELS_DIR to a directory on a larger disk, and run the command again"
    )

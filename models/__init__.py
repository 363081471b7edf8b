"""Model weights: the catalogue, and the way from a model's name to files on this disk."""

from models.bundle import bundle, unbundle
from models.catalogue import ALIASES, CATALOGUE, entry_for
from models.entry import COMPUTE_TYPES, CatalogueEntry
from models.errors import (
    BundleInvalid,
    ChecksumMismatch,
    DiskFull,
    DownloadInterrupted,
    DownloadRefused,
    ModelError,
    ModelInvalid,
    ModelNotFound,
    Offline,
)
from models.local import LocalModel, refetch, resolve, verify
from models.store import ModelStore, default_models_dir

__all__ = [
    "ALIASES",
    "CATALOGUE",
    "COMPUTE_TYPES",
    "BundleInvalid",
    "CatalogueEntry",
    "ChecksumMismatch",
    "DiskFull",
    "DownloadInterrupted",
    "DownloadRefused",
    "LocalModel",
    "ModelError",
    "ModelInvalid",
    "ModelNotFound",
    "ModelStore",
    "Offline",
    "bundle",
    "default_models_dir",
    "entry_for",
    "refetch",
    "resolve",
    "unbundle",
    "verify",
]

"""Model weights: the catalogue, and how a model's name becomes files on this machine."""

from models.catalogue import CATALOGUE
from models.failures import ModelError
from models.local import LocalModel, refetch, resolve, verify

__all__ = ["CATALOGUE", "LocalModel", "ModelError", "refetch", "resolve", "verify"]

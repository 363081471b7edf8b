"""The application's log: one line per event on stderr, nothing of audio or text above debug."""

import logging
import os
import sys

from serve_app.settings import LogSettings

_FORMAT = "%(asctime)s %(levelname)s %(name)s %(message)s"


def configure_logging(settings: LogSettings) -> None:
    """Send the ``whisper_ox`` loggers to stderr; the variable ``LOG_LEVEL`` overrides the level."""
    logger = logging.getLogger("whisper_ox")
    logger.setLevel((os.environ.get("LOG_LEVEL") or settings.level).upper())
    logger.propagate = False
    if not logger.handlers:
        handler = logging.StreamHandler(sys.stderr)
        handler.setFormatter(logging.Formatter(_FORMAT))
        logger.addHandler(handler)

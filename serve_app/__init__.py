"""Whisper OX: a self-hosted Whisper speech-to-text server on Ray Serve and CTranslate2."""

__version__ = "0.1.0"

"""Transcription options: what a caller may send, checked and typed.

Pure data and functions: nothing here loads faster-whisper, CTranslate2 or Ray.
"""

from serve_app.options.limits import OptionLimits
from serve_app.options.model_facts import ModelFacts, check_against_model
from serve_app.options.parse import ParsedOptions, build_options
from serve_app.options.transcribe import CONTRACT_EXAMPLE, TranscribeOptions
from serve_app.options.vad import VadParameters

__all__ = [
    "CONTRACT_EXAMPLE",
    "ModelFacts",
    "OptionLimits",
    "ParsedOptions",
    "TranscribeOptions",
    "VadParameters",
    "build_options",
    "check_against_model",
]

"""What a caller may ask of a transcription, checked and typed.

This is data and pure functions, which load neither faster-whisper nor CTranslate2 nor Ray.
"""

from serve_app.options.language import Language
from serve_app.options.limits import OptionLimits
from serve_app.options.model_facts import ModelFacts, check_against_model
from serve_app.options.parse import ParsedOptions, build_options, read_values
from serve_app.options.transcribe_options import TranscribeOptions, VadParameters

__all__ = [
    "Language",
    "ModelFacts",
    "OptionLimits",
    "ParsedOptions",
    "TranscribeOptions",
    "VadParameters",
    "build_options",
    "check_against_model",
    "read_values",
]

"""Whisper OX: a self-hosted Whisper speech-to-text server on Ray Serve and CTranslate2."""

import os

__version__ = "0.1.0"

# onnxruntime, which runs VAD, keeps a diary below ~/.cache and sends it to its maker (1.31 on
# Linux), unless this is set before it loads, in every process.
os.environ["ORT_DISABLE_TELEMETRY"] = "1"

"""The engine: scheduler -> CTranslate2 -> transcript. Only this package knows faster-whisper."""

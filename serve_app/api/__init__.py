"""Thin protocol adapters over :class:`serve_app.core.SpeechCore`. Only this package knows HTTP."""

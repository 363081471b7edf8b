"""Thin protocol adapters over :class:`serve_app.service.SpeechService`. Only they know HTTP."""

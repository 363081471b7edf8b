"""Thin protocol adapters over :class:`serve_app.service.SpeechService`: the only room for HTTP."""

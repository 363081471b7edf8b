"""Transcripts as bodies of answers."""

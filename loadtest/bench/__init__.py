"""Measurements of one machine's hardware."""

"""Measurements of the engine and of a server: speed, accuracy, stability."""

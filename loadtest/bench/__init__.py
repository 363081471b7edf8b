"""Measurements of the engine and of a server: how fast, how right, how steady."""

"""Servers that ours is compared with."""

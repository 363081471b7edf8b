"""Servers with which ours is compared."""

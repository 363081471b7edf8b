"""How audio and options arrive."""

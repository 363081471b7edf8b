"""The command ``whisper-ox``: each file but this one and ``main`` is or serves one subcommand."""

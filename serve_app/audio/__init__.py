"""Audio in: bytes of any supported container -> :class:`~serve_app.audio.clip.AudioClip`."""

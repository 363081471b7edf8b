"""Speech to text while people speak: audio in, events out. No protocol is in here.

- ``session``: one stream. It finds utterances, has drafts of the ``current`` one heard and then its
  final text. ``hearing`` calls :class:`serve_app.service.SpeechService` and nothing else;
  ``context`` is what was said before and is heard as well.
- ``endpointing``: where utterances begin and end, from the probability of speech.
- ``agreement``: which words of successive drafts are certain.
- ``tape``: the audio that may still be needed. ``events``: what has happened, numbered.
- ``voice``: only whether somebody speaks, without a text.
- ``sessions``: all sessions of one process, how many there may be, and how one is resumed.
"""

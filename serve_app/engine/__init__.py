"""The engine, the only room that knows CTranslate2 and faster-whisper.

- ``transcription``: one request from samples to transcript. ``speech`` finds where somebody speaks,
  one of two pipelines hears it, ``batched`` (ours) or ``sequential`` (faster-whisper's), and
  ``segments`` makes the transcript.
- ``hearing``: the one primitive. A ``window`` with its ``prompt`` is encoded, decoded and aligned
  in ``steps``. ``attempts`` tells whether a text is good enough, ``words`` when each was said.
- ``recovery``: speech that no word covers (``coverage``) is heard again.
- ``scheduler``: runs the steps of all hearings in batches. ``queue`` decides who goes next,
  ``admission`` who may join, by the speed that ``throughput`` measures. They know a ``request``.
- ``backend``: runs a batch on CTranslate2.
- ``engine``: the model and its parts, put together. ``hardware`` and
  ``kernels`` find out what there is to run on; ``batch_record`` and ``upkeep`` measure.
"""

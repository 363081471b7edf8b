"""The engine, the only room that knows CTranslate2 and faster-whisper.

- ``transcription``: one request from samples to transcript. It has ``speech`` find what is said,
  chooses one of two pipelines, ``batched`` (ours) or ``sequential`` (faster-whisper's), and hears
  again what was missed (``coverage``). ``segments`` makes the transcript.
- ``hearing``: the one primitive. A ``window`` with its ``prompt`` is encoded, decoded and aligned;
  ``attempts`` says whether a text is good enough and what comes after one that is not.
- ``scheduler``: runs the steps of all hearings in batches. ``queue`` decides who goes next,
  ``admission`` who may join, by the speed in ``throughput``. A ``request`` is what they know of one.
- ``backend``: a batch on CTranslate2.
- ``engine``: the model and its parts, put together. ``hardware`` finds out what there is to run on,
  ``upkeep`` and ``batch_record`` measure.
"""

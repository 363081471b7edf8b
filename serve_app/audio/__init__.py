"""Audio in: the bytes of any supported container become 16 kHz mono samples.

A plain WAV file of a usual level is a view of its upload (``decode.plain_clip``). Whatever else
comes is inspected and decoded in a worker process (``pool.DecodingPool``).
"""

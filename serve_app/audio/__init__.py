"""Audio in: the bytes of any supported container become 16 kHz mono samples.

Each upload is inspected once (``plan.inspect``) and decoded once (``decode.decode``).
"""

"""Models with random weights."""

from pathlib import Path

import ctranslate2
import numpy as np
import pytest

from serve_app.engine.random_model import Shape, write_random_model

SPECIAL = ("endoftext", "startoftranscript", "en", "translate", "transcribe", "startoflm")
LAST = ("startofprev", "nospeech", "notimestamps")
TOKENS = ["a", "", *(f"<|{name}|>" for name in (*SPECIAL, *LAST)), *map(str, range(1501))]
END, START = 2, 3


@pytest.mark.parametrize("shape", [Shape(16, 2, 1, 2), Shape(32, 4, 2, 1, n_mels=128)])
def test_ctranslate2_encodes_and_decodes(tmp_path: Path, shape: Shape) -> None:
    write_random_model(tmp_path, shape, TOKENS)
    model = ctranslate2.models.Whisper(str(tmp_path), compute_type="float32")
    mel = np.zeros((2, shape.n_mels, 600), np.float32)
    encoded = np.asarray(model.encode(ctranslate2.StorageView.from_array(mel), to_cpu=True))
    assert encoded.shape == (2, 300, shape.d_model)
    assert np.isfinite(encoded).all()
    view = ctranslate2.StorageView.from_array(encoded)
    decoded = model.generate(view, [[START], [START]], max_length=20, suppress_tokens=[END])
    assert [len(result.sequences_ids[0]) for result in decoded] == [10, 10]

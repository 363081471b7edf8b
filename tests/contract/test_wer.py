"""Word errors of the whole server against references, and against plain faster-whisper."""

from pathlib import Path

import pytest

from loadtest.client import transcribe
from loadtest.options import contract_options
from loadtest.plain import PlainWhisper
from loadtest.server import Server
from loadtest.speech import Clip, corpus_clips, registry_clips
from loadtest.wer import Errors, corpus_errors, word_errors

CORPUS_CLIPS = 10
LONGEST_CORPUS_CLIP_SECONDS = 20.0
BASE_ENGLISH_WER_MAX = 0.10
"""On the corpus' read English base is below this. A broken decoder is far above it."""

LONG_RUN = [
    pytest.param(language, batch_size, marks=pytest.mark.long)
    for language, batch_size in [("en", 8), ("hi", 8), ("ja", 8), ("zh", 8), ("fr", 1)]
]
"""One language of each kind of script. `make equality` compares all that have clips."""


def served(server: Server, model: str, clips: list[Clip], batch_size: int = 8) -> dict[str, str]:
    """Texts by clip id under the contract's options, without recovery of lost speech."""
    return {
        clip.id: transcribe(
            server.url,
            clip.audio_bytes(),
            {**contract_options(model, clip.language, batch_size), "recover": False},
        ).text
        for clip in clips
    }


def errors_of(clips: list[Clip], texts: dict[str, str]) -> Errors:
    return corpus_errors(word_errors(c.text, texts[c.id], c.language) for c in clips)


@pytest.fixture(scope="session")
def plain_cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("plain")


@pytest.mark.parametrize(("language", "batch_size"), [("fr", 8), *LONG_RUN])
def test_every_language_is_as_accurate_as_plain_faster_whisper(
    base: Server, plain_cache: Path, language: str, batch_size: int
) -> None:
    clips = registry_clips(languages=[language])
    plain = PlainWhisper("base", batch_size, cache_folder=plain_cache).transcripts(clips)
    comparable = [clip for clip in clips if plain[clip.id].is_comparable]
    ours = served(base, "base", comparable, batch_size)
    assert ours == {clip.id: plain[clip.id].text for clip in comparable}
    assert errors_of(comparable, ours) == errors_of(
        comparable, {i: transcript.text for i, transcript in plain.items()}
    )


def test_the_english_only_model_hears_every_word(tiny_en: Server) -> None:
    clips = [c for c in registry_clips(languages=["en"]) if "counting" not in c.id]
    assert errors_of(clips, served(tiny_en, "tiny.en", clips)).total == 0


@pytest.mark.long
@pytest.mark.corpus
def test_read_english_stays_below_its_word_error_rate(base: Server) -> None:
    clips = [
        clip
        for clip in corpus_clips(kinds=["read"], languages=["en"])
        if clip.seconds <= LONGEST_CORPUS_CLIP_SECONDS
    ][:CORPUS_CLIPS]
    if not clips:
        pytest.skip("the shared corpus is not here")
    assert errors_of(clips, served(base, "base", clips)).rate <= BASE_ENGLISH_WER_MAX

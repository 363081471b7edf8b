"""The options that the tools send: the contract's example, per model and language."""

from typing import Any, TypedDict

from loadtest.speech import Clip

EVALUATED_MODELS = ("tiny.en", "base")
"""The models whose weights install from a package registry, so every machine can have them."""

COMPUTE_TYPE = "int8"
"""The CTranslate2 compute type on both sides of every comparison."""


class ContractOptions(TypedDict):
    """The JSON object of ``generate_kwargs``. ``language`` None asks for detection."""

    multilingual: bool
    vad_filter: bool
    task: str
    language: str | None
    batch_size: int
    beam_size: int
    condition_on_previous_text: bool


def is_english_only(model: str) -> bool:
    """Whether a Whisper model of this name knows English only (OpenAI's naming: ``*.en``)."""
    return model.endswith(".en")


def contract_options(model: str, language: str, batch_size: int = 8) -> ContractOptions:
    """The contract's example for one clip. ``language`` is "" if the clip holds no speech.

    ``batch_size`` 1 means faster-whisper's sequential pipeline, more its batched one.
    """
    english_only = is_english_only(model)
    return ContractOptions(
        multilingual=not english_only,
        vad_filter=True,
        task="transcribe",
        language=language or ("en" if english_only else None),
        batch_size=batch_size,
        beam_size=5,
        condition_on_previous_text=True,
    )


def english_options(model: str, *, once: bool = False) -> dict[str, Any]:
    """The contract's example for English. ``once``: at temperature 0, so that no window is decoded
    again and nothing depends on chance.
    """
    options = contract_options(model, "en")
    return {**options, "temperature": 0} if once else {**options}


def clips_for(model: str, clips: list[Clip]) -> list[Clip]:
    """The clips that ``model`` can transcribe: English and nonspeech for ``*.en``."""
    if not is_english_only(model):
        return clips
    return [clip for clip in clips if clip.language in ("en", "")]

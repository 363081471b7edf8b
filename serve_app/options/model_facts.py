"""The facts about a model that decide whether options fit it."""

from dataclasses import dataclass

from serve_app.errors import InvalidOption
from serve_app.options.transcribe_options import TranscribeOptions

# By multilingual. GPT-2's vocabulary, and OpenAI's multilingual remake of it, end with
# <|endoftext|>. Whisper's control tokens follow, then one token per 20 ms for times; large-v3 has
# one language, hence one control token, more than is counted here.
_END_OF_TEXT = {False: 50256, True: 50257}
_FIRST_TIMESTAMP = {False: 50363, True: 50364}


@dataclass(frozen=True)
class ModelFacts:
    """The served model. ``languages`` are Whisper codes; ``vocabulary_size`` counts tokens."""

    name: str
    multilingual: bool
    languages: tuple[str, ...]
    vocabulary_size: int


def check_against_model(options: TranscribeOptions, model: ModelFacts) -> TranscribeOptions:
    """``options`` as this model can apply them. An English-only model drops ``multilingual``.

    Raises :class:`InvalidOption` for a language or a translation that the model cannot do, and for
    token ids that it does not have or that would make CTranslate2 crash (ids beyond the vocabulary)
    or run on (a suppressed end of text).
    """
    if options.task == "translate" and not model.multilingual:
        raise InvalidOption(
            f'task: got "translate", but the model {model.name} knows English only; '
            'allowed: "transcribe"',
            field="task",
        )
    if options.language is not None and options.language not in model.languages:
        raise InvalidOption(
            f'language: got "{options.language}", which the model {model.name} does not know; '
            f"allowed: null or {', '.join(model.languages)}",
            field="language",
        )
    _check_tokens(options, model)
    if options.multilingual and not model.multilingual:
        return options.model_copy(update={"multilingual": False})
    return options


def _check_tokens(options: TranscribeOptions, model: ModelFacts) -> None:
    end = _END_OF_TEXT[model.multilingual]
    n_text = min(end, model.vocabulary_size)
    if isinstance(options.initial_prompt, tuple):
        for token in options.initial_prompt:
            if token >= n_text:
                raise InvalidOption(
                    f"initial_prompt: got token {token}; allowed: text tokens of the model "
                    f"{model.name}, 0 to {n_text - 1}",
                    field="initial_prompt",
                )
    n_suppressible = min(_FIRST_TIMESTAMP[model.multilingual], model.vocabulary_size)
    for token in options.suppress_tokens:
        if token >= n_suppressible or token == end:
            raise InvalidOption(
                f"suppress_tokens: got token {token}; allowed for the model {model.name}: "
                f"-1 to {n_suppressible - 1}, except {end}, the end of the text",
                field="suppress_tokens",
            )

"""The tokens that come before a window's text, and whether they leave room for it."""

from collections.abc import Sequence

from faster_whisper import WhisperModel
from faster_whisper.tokenizer import Tokenizer

from serve_app.errors import InvalidOption
from serve_app.options import TranscribeOptions


def request_prompt(
    whisper: WhisperModel,
    tokenizer: Tokenizer,
    options: TranscribeOptions,
    *,
    without_timestamps: bool,
    batched: bool,
) -> list[int]:
    """The prompt of a request's first window, built by faster-whisper.

    The batched pipeline encodes the initial prompt as it is and takes no prefix; the sequential one
    puts a blank before it. Raises ``InvalidOption`` if what the caller wants said before leaves no
    room for the text, in this window or in a later one.
    """
    previous: Sequence[int] = ()
    if isinstance(options.initial_prompt, tuple):
        previous = options.initial_prompt
    elif options.initial_prompt is not None:
        text = options.initial_prompt if batched else f" {options.initial_prompt.strip()}"
        previous = tokenizer.encode(text)

    def prompt_of(previous: Sequence[int], prefix: str | None) -> list[int]:
        prompt: list[int] = whisper.get_prompt(
            tokenizer,
            list(previous),
            without_timestamps=without_timestamps,
            prefix=prefix,
            hotwords=options.hotwords,
        )
        return prompt

    first = prompt_of(previous, None if batched else options.prefix)
    # Only the first window has the prefix, beside which faster-whisper leaves out the hotwords.
    for prompt in (first, prompt_of((), None)):
        if room_beside(whisper, prompt, options) < 0:
            raise _too_long(whisper, prompt, options)
    return first


def room_beside(whisper: WhisperModel, prompt: Sequence[int], options: TranscribeOptions) -> int:
    """How many tokens longer ``prompt`` may be; negative if it is too long already.

    The decoder holds prompt and text together, ``whisper.max_length`` tokens.
    """
    room: int = whisper.max_length - len(prompt) - (options.max_new_tokens or 1)
    return room


def _too_long(
    whisper: WhisperModel, prompt: Sequence[int], options: TranscribeOptions
) -> InvalidOption:
    asked = {
        "initial_prompt": options.initial_prompt,
        "hotwords": options.hotwords,
        "prefix": options.prefix,
        "max_new_tokens": options.max_new_tokens,
    }
    names = [name for name, value in asked.items() if value is not None]
    text = "the text" if options.max_new_tokens is None else f"{options.max_new_tokens} new tokens"
    return InvalidOption(
        f"{' with '.join(names)}: the prompt takes {len(prompt)} of the decoder's "
        f"{whisper.max_length} tokens, which leaves no room for {text}; shorten the prompt"
        f"{'' if options.max_new_tokens is None else ' or lower max_new_tokens'}",
        field=names[0],
    )

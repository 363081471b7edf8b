"""What OpenAI's callers get for a transcript: a text, or the body of a JSON answer."""

from typing import Any

from serve_app.api.facades.openai_request import AudioRequest
from serve_app.api.render.subtitles import cues_of, srt, vtt
from serve_app.api.render.verbose import short_body, text_of, verbose_body
from serve_app.settings import SubtitleSettings
from serve_app.transcript import Transcript


def answer_to(
    asked: AudioRequest, transcript: Transcript, subtitles: SubtitleSettings
) -> str | dict[str, Any]:
    """The answer in the format that was asked for.

    Call it in a thread: subtitles of hours of speech take more than a tenth of a second.
    """
    match asked.response_format:
        case "text":
            return f"{text_of(transcript.segments)}\n"
        case "srt":
            return srt(cues_of(transcript, subtitles))
        case "vtt":
            return vtt(cues_of(transcript, subtitles))
        case "verbose_json":
            return verbose_body(transcript, asked.task, asked.granularities)
        case _:
            return short_body(transcript, with_logprobs=asked.with_logprobs)

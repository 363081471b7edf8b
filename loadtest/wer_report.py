"""Word error rate per language, our server beside plain faster-whisper.

``python -m loadtest.wer_report [--server base=http://127.0.0.1:8000] [--output FILE]``: tiny.en
on the English clips, base on all languages, of the shared corpus (the registry clips where there
is none, or with ``--speech registry``); only clips whose reference is good enough. Both sides run
int8 under the contract's example options. Exit code 1 if the English rates differ by more than
0.2 points, 2 if a request fails.
"""

import argparse
import json
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from loadtest.options import COMPUTE_TYPE, clips_for, contract_options
from loadtest.plain import PlainWhisper
from loadtest.replies import server_replies
from loadtest.servers import add_server_arguments, models_asked_for, server_of
from loadtest.speech import Clip, corpus_clips, registry_clips
from loadtest.tool import run_tool, tool_parser
from loadtest.wer import CHARACTER_LANGUAGES, NORMALISER, Errors, corpus_errors, word_errors
from serve_app.errors import WhisperOxError

BAR_POINTS = 0.2
"""Largest allowed difference of the English rates, in percentage points."""


@dataclass(frozen=True)
class LanguageRow:
    """Both sides' errors on the ``n_clips`` clips of one language."""

    language: str
    n_clips: int
    plain: Errors
    server: Errors

    @property
    def difference_points(self) -> float:
        """Server minus plain, in percentage points of reference words."""
        return (self.server.rate - self.plain.rate) * 100


def language_rows(
    clips: Iterable[Clip], plain: Mapping[str, str], server: Mapping[str, str]
) -> list[LanguageRow]:
    """One row per language, by code; ``plain`` and ``server`` map clip ids to texts."""
    by_language: dict[str, list[Clip]] = {}
    for clip in clips:
        by_language.setdefault(clip.language, []).append(clip)
    return [
        LanguageRow(
            language=language,
            n_clips=len(members),
            plain=corpus_errors(word_errors(c.text, plain[c.id], language) for c in members),
            server=corpus_errors(word_errors(c.text, server[c.id], language) for c in members),
        )
        for language, members in sorted(by_language.items())
    ]


def within_bar(rows: Iterable[LanguageRow]) -> bool:
    """Whether the English rates, where there are any, differ by at most ``BAR_POINTS``."""
    return all(abs(r.difference_points) <= BAR_POINTS for r in rows if r.language == "en")


def _print(model: str, rows: Sequence[LanguageRow]) -> None:
    print(f"\n{model}\nlang  clips  words   plain WER  server WER  difference  S/D/I server")
    for row in rows:
        ours = row.server
        unit = " (CER)" if row.language in CHARACTER_LANGUAGES else ""
        print(
            f"{row.language:<5} {row.n_clips:>5} {ours.n_reference:>6} "
            f"{row.plain.rate:>10.2%}  {ours.rate:>10.2%}  {row.difference_points:>+9.2f}p  "
            f"{ours.substitutions}/{ours.deletions}/{ours.insertions}{unit}"
        )


def _document(model: str, batch_size: int, rows: Sequence[LanguageRow]) -> dict[str, Any]:
    return {
        "model": model,
        "compute_type": COMPUTE_TYPE,
        "options": {**contract_options(model, "", batch_size), "language": "of the clip"},
        "normaliser": NORMALISER,
        "within_bar": within_bar(rows),
        "languages": [
            asdict(row)
            | {
                "plain_rate": row.plain.rate,
                "server_rate": row.server.rate,
                "difference_points": row.difference_points,
            }
            for row in rows
        ],
    }


def _rows_of(model: str, clips: Sequence[Clip], given: argparse.Namespace) -> list[LanguageRow]:
    transcripts = PlainWhisper(model, given.batch_size).transcripts(clips)
    with server_of(model, dict(given.server)) as url:
        replies = server_replies(
            url,
            model,
            clips,
            given.batch_size,
            concurrency=given.concurrency,
            api_key=given.api_key,
        )
    plain = {clip_id: transcript.text for clip_id, transcript in transcripts.items()}
    server = {clip_id: reply.text for clip_id, reply in replies.items()}
    return language_rows(clips, plain, server)


def _speech(source: str | None) -> list[Clip]:
    clips = registry_clips() if source == "registry" else corpus_clips()
    if not clips and source is None:
        clips = registry_clips()
    if not clips:
        raise WhisperOxError("there is no shared corpus here: use --speech registry")
    return [clip for clip in clips if clip.is_scored]


def _reported(given: argparse.Namespace) -> list[dict[str, Any]]:
    documents = []
    clips = _speech(given.speech)
    print(f"normaliser: {NORMALISER}\ncompute type: {COMPUTE_TYPE}")
    for model in models_asked_for(given):
        rows = _rows_of(model, clips_for(model, clips), given)
        documents.append(_document(model, given.batch_size, rows))
        print(f"\noptions: {json.dumps(documents[-1]['options'])}", end="")
        _print(model, rows)
    return documents


def main(arguments: list[str] | None = None) -> int:
    """Print the report; 0 within the bar, 1 not, 2 it could not be made."""
    parser = tool_parser("wer_report", __doc__)
    add_server_arguments(parser)
    parser.add_argument("--batch-size", type=int, default=8)
    parser.add_argument("--speech", choices=("corpus", "registry"))
    given = parser.parse_args(arguments)
    return run_tool(given, _reported, lambda found: all(one["within_bar"] for one in found))


if __name__ == "__main__":
    sys.exit(main())

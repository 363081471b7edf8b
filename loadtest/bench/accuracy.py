"""Compares our server's words with the references and with plain faster-whisper's.

``python -m loadtest.bench.accuracy [--server base=http://127.0.0.1:8000] [--output FILE]`` prints
word error rates by language: of tiny.en on English, and of base on all languages. The clips are
those of the shared corpus, or the registry's clips if there is no corpus or with ``--speech
registry``. Only clips with a good enough reference count. Both sides run in int8 with the
contract's example options. It fails if the English rates differ by more than 0.2 points.
``--chunk-seconds 15`` joins English clips to chunks of that length, in which recovery of lost
speech matters. Then nothing fails.

``--equal`` asks for more. Without recovery of lost speech, every text must equal plain
faster-whisper's to the letter, segment by segment, at ``batch_size`` 1 (its sequential pipeline
with the previous text) and 8 (its batched one). Clips without references and without speech count
as well. Clips are posted concurrently, so that windows of different requests share batches. If
either side decodes above temperature 0, tokens are drawn at random, and even two runs of one side
differ. These clips are listed apart. The exit code is 1 if a limit is missed or a request of
``--equal`` fails, and 2 if nothing could be measured.
"""

import argparse
import asyncio
import difflib
import hashlib
import sys
import tempfile
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import httpx
from tqdm import tqdm

from loadtest.chunks import english_chunks
from loadtest.client import TIMEOUT_SECONDS, Reply, transcribe_async
from loadtest.load import machine
from loadtest.options import COMPUTE_TYPE, EVALUATED_MODELS, clips_for, contract_options
from loadtest.plain import PlainTranscript, PlainWhisper
from loadtest.server import server_at
from loadtest.speech import Clip, corpus_clips, registry_clips
from loadtest.tool import run_tool, tool_parser
from loadtest.wer import CHARACTER_LANGUAGES, NORMALISER, Errors, corpus_errors, word_errors
from serve_app.errors import WhisperOxError

BAR_POINTS = 0.2
"""Largest allowed difference of the English rates, in percentage points."""

DIFF_CONTEXT_WORDS = 3
MAX_DIFF_CHARACTERS = 400


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
    by_language: dict[str, list[Clip]] = defaultdict(list)
    for clip in clips:
        by_language[clip.language].append(clip)
    return [
        LanguageRow(
            language,
            len(members),
            *(
                corpus_errors(word_errors(c.text, texts[c.id], language) for c in members)
                for texts in (plain, server)
            ),
        )
        for language, members in sorted(by_language.items())
    ]


def within_bar(rows: Iterable[LanguageRow]) -> bool:
    """Whether the English rates, if there are any, differ by at most ``BAR_POINTS``."""
    return all(abs(r.difference_points) <= BAR_POINTS for r in rows if r.language == "en")


def difference(plain: PlainTranscript, segments: Sequence[Mapping[str, Any]]) -> str:
    """Changed words as ``[-plain-] {+server+}`` with a few words around them; "" for equal texts.

    ``segments`` are those of the contract's response. Outer spaces do not count.
    """
    expected = [segment.text.strip() for segment in plain.segments]
    heard = [str(segment["text"]).strip() for segment in segments]
    if expected == heard:
        return ""
    old, new = " ".join(expected).split(), " ".join(heard).split()
    if old == new:
        return f"same words in other segments: {len(expected)} plain, {len(heard)} server"
    parts = []
    matcher = difflib.SequenceMatcher(a=old, b=new, autojunk=False)
    for group in matcher.get_grouped_opcodes(DIFF_CONTEXT_WORDS):
        words: list[str] = []
        for tag, old_from, old_to, new_from, new_to in group:
            if tag == "equal":
                words += old[old_from:old_to]
                continue
            if old_to > old_from:
                words.append(f"[-{' '.join(old[old_from:old_to])}-]")
            if new_to > new_from:
                words.append(f"{{+{' '.join(new[new_from:new_to])}+}}")
        parts.append(" ".join(words))
    return " ... ".join(parts)[:MAX_DIFF_CHARACTERS]


def equality(plain: Mapping[str, PlainTranscript], replies: Mapping[str, Reply]) -> dict[str, Any]:
    """Compare by clip id, as JSON values. A reply that is not a transcript counts as failed.

    The largest differences, in seconds and in log-probability, are over segments of equal texts.
    """
    found: dict[str, dict[str, str]] = {"equal": {}, "differing": {}, "sampled": {}, "failed": {}}
    times, logprobs = [0.0], [0.0]
    for clip_id, transcript in plain.items():
        try:
            segments = replies[clip_id].segments
        except WhisperOxError as error:
            found["failed"][clip_id] = error.message
            continue
        changed = difference(transcript, segments)
        kind = "differing" if changed else "equal"
        found[kind if transcript.is_comparable else "sampled"][clip_id] = changed
        if transcript.is_comparable and not changed:
            for theirs, ours in zip(transcript.segments, segments, strict=True):
                times += [abs(ours["start"] - theirs.start), abs(ours["end"] - theirs.end)]
                logprobs.append(abs(ours["sequence_confidence"] - theirs.avg_logprob))
    return {
        **found,
        "equal": len(found["equal"]),
        "max_time_difference_seconds": max(times),
        "max_logprob_difference": max(logprobs),
        "passed": not found["differing"] and not found["failed"],
    }


async def post_all(
    url: str, model: str, clips: Sequence[Clip], batch_size: int, given: argparse.Namespace
) -> dict[str, Reply]:
    """Replies by clip id under the contract options; HTTP errors are replies too."""
    slots = asyncio.Semaphore(given.concurrency)
    progress = tqdm(total=len(clips), desc=f"server {model} batch {batch_size}")

    async def post(clip: Clip, http: httpx.AsyncClient) -> Reply:
        options = contract_options(model, clip.language, batch_size)
        async with slots:
            sent = {**options, "recover": not given.equal}
            reply = await transcribe_async(url, clip.audio_bytes(), sent, http)
        progress.update()
        return reply

    async with httpx.AsyncClient(timeout=TIMEOUT_SECONDS) as http:
        replies = await asyncio.gather(*(post(clip, http) for clip in clips))
    progress.close()
    return {clip.id: reply for clip, reply in zip(clips, replies, strict=True)}


def joined_clips(seconds: float, folder: Path) -> list[Clip]:
    """English clips joined to chunks of about ``seconds``, as files in ``folder``."""
    clips = []
    for number, chunk in enumerate(english_chunks(seconds)):
        path = folder / f"{number}.wav"
        path.write_bytes(chunk.audio)
        digest = hashlib.sha256(chunk.audio).hexdigest()
        text = chunk.text or ""
        clips.append(Clip(chunk.name, path, "en", text, chunk.seconds, "joined", "corpus", digest))
    return clips


def speech_of(given: argparse.Namespace, folder: Path) -> list[Clip]:
    """The clips that the flags select. Raises ``WhisperOxError`` if there are none."""
    if given.chunk_seconds:
        return joined_clips(given.chunk_seconds, folder)
    clips = registry_clips() if given.speech == "registry" else corpus_clips()
    if not clips and given.speech is None:
        clips = registry_clips()
    clips = [
        clip
        for clip in clips
        if (given.equal or clip.is_scored) and (not given.clip or clip.id in given.clip)
    ]
    if not clips:
        raise WhisperOxError("no clip here fits --speech and --clip")
    return clips


def _report(
    model: str, clips: Sequence[Clip], batch_size: int, given: argparse.Namespace, url: str
) -> dict[str, Any]:
    plain = PlainWhisper(model, batch_size).transcripts(clips)
    replies = asyncio.run(post_all(url, model, clips, batch_size, given))
    document: dict[str, Any] = {
        "model": model,
        "batch_size": batch_size,
        "compute_type": COMPUTE_TYPE,
        "options": {**contract_options(model, "", batch_size), "language": "of the clip"},
        "clips": len(clips),
    }
    if given.equal:
        return document | equality(plain, replies)
    heard = {clip_id: reply.text for clip_id, reply in replies.items()}
    rows = language_rows(clips, {i: transcript.text for i, transcript in plain.items()}, heard)
    rates = [
        {"plain_rate": row.plain.rate, "server_rate": row.server.rate, **asdict(row)}
        for row in rows
    ]
    passed = bool(given.chunk_seconds) or within_bar(rows)
    return document | {"normaliser": NORMALISER, "languages": rates, "passed": passed}


def _print(documents: Sequence[Mapping[str, Any]]) -> None:
    for one in documents:
        print(f"\n{one['model']}, batch_size {one['batch_size']}, {one['clips']} clips")
        for row in one.get("languages", ()):
            server, unit = row["server"], ""
            if row["language"] in CHARACTER_LANGUAGES:
                unit = " (characters)"
            print(
                f"{row['language']:<4} {row['n_clips']:>4} clips {server['n_reference']:>6} words, "
                f"plain {row['plain_rate']:>7.2%}, server {row['server_rate']:>7.2%}, S/D/I "
                f"{server['substitutions']}/{server['deletions']}/{server['insertions']}{unit}"
            )
        if "equal" in one:
            print(
                f"{one['equal']} equal, {len(one['differing'])} differing, {len(one['failed'])} "
                f"failed, {len(one['sampled'])} sampled and not comparable; largest difference: "
                f"{one['max_time_difference_seconds']:.4f} s, log-probability "
                f"{one['max_logprob_difference']:.6f}"
            )
            for kind in ("differing", "failed", "sampled"):
                for clip_id, found in one[kind].items():
                    print(f"  {kind:<9} {clip_id}: {found or 'equal'}")


def _measure(given: argparse.Namespace) -> list[dict[str, Any]]:
    servers = dict(given.server)
    documents = []
    with tempfile.TemporaryDirectory(prefix="whisper-ox-speech-") as folder:
        clips = speech_of(given, Path(folder))
        for model in given.model or list(servers) or EVALUATED_MODELS:
            chosen = clips_for(model, clips)
            sizes = given.batch_size or ([1, 8] if given.equal else [8])
            with server_at(servers.get(model), model) as url:
                documents += [_report(model, chosen, size, given, url) for size in sizes]
    for document in documents:
        document["machine"] = machine()
    return documents


def _model_url(text: str) -> tuple[str, str]:
    """Parse ``base=http://127.0.0.1:8000`` for argparse."""
    model, _, url = text.partition("=")
    if model not in EVALUATED_MODELS or not url.startswith(("http://", "https://")):
        known = " or ".join(EVALUATED_MODELS)
        raise argparse.ArgumentTypeError(f"{text!r}: write MODEL=URL, MODEL being {known}")
    return model, url


def main(arguments: list[str] | None = None) -> int:
    """Compare and print; see the module's text for the exit code."""
    parser = tool_parser("bench.accuracy", __doc__)
    parser.add_argument("--equal", action="store_true", help="compare texts to the letter")
    parser.add_argument(
        "--server",
        type=_model_url,
        action="append",
        default=[],
        metavar="MODEL=URL",
        help="a running server of that model; repeatable; without it one is started",
    )
    parser.add_argument(
        "--model",
        choices=EVALUATED_MODELS,
        action="append",
        help="repeatable; default: those of --server, else all",
    )
    parser.add_argument("--batch-size", type=int, action="append", help="repeatable")
    parser.add_argument("--speech", choices=("corpus", "registry"))
    parser.add_argument("--clip", action="append", help="only this clip id; repeatable")
    parser.add_argument("--chunk-seconds", type=float, help="English clips joined to chunks")
    parser.add_argument("--concurrency", type=int, default=8, help="requests in flight")
    given = parser.parse_args(arguments)
    return run_tool(given, _measure, lambda found: all(one["passed"] for one in found), _print)


if __name__ == "__main__":
    sys.exit(main())

"""Whether our server's text equals plain faster-whisper's on every clip.

``python -m loadtest.equality [--server base=http://127.0.0.1:8000] [--output FILE]``: posts the
dev clips of the shared corpus (the registry clips where there is none) concurrently, so that
windows of different requests share batches, and compares segment by segment with plain
faster-whisper under the same options: batch_size 1 is its sequential pipeline with the previous
text, 8 its batched one. Clips where either side falls back to a temperature above 0 are listed
apart: tokens are drawn at random there, so that even two runs of one side differ. Exit code 1 if
any other clip differs or any request fails.
"""

import argparse
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from loadtest.client import Reply
from loadtest.comparison import Comparison, compare
from loadtest.options import clips_for
from loadtest.plain import PlainTranscript, PlainWhisper
from loadtest.replies import server_replies
from loadtest.servers import add_server_arguments, models_asked_for, server_of
from loadtest.speech import Clip, corpus_clips, registry_clips
from loadtest.tool import run_tool, tool_parser
from serve_app.errors import WhisperOxError


@dataclass(frozen=True)
class EqualityReport:
    """Clips of one model and batch size by outcome; ``failed`` maps id to the server's answer."""

    model: str
    batch_size: int
    comparisons: dict[str, Comparison]
    sampled: frozenset[str]
    failed: dict[str, str]

    @property
    def differing(self) -> list[str]:
        """Ids of comparable clips whose text differs."""
        return [
            i for i, c in self.comparisons.items() if not c.text_equal and i not in self.sampled
        ]

    @property
    def passed(self) -> bool:
        """Every request answered, every comparable clip equal."""
        return not self.differing and not self.failed

    def largest(self, difference: str) -> float:
        """Largest ``max_time_difference`` or ``max_logprob_difference`` of comparable clips."""
        values = (
            getattr(c, difference) for i, c in self.comparisons.items() if i not in self.sampled
        )
        return max((value for value in values if value is not None), default=0.0)

    def summary(self) -> dict[str, Any]:
        """The report as JSON values."""
        comparable = [c for i, c in self.comparisons.items() if i not in self.sampled]
        return {
            "model": self.model,
            "batch_size": self.batch_size,
            "clips": len(self.comparisons) + len(self.failed),
            "equal": sum(c.text_equal for c in comparable),
            "differing": {i: self.comparisons[i].diff for i in self.differing},
            "sampled": {i: asdict(self.comparisons[i]) for i in sorted(self.sampled)},
            "failed": self.failed,
            "max_time_difference_seconds": self.largest("max_time_difference"),
            "max_logprob_difference": self.largest("max_logprob_difference"),
            "passed": self.passed,
        }


def equality_report(
    model: str,
    batch_size: int,
    plain: Mapping[str, PlainTranscript],
    replies: Mapping[str, Reply],
) -> EqualityReport:
    """Compare by clip id; a reply that is no transcript counts as failed."""
    comparisons: dict[str, Comparison] = {}
    failed: dict[str, str] = {}
    for clip_id, transcript in plain.items():
        try:
            comparisons[clip_id] = compare(transcript, replies[clip_id].segments)
        except WhisperOxError as error:
            failed[clip_id] = error.message
    sampled = frozenset(i for i in comparisons if not plain[i].is_comparable)
    return EqualityReport(model, batch_size, comparisons, sampled, failed)


def _print(report: EqualityReport) -> None:
    summary = report.summary()
    sampled_equal = sum(c["text_equal"] for c in summary["sampled"].values())
    print(
        f"{report.model}, batch_size {report.batch_size}: {summary['clips']} clips, "
        f"{summary['equal']} equal, {len(report.differing)} differing, "
        f"{len(report.failed)} failed; {len(report.sampled)} sampled above temperature 0 and not "
        f"comparable ({sampled_equal} of them equal); largest difference: times "
        f"{summary['max_time_difference_seconds']:.4f} s, avg_logprob "
        f"{summary['max_logprob_difference']:.6f}"
    )
    for clip_id, diff in summary["differing"].items():
        print(f"  differs {clip_id}: {diff}")
    for clip_id, answer in summary["failed"].items():
        print(f"  failed  {clip_id}: {answer}")
    for clip_id, comparison in summary["sampled"].items():
        print(f"  sampled {clip_id}: {comparison['diff'] or 'equal'}")


def _reports(given: argparse.Namespace, clips: Sequence[Clip]) -> list[EqualityReport]:
    reports = []
    for model in models_asked_for(given):
        chosen = clips_for(model, list(clips))
        sizes = given.batch_size or [1, 8]
        plain = {size: PlainWhisper(model, size).transcripts(chosen) for size in sizes}
        with server_of(model, dict(given.server)) as url:
            for size in sizes:
                replies = server_replies(
                    url,
                    model,
                    chosen,
                    size,
                    concurrency=given.concurrency,
                    api_key=given.api_key,
                    recover=False,
                )
                reports.append(equality_report(model, size, plain[size], replies))
                _print(reports[-1])
    return reports


def _compared(given: argparse.Namespace) -> list[dict[str, Any]]:
    clips = corpus_clips() or registry_clips()
    if given.clip:
        clips = [clip for clip in clips if clip.id in given.clip]
    if not clips:
        raise WhisperOxError("no clip has that id; see manifest.jsonl of the corpus")
    return [report.summary() for report in _reports(given, clips)]


def main(arguments: list[str] | None = None) -> int:
    """Run the comparison from the command line; 0 equal, 1 not, 2 it could not be made."""
    parser = tool_parser("equality", __doc__)
    add_server_arguments(parser)
    parser.add_argument(
        "--batch-size", type=int, action="append", help="repeatable; default: 1 and 8"
    )
    parser.add_argument("--clip", action="append", help="only this clip id; repeatable")
    given = parser.parse_args(arguments)
    return run_tool(given, _compared, lambda document: all(one["passed"] for one in document))


if __name__ == "__main__":
    sys.exit(main())

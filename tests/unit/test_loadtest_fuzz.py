"""The fuzzer itself: what it must notice, for a fuzzer that finds nothing may be blind."""

import asyncio
from collections.abc import Iterator
from pathlib import Path
from random import Random

import pytest

from loadtest.fuzz import campaign as campaigns
from loadtest.fuzz import http
from loadtest.fuzz.__main__ import is_good, main
from loadtest.fuzz.audio_inputs import _with_page_checksums
from loadtest.fuzz.campaign import Campaign, tried
from loadtest.fuzz.mutation import MAX_BYTES, mutate
from loadtest.fuzz.tally import Tally, memory_report
from loadtest.fuzz.target import Target, refused
from serve_app.errors import InvalidAudio, NotReady
from tests.unit.audio_files import compressed
from tests.unit.bad_readers import die_of_small_ones, one_byte, stumble, wait_for_ever


def test_crashes_are_found_and_what_follows_them_is_tried() -> None:
    target = Target("dies", one_byte, die_of_small_ones)
    n_small = sum(target.input(0, number)[0] < 128 for number in range(4))
    campaign = Campaign(target, 0)
    campaign.run(4)
    assert campaign.tally.outcomes == {"crash": n_small, "read": 4 - n_small}
    assert "SIGKILL" in campaign.tally.failures[0].failure


def test_an_input_without_an_answer_is_a_hang() -> None:
    campaign = Campaign(Target("hangs", one_byte, wait_for_ever), 0, hang_seconds=1.0)
    campaign.run(1)
    assert campaign.tally.outcomes == {"hang": 1}


def test_a_bug_is_reported_with_its_input(tmp_path: Path) -> None:
    target = Target("stumbles", one_byte, stumble)
    campaign = Campaign(target, 3, tmp_path)
    campaign.run(2)
    assert campaign.tally.outcomes == {"bug: KeyError": 2}
    assert "KeyError" in campaign.tally.failures[0].failure
    assert (tmp_path / "stumbles-3-1.bin").read_bytes() == target.input(3, 1)


def test_an_input_that_takes_long_is_slow(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(campaigns, "MOST_CPU_SECONDS", -1.0)
    assert tried(lambda payload: "read", b"").outcome == "slow"


def test_a_saved_input_is_tried_again(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "wav-0-0.bin"
    path.write_bytes(b"RIFF")
    assert main(["--target", "wav", "--replay", str(path)]) == 0
    assert "415 unsupported_audio" in capsys.readouterr().out


def test_only_errors_of_the_caller_are_refusals() -> None:
    assert refused(InvalidAudio("It is broken.")) == "400 invalid_audio"
    with pytest.raises(AssertionError):
        refused(NotReady("No model."))


@pytest.mark.parametrize("number", range(50))
def test_mutants_keep_to_their_size(number: int) -> None:
    mutant = mutate(Random(number), bytes(1_000), [b"other"], [b"token"])
    assert len(mutant) <= MAX_BYTES


def test_page_checksums_are_those_of_the_encoder() -> None:
    ogg = compressed("vorbis")
    without = bytearray(ogg)
    without[22:26] = bytes(4)
    assert _with_page_checksums(bytes(without)) == ogg


def test_memory_that_still_grows_at_the_end_is_told_from_memory_that_grew_once() -> None:
    assert memory_report([0, 1, 2, 3, 4], [10, 50, 50, 50, 50])["second_half_growth_mib"] == 0
    assert memory_report([0, 1, 2, 3, 4], [10, 20, 30, 40, 50])["second_half_growth_mib"] == 20


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({}, True),
        ({"failed": 1}, False),
        ({"same_text_after": False}, False),
        ({"memory": {"Ingress": {"peak_mib": 900, "second_half_growth_mib": 200.0}}}, False),
    ],
)
def test_a_run_is_good_only_without_failure_growth_or_damage(
    change: dict[str, object], expected: bool
) -> None:
    run = {"failed": 0, "memory": {"peak_mib": 9, "second_half_growth_mib": 0.1}, **change}
    assert is_good({"targets": {"wav": run}}) is expected


@pytest.fixture
def silence_is_short(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(http, "ANSWER_SECONDS", 0.5)
    monkeypatch.setattr(http, "_MORE_SECONDS", 0.1)
    yield


def outcomes_of(answer: bytes | None) -> Tally:
    """Of twenty broken requests to a server that says ``answer`` and closes; None: says nothing."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1)
        if answer is None:
            await reader.read()
            await asyncio.Event().wait()
        else:
            writer.write(answer)
            writer.close()

    async def fuzz() -> Tally:
        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        return await http.fuzz_server(f"http://127.0.0.1:{port}", 20, seed=0, clients=20)

    return asyncio.run(fuzz())


def test_an_answer_of_the_server_class_is_a_failure() -> None:
    tally = outcomes_of(b"HTTP/1.1 500 Internal Server Error\r\nContent-Length: 0\r\n\r\n")
    assert tally.outcomes["500 (empty)"] == len(tally.failures) > 10


def test_a_refusal_is_told_by_its_code() -> None:
    body = b'{"error": {"code": "no_good"}}'
    tally = outcomes_of(
        b"HTTP/1.1 400 Bad Request\r\nContent-Length: %d\r\n\r\n" % len(body) + body
    )
    assert tally.outcomes["400 no_good"] > 10
    assert not tally.failures


def test_a_whole_request_that_is_not_answered_is_a_failure() -> None:
    tally = outcomes_of(b"")
    assert 0 < len(tally.failures) < tally.outcomes["closed"] == 20


@pytest.mark.usefixtures("silence_is_short")
def test_a_connection_that_neither_answers_nor_ends_is_a_hang() -> None:
    assert outcomes_of(None).outcomes["hang"] == 20

"""API keys: what opens the server, how a keys file is written, and that it is read again."""

import hashlib
import logging
import os
import re
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serve_app.api.edge.key_ring import KeyRing
from serve_app.api.edge.keys_file import NamedKey, parse_keys
from serve_app.errors import InvalidSetting
from serve_app.settings import ApiKey, QuotaSettings

SECRETS = ("sesame", "abracadabra", "shibboleth")
NO_QUOTA = QuotaSettings()


class Clock:
    """Seconds that pass when told to."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def sha256(key: str) -> str:
    return hashlib.sha256(key.encode()).hexdigest()


def parse(text: str, defaults: QuotaSettings = NO_QUOTA) -> tuple[NamedKey, ...]:
    return parse_keys(text.encode(), "keys", defaults)


def ring(key: str | None = None, file: Path | None = None, clock: Clock | None = None) -> KeyRing:
    return KeyRing(ApiKey(key=key or "", keys_file=file), NO_QUOTA, clock or Clock())


def name_of(keys: KeyRing, *sent: str) -> str | None:
    found = keys.find(key.encode() for key in sent)
    return found.name if found else None


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "keys"
    path.write_text("alice sesame\n")
    return path


def test_a_ring_without_keys_and_file_is_open() -> None:
    assert ring().is_open
    assert not ring("sesame").is_open


def test_the_contracts_key_is_called_default() -> None:
    assert name_of(ring("sesame"), "sesame") == "default"


@pytest.mark.parametrize("sent", ["", "sesam", "sesame ", "sesames", "Sesame", sha256("sesame")])
def test_what_is_not_quite_a_key_is_none(sent: str) -> None:
    assert name_of(ring("sesame"), sent) is None


def test_no_part_of_a_digest_is_enough() -> None:
    keys = ring("sesame")
    assert [n for n in range(20_000) if name_of(keys, f"guess {n}")] == []


def test_a_line_feed_that_a_mounted_secret_ends_with_is_not_part_of_the_key() -> None:
    assert name_of(ring("sesame\n"), "sesame") == "default"


def test_a_key_of_spaces_only_is_an_error_and_does_not_open_the_server() -> None:
    with pytest.raises(InvalidSetting, match="only spaces"):
        ring(" \n")


def test_a_header_name_that_nobody_can_send_is_an_error() -> None:
    with pytest.raises(InvalidSetting, match="WHISPER_API_KEY_HEADER"):
        KeyRing(ApiKey(key="sesame", header="X API Key"), NO_QUOTA)


def test_every_key_of_ring_and_file_opens_and_tells_its_name(file: Path) -> None:
    keys = ring("shibboleth", file)
    assert [name_of(keys, secret) for secret in SECRETS] == ["alice", None, "default"]


def test_one_right_key_among_several_sent_is_enough(file: Path) -> None:
    assert name_of(ring(file=file), "wrong", "sesame", "wrong again") == "alice"


def test_a_hashed_key_opens_like_a_plain_one_and_its_hash_does_not() -> None:
    keys = parse(f"alice sesame\nbob sha256:{sha256('abracadabra').upper()}")
    assert [key.digest.hex() for key in keys] == [sha256("sesame"), sha256("abracadabra")]


def test_comments_blank_lines_and_foreign_line_ends_do_not_count() -> None:
    text = "\ufeff# who\r\n\r\n  alice sesame # until May\r\n\t\nbob\tabracadabra"
    assert [key.name for key in parse(text)] == ["alice", "bob"]


def test_a_line_may_set_a_quota_of_its_own_or_lift_the_defaults() -> None:
    text = "a k1\nb k2 concurrent=3\nc k3 concurrent=none audio_seconds_per_minute=0.5"
    defaults = QuotaSettings(concurrent_requests=8, audio_seconds_per_minute=60)
    quotas = [key.quota for key in parse(text, defaults)]
    assert [quota.concurrent_requests for quota in quotas] == [8, 3, None]
    assert [quota.audio_seconds_per_minute for quota in quotas] == [60, 60, 0.5]


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ("sesame", "expected a name, a key"),
        ("bob #sesame", "expected a name, a key"),
        ("b/b sesame", "a name has"),
        (f"{'b' * 65} sesame", "a name has"),
        ("default sesame", "reserved"),
        ("anonymous sesame", "reserved"),
        ("alice sesame", "the name of line 2 again"),
        ("bob shibboleth", "the key of line 2 again"),
        (f"bob sha256:{sha256('shibboleth')}", "the key of line 2 again"),
        ("bob sha256:sesame", "64 hexadecimal digits"),
        (f"bob sha256:{sha256('')}", "hash of an empty key"),
        ("bob open sesame", "word 1 after the key is not an option"),
        ("bob sesame concurrent", "word 1 after the key is not an option"),
        ("bob sesame concurrent=1 sesame=2", "word 2 after the key is not an option"),
        ("bob sesame concurrent=0", "concurrent must be a whole number of at least 1, or none"),
        ("bob sesame concurrent=1.5", "concurrent must be"),
        ("bob sesame concurrent=٣", "concurrent must be"),
        ("bob sesame concurrent=1 concurrent=2", "concurrent is given twice"),
        ("bob sesame audio_seconds_per_minute=inf", "must be a number above 0, or none"),
        ("bob sesame audio_seconds_per_minute=-1", "must be a number above 0"),
        ("bob sesame audio_seconds_per_minute=0", "must be a number above 0"),
        ("bob sesame\udcff", "not UTF-8"),
    ],
)
def test_a_problem_names_its_line_and_quotes_nothing_of_it(line: str, problem: str) -> None:
    content = f"# keys\nalice shibboleth\n\n{line}\n".encode(errors="surrogateescape")
    with pytest.raises(InvalidSetting) as raised:
        parse_keys(content, "keys", NO_QUOTA)
    assert raised.value.message.startswith("keys, line 4: ")
    assert problem in raised.value.message
    assert not any(secret in raised.value.message for secret in SECRETS)


WORDS = st.sampled_from(
    ["alice", "sha256:", "concurrent=", "audio_seconds_per_minute=", "none", "#", " ", "\n", "1e9"]
)


@given(st.lists(WORDS | st.text(max_size=5), max_size=30).map("".join))
def test_any_text_is_keys_or_a_problem_in_one_line(text: str) -> None:
    content = text.encode(errors="surrogatepass")
    try:
        keys = parse_keys(content, "keys", NO_QUOTA)
    except InvalidSetting as error:
        assert re.match(r"keys, line \d+: .+$", error.message)
    else:
        assert len({key.digest for key in keys}) == len({key.name for key in keys}) == len(keys)


def test_the_example_of_the_documentation_is_one() -> None:
    page = (Path(__file__).parents[2] / "docs" / "keys.md").read_text()
    example = page.partition("## The keys file")[2].split("```")[1]
    keys = {key.name: key for key in parse(example, QuotaSettings(concurrent_requests=2))}
    assert keys["ward-7"].digest.hex() == sha256("KEY")
    assert [key.quota.concurrent_requests for key in keys.values()] == [2, 4, 2, None]
    assert keys["archive"].quota.audio_seconds_per_minute == 3600


def test_keys_are_never_printed() -> None:
    (key,) = parse("alice sesame")
    assert "sesame" not in repr(key)
    assert key.digest.hex() not in repr(key)


def test_a_file_of_gigabytes_is_not_read() -> None:
    with pytest.raises(InvalidSetting, match="larger than 1048576 bytes"):
        parse("#" * 2**20 + "\n")


def write_nothing(path: Path) -> None:
    path.write_text("# none yet\n")


def write_garbage(path: Path) -> None:
    path.write_text("alice\n")


def make_directory(path: Path) -> None:
    path.unlink()
    path.mkdir()


def make_pipe(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (Path.unlink, "no such file"),
        (write_garbage, "line 1: expected a name"),
        (make_directory, "is a directory"),
        (make_pipe, "not a file"),
        (write_nothing, "no key in it"),
    ],
)
def test_a_file_that_cannot_be_used_is_an_error_at_the_start(
    file: Path, change: Callable[[Path], None], problem: str
) -> None:
    change(file)
    with pytest.raises(InvalidSetting, match=f"{file}.*WHISPER_API_KEYS_FILE.*{problem}"):
        ring(file=file)


def test_the_key_of_the_environment_may_not_have_a_second_name(file: Path) -> None:
    with pytest.raises(InvalidSetting, match="line 1: the key of WHISPER_API_KEY again"):
        ring("sesame", file)


def test_a_changed_file_is_read_again_after_a_second(file: Path) -> None:
    clock = Clock()
    keys = ring(file=file, clock=clock)
    file.write_text("bob abracadabra concurrent=2\n")
    clock.now += 0.9
    assert [name_of(keys, secret) for secret in SECRETS[:2]] == ["alice", None]
    clock.now += 0.2
    assert [name_of(keys, secret) for secret in SECRETS[:2]] == [None, "bob"]
    bob = keys.find([b"abracadabra"])
    assert bob
    assert bob.quota.concurrent_requests == 2


def test_a_change_that_leaves_size_and_time_as_they_were_is_seen(file: Path) -> None:
    clock = Clock()
    keys = ring(file=file, clock=clock)
    times = file.stat()
    file.write_text("alice shibbo\n")
    os.utime(file, ns=(times.st_atime_ns, times.st_mtime_ns))
    clock.now += 1
    assert (name_of(keys, "sesame"), name_of(keys, "shibbo")) == (None, "alice")


def test_a_mounted_secret_is_followed_through_its_swapped_links(tmp_path: Path) -> None:
    for version, line in (("v1", "alice sesame\n"), ("v2", "alice shibbo\n")):
        (tmp_path / version).mkdir()
        (tmp_path / version / "keys").write_text(line)
    (tmp_path / "..data").symlink_to("v1")
    (tmp_path / "keys").symlink_to("..data/keys")
    clock = Clock()
    keys = ring(file=tmp_path / "keys", clock=clock)
    (tmp_path / "..next").symlink_to("v2")
    (tmp_path / "..next").rename(tmp_path / "..data")
    clock.now += 1
    assert (name_of(keys, "sesame"), name_of(keys, "shibbo")) == (None, "alice")


def test_a_file_that_loses_its_last_key_closes_the_server(file: Path) -> None:
    clock = Clock()
    keys = ring(file=file, clock=clock)
    write_nothing(file)
    clock.now += 1
    assert name_of(keys, "sesame") is None
    assert not keys.is_open


@pytest.mark.parametrize("change", [Path.unlink, write_garbage, make_directory, make_pipe])
def test_a_file_that_breaks_leaves_the_keys_valid_and_is_logged_once_without_them(
    file: Path, change: Callable[[Path], None], caplog: pytest.LogCaptureFixture
) -> None:
    clock = Clock()
    keys = ring(file=file, clock=clock)
    change(file)
    for _ in range(3):
        clock.now += 1
        assert name_of(keys, "sesame") == "alice"
    assert [record.levelno for record in caplog.records] == [logging.ERROR]
    assert str(file) in caplog.text
    assert not any(secret in caplog.text for secret in SECRETS)


def test_a_mended_file_is_read_even_if_it_is_the_old_one_again(
    file: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "whisper_ox.keys")
    clock = Clock()
    keys = ring(file=file, clock=clock)
    file.rename(file.with_suffix(".away"))
    clock.now += 1
    assert name_of(keys, "sesame") == "alice"
    file.with_suffix(".away").rename(file)
    clock.now += 1
    assert name_of(keys, "sesame") == "alice"
    assert [record.levelname for record in caplog.records] == ["ERROR", "INFO"]

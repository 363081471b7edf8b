"""Multipart forms: what is read from them, and how little memory a hostile one gets."""

import asyncio
import time
import tracemalloc
from collections.abc import Callable, Iterable
from typing import Any

import pytest
from starlette.requests import Request
from starlette.types import Message

from serve_app.api.sources import form as source
from serve_app.api.sources.form import (
    HEAD_BYTES,
    MAX_FIELD_BYTES,
    MAX_FIELDS,
    MAX_FIELDS_BYTES,
    MAX_FILES,
    MAX_FRAMING_BYTES,
    PIECE_BYTES,
    Form,
    read_form,
)
from serve_app.api.sources.form_values import form_values
from serve_app.errors import FormTooLarge, InvalidRequest, UnsupportedAudio, UnsupportedEncoding

MEBIBYTE = 2**20


def part(disposition: str, content: bytes, content_type: str | None = None) -> bytes:
    head = f"--x\r\nContent-Disposition: form-data; {disposition}\r\n"
    head += f"Content-Type: {content_type}\r\n" if content_type else ""
    return head.encode() + b"\r\n" + content + b"\r\n"


def file_part(content: bytes, name: str = "file") -> bytes:
    return part(f'name="{name}"; filename="a.wav"', content)


def field_part(name: str, value: bytes) -> bytes:
    return part(f'name="{name}"', value)


def read(
    pieces: Iterable[bytes],
    *,
    content_type: str = "multipart/form-data; boundary=x",
    on_head: Callable[[memoryview], None] | None = None,
    field_bytes: int = MAX_FIELD_BYTES,
    **more: Any,
) -> Form:
    return asyncio.run(
        read_form(request(pieces, content_type), on_head or ignore, field_bytes, **more)
    )


def request(
    pieces: Iterable[bytes], content_type: str = "multipart/form-data; boundary=x"
) -> Request:
    source = iter(pieces)

    async def receive() -> Message:
        piece = next(source, None)
        return {"type": "http.request", "body": piece or b"", "more_body": piece is not None}

    scope = {"type": "http", "headers": [(b"content-type", content_type.encode())]}
    return Request(scope, receive)


def ignore(head: memoryview) -> None:
    """Of a file: nothing is wrong with it."""


def form(*parts: bytes, step: int = 10_000, field_bytes: int = MAX_FIELD_BYTES) -> Form:
    body = b"".join(parts) + b"--x--\r\n"
    return read((body[n : n + step] for n in range(0, len(body), step)), field_bytes=field_bytes)


@pytest.mark.parametrize("step", [1, 2, 3, 7, 64, 10_000])
def test_a_form_reads_alike_however_it_is_cut(step: int) -> None:
    audio = b"\r\n--y\r\n-\r\n--\r\n" + bytes(range(256))
    whole = form(file_part(audio), field_part("generate_kwargs", b"{}"), step=step)
    assert bytes(whole.audio()) == audio
    assert whole.texts() == [("generate_kwargs", "{}")]


@pytest.mark.parametrize("kind", ["audio/wav", "Audio/X-WAV", "application/octet-stream"])
def test_audio_without_a_file_name_is_a_file(kind: str) -> None:
    assert bytes(form(part('name="file"', b"sound", kind)).audio()) == b"sound"


def test_a_part_named_file_is_the_audio_without_a_file_name_or_type() -> None:
    assert bytes(form(field_part("file", b"sound")).audio()) == b"sound"


def test_audio_as_a_text_field_is_told_so() -> None:
    with pytest.raises(InvalidRequest, match="it needs a file name"):
        form(field_part("audio", b"sound")).audio()


@pytest.mark.parametrize("kind", ["application/json", "application/octet-stream", "audio/wav"])
def test_a_text_that_comes_as_a_file_is_a_text(kind: str) -> None:
    blob = part('name="options"; filename="blob"', b"{}", kind)
    read_as = read([blob + file_part(b"sound", "audio") + b"--x--\r\n"], text_names={"options"})
    assert read_as.texts() == [("options", "{}")]
    assert bytes(read_as.audio()) == b"sound"


def test_files_besides_the_audio_are_known() -> None:
    whole = form(file_part(b"1", "cover"), file_part(b"2"), file_part(b"3", "option"))
    assert (bytes(whole.audio()), whole.unread_files()) == (b"2", ["cover", "option"])


@pytest.mark.parametrize("header", ["Content-Transfer-Encoding", "Content-Encoding"])
def test_an_encoded_part_is_refused_with_its_encoding(header: str) -> None:
    with pytest.raises(UnsupportedEncoding, match=f"'file' has the {header} 'base64'") as caught:
        form(file_part(b"UklGRg==").replace(b"\r\n\r\n", f"\r\n{header}: BASE64\r\n\r\n".encode()))
    assert (caught.value.field, caught.value.status) == ("file", 415)


@pytest.mark.parametrize("encoding", [b"binary", b"8bit", b"7bit", b"identity"])
def test_a_part_whose_encoding_changes_nothing_is_taken(encoding: bytes) -> None:
    head = b"\r\nContent-Transfer-Encoding: " + encoding
    assert bytes(form(file_part(b"x").replace(b"\r\n\r\n", head + b"\r\n\r\n")).audio()) == b"x"


def test_a_field_that_is_not_utf_8_is_latin_1() -> None:
    read_as = form(field_part("a", b"caf\xe9"), field_part("b", "café".encode()))
    assert read_as.texts() == [("a", "café"), ("b", "café")]


@pytest.mark.parametrize(
    ("body", "problem"),
    [
        (b"no form at all", "boundary"),
        (field_part("a", b"1"), "ends before its closing boundary"),
        (b"", "ends before its closing boundary"),
        (b"--x\r\nX: y\r\n\r\n1\r\n--x--\r\n", "no name"),
        (b"--x\r\n" + b"X: y\r\n" * 9 + b"\r\n1\r\n--x--\r\n", "header count"),
        (b"--x\r\nX: " + b"y" * 5_000 + b"\r\n\r\n1\r\n--x--\r\n", "header size"),
    ],
)
def test_a_broken_body_is_refused_with_what_is_wrong(body: bytes, problem: str) -> None:
    with pytest.raises(InvalidRequest, match=problem) as caught:
        read([body])
    assert (caught.value.code, caught.value.status) == ("broken_multipart", 400)


@pytest.mark.parametrize("boundary", ["", "; boundary=", f"; boundary={'b' * 300}"])
def test_a_missing_or_overlong_boundary_is_refused(boundary: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        read([b"--x--"], content_type=f"multipart/form-data{boundary}")
    assert caught.value.code == "broken_multipart"


def test_a_field_over_its_bound_is_named() -> None:
    with pytest.raises(FormTooLarge) as caught:
        form(field_part("options", b"y" * 5_001), field_bytes=5_000)
    assert (caught.value.field, caught.value.status) == ("options", 413)
    assert "5000 bytes" in caught.value.message


def test_a_field_up_to_its_bound_is_taken() -> None:
    size = MAX_FIELDS_BYTES + 1
    assert form(field_part("a", b"y" * size), field_bytes=size).texts() == [("a", "y" * size)]


@pytest.mark.parametrize(
    "parts",
    [
        [field_part("a", b"y" * (MAX_FIELD_BYTES + 1))],
        [field_part("a", b"y" * MAX_FIELD_BYTES)] * (MAX_FIELDS_BYTES // MAX_FIELD_BYTES + 1),
        [field_part("a", b"")] * (MAX_FIELDS + 1),
        [file_part(b"")] * (MAX_FILES + 1),
        [file_part(b"\r\n--xA" * (MAX_FILES + MAX_FIELDS))],
    ],
    ids=["one-field", "all-fields", "many-fields", "many-files", "false-ends"],
)
def test_a_form_that_is_too_large_is_refused(parts: list[bytes]) -> None:
    with pytest.raises(FormTooLarge) as caught:
        form(*parts)
    assert (caught.value.code, caught.value.status) == ("form_too_large", 413)


def test_a_form_may_have_as_many_parts_as_it_may() -> None:
    whole = form(*[file_part(b"")] * MAX_FILES, *[field_part("a", b"")] * MAX_FIELDS)
    assert (len(whole.files), len(whole.fields)) == (MAX_FILES, MAX_FIELDS)


def test_the_parts_may_have_verbose_headers() -> None:
    head = 'name="keyterms"\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Length: 5'
    assert len(form(file_part(b""), *[part(head, b"Basel")] * 1_000).fields) == 1_000


@pytest.mark.parametrize("name", ["a[]", "a[{}]"])
def test_values_of_one_field_are_gathered_in_linear_time(name: str) -> None:
    names = [name.format(number) for number in range(60_000)]
    fields = Form(fields=[(one, bytearray(b"1")) for one in names])
    began = time.thread_time()
    assert len(form_values(fields)["a"]) == 60_000
    assert time.thread_time() - began < 1.0


def test_a_flood_of_text_takes_little_memory() -> None:
    flood = (field_part("a", b"y" * 60_000) for _ in range(10_000))
    tracemalloc.start()
    with pytest.raises(FormTooLarge):
        read(flood)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 4 * MAX_FIELDS_BYTES


SPACED_HEADERS = b"--x\r\n" + (b"X:" + b" " * 4_000 + b"y\r\n") * 7
SPACED_HEADERS += b'Content-Disposition: form-data; name="a"\r\n\r\n\r\n'


@pytest.mark.parametrize(
    ("start", "unit"),
    [(file_part(b"") + b"--x", b" "), (b"", b"\r\n"), (b"", SPACED_HEADERS)],
    ids=["after-a-boundary", "before-the-form", "in-headers"],
)
def test_padding_is_parsed_only_up_to_its_bound(start: bytes, unit: bytes) -> None:
    body = start + unit * (20 * MEBIBYTE // len(unit))
    parsed = 0

    def coming() -> Iterable[bytes]:
        nonlocal parsed
        for place in range(0, len(body), PIECE_BYTES):
            yield body[place : place + PIECE_BYTES]
            parsed = place + PIECE_BYTES

    with pytest.raises(FormTooLarge, match="boundaries and part headers"):
        read(coming())
    assert parsed <= MAX_FRAMING_BYTES + 2 * PIECE_BYTES


def test_padding_is_bounded_inside_one_large_piece() -> None:
    with pytest.raises(FormTooLarge, match="boundaries and part headers"):
        read([file_part(b"") + b"--x" + b" " * MEBIBYTE])


def test_others_have_their_turn_while_a_form_is_parsed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(source, "TURN_SECONDS", 0.0)  # every piece takes longer, on any machine
    turns = 0

    async def others() -> None:
        nonlocal turns
        while True:
            await asyncio.sleep(0)
            turns += 1

    async def both() -> None:
        other = asyncio.create_task(others())
        await read_form(request([file_part(b"\r\n--y" * 4 * MEBIBYTE), b"--x--\r\n"]), ignore)
        other.cancel()

    asyncio.run(both())
    assert turns >= 4 * MEBIBYTE * len(b"\r\n--y") // source.PIECE_BYTES


def test_an_epilogue_takes_no_memory() -> None:
    tracemalloc.start()
    read([file_part(b"sound"), b"--x--\r\n", *[b"y" * MEBIBYTE] * 50])
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 4 * MEBIBYTE


def test_audio_is_held_once() -> None:
    size, piece = 64 * MEBIBYTE, bytes(MEBIBYTE)
    head, end = file_part(b"").removesuffix(b"\r\n"), b"\r\n--x--\r\n"
    tracemalloc.start()
    audio = read([head, *[piece] * 64, end]).audio()
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert len(audio) == size
    assert peak < 1.3 * size


def test_a_file_is_looked_at_while_it_comes() -> None:
    seen: list[int] = []

    def refuse(head: memoryview) -> None:
        raise UnsupportedAudio(f"{len(head)} bytes that are no audio")

    def coming() -> Iterable[bytes]:
        yield file_part(b"y" * HEAD_BYTES).removesuffix(b"\r\n")
        for number in range(100):
            seen.append(number)
            yield b"y" * 1_000

    with pytest.raises(UnsupportedAudio, match=f"{HEAD_BYTES} bytes"):
        read(coming(), on_head=refuse)
    assert len(seen) <= 1


def test_what_came_before_a_file_is_known_when_the_file_begins() -> None:
    seen: list[list[tuple[str, str]]] = []

    def coming() -> Iterable[bytes]:
        yield field_part("a", b"1") + file_part(b"y").removesuffix(b"\r\n")
        assert seen == [[("a", "1")]]
        yield b"\r\n" + field_part("b", b"2") + b"--x--\r\n"

    read(coming(), on_file=lambda begun: seen.append(begun.texts()))
    assert len(seen) == 1


def test_only_the_audio_is_looked_at() -> None:
    heads: list[bytes] = []
    body = field_part("a", b"y" * 20_000) + file_part(b"y" * 20_000, "other")
    body += file_part(b"z" * 20_000) + b"--x--\r\n"
    read([body], on_head=lambda head: heads.append(bytes(head)))
    assert heads == [b"z" * HEAD_BYTES]

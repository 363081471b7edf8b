"""Multipart forms, read into memory: audio never touches a disk and is held only once.

The format is RFC 7578. python-multipart itself bounds a part's headers to 8 lines of 4 KiB, and a
boundary to 256 bytes.
"""

import asyncio
import logging
import time
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header
from starlette.requests import ClientDisconnect, Request

from serve_app.errors import FormTooLarge, InvalidRequest, UnsupportedEncoding

if TYPE_CHECKING:
    from python_multipart.multipart import MultipartCallbacks

FILE_FIELD = "file"
MAX_FILES = 4
MAX_FIELDS = 1_100
"""ElevenLabs' clients send up to 1,000 key terms, each as a part of its own."""

MAX_FIELD_BYTES = 256 * 1024
MAX_FIELDS_BYTES = 1024 * 1024
"""Most bytes of all text fields together, names included, apart from one of the longest."""

MAX_FRAMING_BYTES = 256 * 1024
"""Most bytes of all boundaries and part headers together: enough for a thousand parts with several
headers each. python-multipart reads some of them byte by byte: the spaces after a boundary take
0.25 us each, semicolons in a header 0.8 us. A byte of audio takes 2 ns."""

PIECE_BYTES = 16 * 1024
"""Most bytes that are parsed without a look at the time. This takes 16 ms at most."""

TURN_SECONDS = 0.005
"""Seconds of parsing after which other requests have their turn on the event loop."""

HEAD_BYTES = 16 * 1024
"""Bytes of a file that ``on_head`` sees: enough for any header and for three frames of MPEG
audio."""

_SHOWN_NAME = 40

_PLAIN_ENCODINGS = frozenset({b"", b"identity", b"binary", b"8bit", b"7bit"})
"""Encodings of a part that leave its bytes as they are."""

# It would log a line for each broken body, which the access log and the answer tell already.
logging.getLogger("python_multipart").setLevel(logging.ERROR)


# No repr: asyncio prints the results of tasks, and a printed file takes ten times its size.
@dataclass(repr=False)
class Form:
    """The file parts and text fields of one form: names and raw bytes, in order.

    A protocol reports :meth:`unread_files`, and text fields that it does not know, to its caller.
    """

    files: list[tuple[str, bytearray]] = field(default_factory=list)
    fields: list[tuple[str, bytearray]] = field(default_factory=list)

    def audio(self) -> bytearray:
        """The part named ``file``, or else the only file part, whatever its name.

        Raises ``InvalidRequest`` if there is none, or if several could be meant.
        """
        named = [content for name, content in self.files if name == FILE_FIELD]
        candidates = named or [content for _, content in self.files]
        if len(candidates) == 1:
            return candidates[0]
        found = ", ".join(_shown(name) for name, _ in self.files) or "none"
        hint = "Under another name it needs a file name. " if self.fields else ""
        raise InvalidRequest(
            f"The form needs one file part with the audio, named {FILE_FIELD!r}; file parts "
            f"found: {found}. {hint}Example: curl -F file=@speech.wav URL",
            code="missing_file" if not candidates else "ambiguous_file",
            field=FILE_FIELD,
        )

    def unread_files(self) -> list[str]:
        """The names of all file parts except the audio. Raises as :meth:`audio` does."""
        audio = self.audio()
        return [name for name, content in self.files if content is not audio]

    def texts(self) -> list[tuple[str, str]]:
        """The names and values of all text fields, in order."""
        return [(name, _text(value)) for name, value in self.fields]


async def read_form(
    request: Request,
    on_head: Callable[[memoryview], None],
    field_bytes: int = MAX_FIELD_BYTES,
    *,
    text_names: Collection[str] = (),
    file_name: str = FILE_FIELD,
    on_file: Callable[[Form], object] | None = None,
) -> Form:
    """Read a multipart body.

    A part named ``file_name`` is a file, and one named in ``text_names`` is a text field, whatever
    its headers say; any other is a file if it has a file name or a type of audio or bytes.

    ``on_file`` gets the form as it is when a file part begins, and ``on_head`` the first
    ``HEAD_BYTES`` of the part named ``file_name`` while the rest of it is still on its way; what
    they raise ends the upload. A text field may have ``field_bytes``.

    Raises ``InvalidRequest`` if the body is not a form or is broken, ``UnsupportedEncoding`` for an
    encoded part, and ``FormTooLarge`` if there are too many parts, or if a text field or all that
    is not content is too long.
    """
    content_type = request.headers.get("content-type", "")
    if not content_type.lower().startswith("multipart/form-data"):
        raise InvalidRequest(
            f"The body must be multipart/form-data, not {content_type[:80] or 'untyped'!r}. "
            "Example: curl -F file=@speech.wav URL",
            code="not_multipart",
            status=415,
        )
    boundary = parse_options_header(content_type)[1].get(b"boundary")
    if not boundary:
        raise _broken("its Content-Type names no boundary")
    parts = _Parts(
        boundary, field_bytes, on_head, text_names=text_names, file_name=file_name, on_file=on_file
    )
    try:
        parser = MultipartParser(boundary, parts.callbacks())
        began = time.perf_counter()
        async for chunk in request.stream():
            for start in range(0, len(chunk), PIECE_BYTES):
                if parts.is_complete:
                    break  # an epilogue is ignored
                piece = chunk[start : start + PIECE_BYTES]
                parts.expect(piece)
                parser.write(piece)
                if time.perf_counter() - began > TURN_SECONDS:
                    await asyncio.sleep(0)
                    began = time.perf_counter()
    except FormParserError as error:
        raise _broken(str(error)) from error
    except ClientDisconnect as error:
        raise InvalidRequest(
            "The connection closed before the whole body came.", code="incomplete_body"
        ) from error
    if not parts.is_complete:
        raise _broken("it ends before its closing boundary")
    return parts.form


class _Parts:
    """The parts that python-multipart's callbacks have collected so far."""

    def __init__(
        self,
        boundary: bytes,
        field_bytes: int,
        on_head: Callable[[memoryview], None],
        *,
        text_names: Collection[str],
        file_name: str,
        on_file: Callable[[Form], object] | None,
    ) -> None:
        self._delimiter = b"\r\n--" + boundary
        self._field_bytes = field_bytes
        self._on_head = on_head
        self._text_names = text_names
        self._file_name = file_name
        self._on_file = on_file
        self._most_fields_bytes = MAX_FIELDS_BYTES + field_bytes
        self._n_fields_bytes = 0
        self._n_framing_bytes = 0
        self._n_delimiters = 0
        self.form = Form()
        self.is_complete = False
        self._begin()

    def callbacks(self) -> "MultipartCallbacks":
        return {
            "on_part_begin": self._begin,
            "on_header_field": self._header_name_goes_on,
            "on_header_value": self._header_value_goes_on,
            "on_header_end": self._header_ends,
            "on_headers_finished": self._open,
            "on_part_data": self._goes_on,
            "on_end": self._end,
        }

    def expect(self, piece: bytes) -> None:
        """Raise ``FormTooLarge`` if the parser would need too long for these bytes."""
        if self._n_framing_bytes > MAX_FRAMING_BYTES:
            raise FormTooLarge(
                f"The form has more than {MAX_FRAMING_BYTES} bytes of boundaries and part headers, "
                "the most it may have."
            )
        self._n_framing_bytes += len(piece)  # until the parser finds content in it
        # Bytes that only look like a delimiter take the parser 150 times as long as audio.
        self._n_delimiters += piece.count(self._delimiter)
        if self._n_delimiters > MAX_FILES + MAX_FIELDS:
            raise FormTooLarge(
                f"The form has more than {MAX_FILES + MAX_FIELDS} parts, the most it may have."
            )

    def _begin(self) -> None:
        self._header_name, self._header_value = b"", b""
        self._headers: dict[bytes, bytes] = {}
        self._name, self._content = "", bytearray()
        self._is_file = False

    def _header_name_goes_on(self, chunk: bytes, start: int, end: int) -> None:
        self._header_name += chunk[start:end]

    def _header_value_goes_on(self, chunk: bytes, start: int, end: int) -> None:
        self._header_value += chunk[start:end]

    def _header_ends(self) -> None:
        self._headers[self._header_name.lower()] = self._header_value
        self._header_name, self._header_value = b"", b""

    def _open(self) -> None:
        """The part's headers are complete: decide whether it is a file or a text field."""
        _, options = parse_options_header(self._headers.get(b"content-disposition"))
        if b"name" not in options:
            raise _broken("a part has no name in its Content-Disposition")
        self._name = _text(options[b"name"])
        self._check_encoding()
        kind = self._headers.get(b"content-type", b"").lower()
        is_binary = kind.startswith((b"audio/", b"application/octet-stream"))
        looks_like_file = self._name == self._file_name or b"filename" in options or is_binary
        self._is_file = looks_like_file and self._name not in self._text_names
        files, fields = self.form.files, self.form.fields
        kept, most = (files, MAX_FILES) if self._is_file else (fields, MAX_FIELDS)
        if len(kept) >= most:
            raise FormTooLarge(
                f"The form has more than {most} {'file parts' if self._is_file else 'fields'}, "
                "the most it may have."
            )
        if self._is_file and self._on_file is not None:
            self._on_file(self.form)
        kept.append((self._name, self._content))
        if not self._is_file:
            self._count(len(self._name))

    def _check_encoding(self) -> None:
        # RFC 7578 knows neither; programs that build forms as e-mail send base64.
        for header in (b"content-encoding", b"content-transfer-encoding"):
            encoding = self._headers.get(header, b"").strip().lower()
            if encoding not in _PLAIN_ENCODINGS:
                raise UnsupportedEncoding(
                    f"The part {_shown(self._name)} has the {header.decode().title()} "
                    f"{_shown(_text(encoding))}; send its bytes as they are.",
                    field=self._name[:_SHOWN_NAME],
                )

    def _goes_on(self, chunk: bytes, start: int, end: int) -> None:
        self._n_framing_bytes -= end - start
        had = len(self._content)
        if not self._is_file:
            self._count(end - start)
            if had + end - start > self._field_bytes:
                raise FormTooLarge(
                    f"The field {_shown(self._name)} is longer than {self._field_bytes} bytes, the "
                    "most it may have.",
                    field=self._name[:_SHOWN_NAME],
                )
        self._content += memoryview(chunk)[start:end]
        has = len(self._content)
        if had < HEAD_BYTES <= has and self._is_file and self._name == self._file_name:
            self._on_head(memoryview(bytes(self._content[:HEAD_BYTES])))

    def _count(self, n_bytes: int) -> None:
        self._n_fields_bytes += n_bytes
        if self._n_fields_bytes > self._most_fields_bytes:
            raise FormTooLarge(
                f"The form's text fields have more than {self._most_fields_bytes} bytes together, "
                "the most they may have. Send audio as a file part, with a file name."
            )

    def _end(self) -> None:
        self.is_complete = True


def _text(raw: bytes | bytearray) -> str:
    """Decode UTF-8, as in RFC 7578. Anything else is read as Latin-1, as Starlette does."""
    try:
        return raw.decode()
    except UnicodeDecodeError:
        return raw.decode("latin-1")


def _shown(name: str) -> str:
    return ascii(name if len(name) <= _SHOWN_NAME else f"{name[:_SHOWN_NAME]}...")


def _broken(detail: str) -> InvalidRequest:
    return InvalidRequest(f"The multipart body is broken: {detail}.", code="broken_multipart")

"""Multipart forms in memory: audio never touches a disk on its way in."""

from collections.abc import AsyncGenerator

from starlette.datastructures import Headers, UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.requests import ClientDisconnect, Request

from serve_app.errors import InvalidRequest

FILE_FIELD = "file"
MAX_FILES = 4
MAX_FIELDS = 64
MAX_FIELD_BYTES = 256 * 1024


class _InMemoryParser(MultiPartParser):
    """Starlette's parser, kept off the disk, that also knows audio parts without a file name."""

    spool_max_size = 0  # SpooledTemporaryFile: 0 never rolls over to a file

    def on_headers_finished(self) -> None:
        part = self._current_part
        disposition = part.content_disposition or b""
        kinds = [value.lower() for name, value in part.item_headers if name == b"content-type"]
        is_binary = any(k.startswith((b"audio/", b"application/octet-stream")) for k in kinds)
        if is_binary and b"filename" not in disposition.lower():
            part.content_disposition = disposition + b'; filename="audio"'
        super().on_headers_finished()


class Form:
    """The parts of one form: ``files`` as bytes and ``fields`` as text, both by name in order."""

    def __init__(self, files: list[tuple[str, bytes]], fields: list[tuple[str, str]]) -> None:
        self.files = files
        self.fields = fields

    def audio(self) -> bytes:
        """The part named ``file``, else the only file part whatever its name.

        Raises ``InvalidRequest`` without one, or where several leave it open which is meant.
        """
        named = [content for name, content in self.files if name == FILE_FIELD]
        candidates = named or [content for _, content in self.files]
        if len(candidates) == 1:
            return candidates[0]
        found = ", ".join(repr(name) for name, _ in self.files) or "none"
        hint = (
            f"{FILE_FIELD!r} came as a text field; send it with a file name. "
            if not self.files and self.field(FILE_FIELD) is not None
            else ""
        )
        raise InvalidRequest(
            f"The form needs one file part with the audio, named {FILE_FIELD!r}; file parts "
            f"found: {found}. {hint}Example: curl -F file=@speech.wav URL",
            code="missing_file" if not candidates else "ambiguous_file",
            field=FILE_FIELD,
        )

    def field(self, name: str) -> str | None:
        """The last value of a text field; None if it did not come."""
        values = [value for key, value in self.fields if key == name]
        return values[-1] if values else None


async def read_form(request: Request) -> Form:
    """Read a multipart body. Raises ``InvalidRequest`` if it is none or is broken."""
    content_type = request.headers.get("content-type", "")
    if not content_type.lower().startswith("multipart/form-data"):
        raise InvalidRequest(
            f"The body must be multipart/form-data, not {content_type[:80] or 'untyped'!r}. "
            "Example: curl -F file=@speech.wav URL",
            code="not_multipart",
            status=415,
        )
    try:
        return await _parse(request.headers, request.stream())
    except (MultiPartException, ValueError) as error:
        detail = getattr(error, "message", str(error))
        raise InvalidRequest(
            f"The multipart body is broken: {detail}", code="broken_multipart"
        ) from error
    except ClientDisconnect as error:
        raise InvalidRequest(
            "The connection closed before the whole body came.", code="incomplete_body"
        ) from error


async def _parse(headers: Headers, stream: AsyncGenerator[bytes, None]) -> Form:
    parser = _InMemoryParser(
        headers,
        stream,
        max_files=MAX_FILES,
        max_fields=MAX_FIELDS,
        max_part_size=MAX_FIELD_BYTES,
    )
    form = await parser.parse()
    files, fields = [], []
    for name, value in form.multi_items():
        if isinstance(value, UploadFile):
            files.append((name, await value.read()))
            await value.close()
        else:
            fields.append((name, value))
    return Form(files, fields)

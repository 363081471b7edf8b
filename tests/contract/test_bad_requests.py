"""Every kind of bad request gets a status, a stable code, the field and what is allowed."""

import gzip
import socket
from typing import Any

import httpx
import pytest

from loadtest.server import Server
from tests.contract.conftest import (
    API_KEY,
    API_KEY_HEADER,
    EXTRA_PATH,
    MAX_BODY_BYTES,
    PAGE_ORIGIN,
)
from tests.contract.wire import post, silence, words_of


def error_of(response: httpx.Response) -> dict[str, Any]:
    """The error body, checked for its shape."""
    error: dict[str, Any] = response.json()["error"]
    assert set(error) == {"code", "message", "field", "request_id"}
    assert error["request_id"] == response.headers["X-Request-ID"]
    assert "Traceback" not in response.text
    return error


@pytest.mark.parametrize(
    ("options", "field", "allowed"),
    [
        ({"language": "klingon"}, "generate_kwargs.language", "en"),
        ({"language": "de"}, "generate_kwargs.language", "null or en"),
        ({"task": "summarise"}, "generate_kwargs.task", "translate"),
        ({"task": "translate"}, "generate_kwargs.task", "knows English only"),
        ({"beam_size": 0}, "generate_kwargs.beam_size", "1"),
        ({"beam_size": "many"}, "generate_kwargs.beam_size", "many"),
        ({"recover": "perhaps"}, "generate_kwargs.recover", "true or false"),
        ({"vad_parameters": {"threshold": 7}}, "generate_kwargs.vad_parameters.threshold", "1"),
        ("{", "generate_kwargs", "JSON"),
        ("[1]", "generate_kwargs", "object"),
    ],
)
def test_a_bad_option_is_named_with_what_is_allowed(
    tiny_en: Server, hello: bytes, options: Any, field: str, allowed: str
) -> None:
    response = post(f"{tiny_en.url}/transcribe", hello, options)
    error = error_of(response)
    assert (response.status_code, error["field"]) == (422, field)
    assert allowed in error["message"]


@pytest.mark.parametrize("seconds", [1.0, 100.0], ids=["inside-the-call", "through-rays-core"])
def test_an_error_of_the_model_process_arrives_whole(tiny_en: Server, seconds: float) -> None:
    response = post(f"{tiny_en.url}/transcribe", silence(seconds), {"language": "de"})
    error = error_of(response)
    assert (response.status_code, error["code"]) == (422, "invalid_option")
    assert error["field"] == "generate_kwargs.language"
    assert error["message"].startswith("generate_kwargs.language: got")


@pytest.mark.parametrize(
    ("audio", "status", "code"),
    [
        (b"", 400, "empty_audio"),
        (b"RIFF", 415, "unsupported_audio"),
        (b"this is no audio at all", 415, "unsupported_audio"),
        (b"\x89PNG\r\n\x1a\n" + bytes(100), 415, "unsupported_audio"),
        (silence(1.0)[:-8_000], 400, "truncated_audio"),
        (b"fLaC" + bytes(64), 400, "invalid_audio"),
    ],
)
def test_what_is_no_audio_is_refused(tiny_en: Server, audio: bytes, status: int, code: str) -> None:
    response = post(f"{tiny_en.url}/transcribe", audio)
    assert (response.status_code, error_of(response)["code"]) == (status, code)


def test_a_request_without_a_file_is_told_how_to_send_one(tiny_en: Server) -> None:
    response = httpx.post(f"{tiny_en.url}/transcribe", files={"generate_kwargs": (None, "{}")})
    error = error_of(response)
    assert (response.status_code, error["code"], error["field"]) == (400, "missing_file", "file")


def test_two_file_parts_of_other_names_are_ambiguous(tiny_en: Server, hello: bytes) -> None:
    files = {"left": ("l.wav", hello), "right": ("r.wav", hello)}
    error = error_of(httpx.post(f"{tiny_en.url}/transcribe", files=files))
    assert error["code"] == "ambiguous_file"
    assert "'left', 'right'" in error["message"]


@pytest.mark.parametrize(
    ("content_type", "status", "code"),
    [
        ("application/json", 415, "not_multipart"),
        ("audio/wav", 415, "not_multipart"),
        ("multipart/form-data", 400, "broken_multipart"),
        ("multipart/form-data; boundary=x", 400, "broken_multipart"),
    ],
)
def test_a_body_that_is_no_form_is_refused(
    tiny_en: Server, hello: bytes, content_type: str, status: int, code: str
) -> None:
    headers = {"Content-Type": content_type}
    response = httpx.post(f"{tiny_en.url}/transcribe", content=hello, headers=headers)
    assert (response.status_code, error_of(response)["code"]) == (status, code)


def test_a_compressed_body_is_told_so(tiny_en: Server, hello: bytes) -> None:
    headers = {"Content-Encoding": "gzip", "Content-Type": "multipart/form-data; boundary=x"}
    body = gzip.compress(hello)
    response = httpx.post(f"{tiny_en.url}/transcribe", content=body, headers=headers)
    error = error_of(response)
    assert (response.status_code, error["code"]) == (415, "unsupported_encoding")
    assert error["field"] == "Content-Encoding"


def test_a_wrong_option_is_answered_before_the_file_after_it_has_come(tiny_en: Server) -> None:
    url = httpx.URL(tiny_en.url)
    begun = (
        b"POST /transcribe HTTP/1.1\r\nHost: x\r\nContent-Length: 9000000\r\n"
        b"Content-Type: multipart/form-data; boundary=x\r\n\r\n"
        b'--x\r\nContent-Disposition: form-data; name="generate_kwargs"\r\n\r\n'
        b'{"beam_size": 0}\r\n--x\r\n'
        b'Content-Disposition: form-data; name="file"; filename="a.wav"\r\n\r\nRIFF'
    )
    with socket.create_connection((url.host, url.port or 80), 10) as connection:
        connection.sendall(begun)
        assert connection.recv(65_536).startswith(b"HTTP/1.1 422 ")


def test_a_page_of_an_allowed_origin_asks_without_a_key_and_reads_why_it_is_refused(
    guarded: Server, hello: bytes
) -> None:
    url, origin = f"{guarded.url}/transcribe", {"Origin": PAGE_ORIGIN}
    asking = {"Access-Control-Request-Method": "POST"}
    preflight = httpx.options(url, headers=origin | asking)
    refused = post(url, hello, headers=origin)
    assert (preflight.status_code, refused.status_code) == (200, 401)
    for answer in (preflight, refused):
        assert answer.headers["Access-Control-Allow-Origin"] == PAGE_ORIGIN


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [
        ("GET", "/nothing-here", 404, "not_found"),
        ("GET", "/transcribe", 405, "method_not_allowed"),
        ("DELETE", "/health", 405, "method_not_allowed"),
    ],
)
def test_framework_errors_have_the_same_shape(
    tiny_en: Server, method: str, path: str, status: int, code: str
) -> None:
    response = httpx.request(method, tiny_en.url + path)
    assert (response.status_code, error_of(response)["code"]) == (status, code)


def test_a_callers_request_id_comes_back(tiny_en: Server) -> None:
    response = post(f"{tiny_en.url}/transcribe", b"", headers={"X-Request-ID": "call-17"})
    assert error_of(response)["request_id"] == "call-17"


@pytest.mark.parametrize("key", [None, "", "wrong", API_KEY + "r", API_KEY[:-1]])
def test_a_wrong_or_missing_key_is_refused(guarded: Server, hello: bytes, key: str | None) -> None:
    headers = {} if key is None else {API_KEY_HEADER: key}
    response = post(f"{guarded.url}/transcribe", hello, headers=headers)
    assert (response.status_code, error_of(response)["code"]) == (401, "unauthorized")


@pytest.mark.parametrize(
    "headers", [{API_KEY_HEADER: API_KEY}, {"Authorization": f"Bearer {API_KEY}"}]
)
@pytest.mark.parametrize("path", ["/transcribe", EXTRA_PATH])
def test_the_key_opens_every_transcription_path(
    guarded: Server, hello: bytes, headers: dict[str, str], path: str
) -> None:
    assert words_of(post(guarded.url + path, hello, headers=headers)) == "hello world"


@pytest.mark.parametrize("path", ["/", "/health", "/readyz"])
def test_status_routes_need_no_key(guarded: Server, path: str) -> None:
    assert httpx.get(guarded.url + path).status_code == 200


def test_strict_options_refuse_unknown_keys(guarded: Server, hello: bytes) -> None:
    headers = {API_KEY_HEADER: API_KEY}
    response = post(f"{guarded.url}/transcribe", hello, {"beam_sise": 5}, headers=headers)
    assert response.status_code == 422
    assert "beam_size" in error_of(response)["message"]


@pytest.mark.parametrize("chunked", [False, True])
def test_a_body_over_the_limit_is_refused(guarded: Server, chunked: bool) -> None:
    body = silence(MAX_BODY_BYTES / 32_000 + 1)
    headers = {API_KEY_HEADER: API_KEY, "Content-Type": "multipart/form-data; boundary=x"}
    head = b'--x\r\nContent-Disposition: form-data; name="file"; filename="a.wav"\r\n\r\n'
    form = head + body + b"\r\n--x--\r\n"
    content = (form[n : n + 65_536] for n in range(0, len(form), 65_536)) if chunked else form
    response = httpx.post(f"{guarded.url}/transcribe", content=content, headers=headers)
    assert (response.status_code, error_of(response)["code"]) == (413, "body_too_large")

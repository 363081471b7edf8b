"""Audio from a caller's URL: from which hosts, over which addresses, and how much of it."""

import asyncio
import contextlib
import datetime
import ssl
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from pydantic import ValidationError

from serve_app.api.sources.form import HEAD_BYTES
from serve_app.api.sources.remote import RemoteAudio, is_public
from serve_app.assets import GOLDEN_CLIP
from serve_app.errors import BodyTooLarge, RemoteAudioRefused, RemoteAudioUnavailable
from serve_app.settings import RemoteSettings

AUDIO = GOLDEN_CLIP.read_bytes()


class FileHost(BaseHTTPRequestHandler):
    """Has a file under ``/speech.wav``, and under ``/moved?`` the place that follows."""

    def do_GET(self) -> None:
        path, _, query = self.path.partition("?")
        if path == "/moved":
            self.send_response(302)
            self.send_header("Location", query)
            self.end_headers()
            return
        if path == "/silent":
            self.rfile.read(1)  # until the client leaves
            return
        self.send_response(404 if path == "/missing" else 200)
        self.end_headers()
        with contextlib.suppress(ConnectionError):
            self.wfile.write(AUDIO)
            while path == "/endless":
                self.wfile.write(AUDIO)

    def log_message(self, format: str, *arguments: object) -> None:
        pass


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    with ThreadingHTTPServer(("127.0.0.1", 0), FileHost) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server.server_port
        server.shutdown()


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A certificate of files.invalid with its key, signed by itself."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "files.invalid")])
    now = datetime.datetime.now(datetime.timezone.utc)
    signed = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("files.invalid")]), False)
        .sign(key, hashes.SHA256())
    )
    path: Path = tmp_path_factory.mktemp("tls") / "certificate.pem"
    plain = serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    pem = serialization.Encoding.PEM
    path.write_bytes(key.private_bytes(pem, *plain) + signed.public_bytes(pem))
    return path


@pytest.fixture
def tls_port(certificate: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[int]:
    """A host whose certificate is trusted."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    with ThreadingHTTPServer(("127.0.0.1", 0), FileHost) as server:
        server.socket = context.wrap_socket(server.socket, server_side=True)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server.server_port
        server.shutdown()


class Names:
    """A name server: each question gets the next of the answers it was given."""

    def __init__(self, *answers: list[str]) -> None:
        self.answers = [*answers]

    async def __call__(self, host: str, port: int) -> list[str]:
        return self.answers.pop(0)


def fetched(
    url: str,
    *allowed: str,
    names: Names | None = None,
    private: bool = True,
    most_bytes: int = 1_000_000,
    seconds: float = 5.0,
) -> tuple[bytes, int, int]:
    """What came, how many bytes were held for it, and how long the head was that was checked."""
    settings = RemoteSettings(
        allowed_hosts=allowed, allow_private_addresses=private, seconds=seconds
    )
    remote = RemoteAudio(settings, most_bytes, *([names] if names else []))
    heads: list[int] = []
    held: list[int] = []
    audio = asyncio.run(remote.fetch(url, lambda head: heads.append(len(head)), held.append))
    return bytes(audio), sum(held), sum(heads)


def test_a_file_of_an_allowed_host_is_fetched_checked_and_accounted_for(port: int) -> None:
    url = f"http://localhost:{port}/speech.wav?signature=1"
    assert fetched(url, f"localhost:{port}") == (AUDIO, len(AUDIO), HEAD_BYTES)


def test_nothing_is_fetched_by_default(port: int) -> None:
    with pytest.raises(RemoteAudioRefused, match=r"remote\.allowed_hosts"):
        fetched(f"http://localhost:{port}/speech.wav")


@pytest.mark.parametrize(
    "url",
    [
        "http://localhost:{port}/speech.wav",
        "http://files.example:{port}/speech.wav",
        "http://files.example.evil/speech.wav",
        "http://evil/speech.wav#files.example",
        "http://files.example@evil/speech.wav",
        "http://xfiles.example/speech.wav",
        "http://example/speech.wav",
        "ftp://files.example/speech.wav",
        "file:///etc/passwd",
        "//files.example/speech.wav",
        "http://[",
        "",
    ],
)
def test_any_other_host_port_or_scheme_is_refused_without_a_question(port: int, url: str) -> None:
    with pytest.raises(RemoteAudioRefused):
        fetched(url.format(port=port), "files.example", "*.example.org", names=Names())


@pytest.mark.parametrize(
    ("url", "is_allowed"),
    [
        ("http://a.example.org/", True),
        ("https://A.B.EXAMPLE.ORG./", True),
        ("http://example.org/", False),
        ("http://a.example.org:8080/", False),
        ("http://a.example.net:8080/", True),
        ("http://a.example.net/", False),
    ],
)
def test_a_star_stands_for_every_host_below(url: str, is_allowed: bool) -> None:
    names = Names(["10.0.0.1"])
    with pytest.raises(RemoteAudioRefused, match="not public" if is_allowed else "allowed_hosts"):
        fetched(url, "*.example.org", "*.example.net:8080", names=names, private=False)


@pytest.mark.parametrize("allowed", ["https://files.example", "files.example/x", "*", "a.*", ""])
def test_what_is_not_a_host_is_no_setting(allowed: str) -> None:
    with pytest.raises(ValidationError):
        RemoteSettings(allowed_hosts=(allowed,))


def test_a_name_with_one_address_that_is_not_public_is_refused(port: int) -> None:
    names = Names(["93.184.216.34", "127.0.0.1"])
    with pytest.raises(RemoteAudioRefused, match="not public"):
        fetched("http://files.example/", "files.example", names=names, private=False)


@pytest.mark.parametrize(
    "address",
    [
        *("127.0.0.1", "10.1.2.3", "172.16.0.1", "192.168.1.1", "169.254.169.254", "100.64.0.1"),
        *("0.0.0.0", "224.0.0.1", "255.255.255.255", "::1", "::", "fe80::1%eth0", "fd00::1"),
        *("::ffff:127.0.0.1", "64:ff9b::a9fe:a9fe", "2002:7f00:1::", "ff0e::1"),
    ],
)
def test_addresses_inside_of_a_network_are_not_public(address: str) -> None:
    assert not is_public(address)


@pytest.mark.parametrize("address", ["93.184.216.34", "2606:2800:220:1::1", "64:ff9b::5db8:d822"])
def test_addresses_of_the_internet_are_public(address: str) -> None:
    assert is_public(address)


def test_the_connection_goes_to_the_address_that_was_checked(port: int) -> None:
    names = Names(["127.0.0.1"])  # a second question would fail
    url = f"http://no-such-name.invalid:{port}/speech.wav"
    assert fetched(url, f"no-such-name.invalid:{port}", names=names)[0] == AUDIO


def test_the_certificate_must_be_that_of_the_name(tls_port: int) -> None:
    url = "https://{}:{}/speech.wav"
    for name, is_theirs in (("files.invalid", True), ("others.invalid", False)):
        told = contextlib.nullcontext() if is_theirs else pytest.raises(RemoteAudioUnavailable)
        with told:
            names = Names(["127.0.0.1"])
            fetched(url.format(name, tls_port), f"{name}:{tls_port}", names=names)


def test_the_next_address_is_tried_where_one_does_not_answer(port: int) -> None:
    names = Names(["127.0.0.2", "127.0.0.1"])
    url = f"http://two.invalid:{port}/speech.wav"
    assert fetched(url, f"two.invalid:{port}", names=names)[0] == AUDIO


def test_a_redirect_is_followed_and_its_name_is_looked_up_again(port: int) -> None:
    names = Names(["127.0.0.1"], ["127.0.0.1"])
    url = f"http://one.invalid:{port}/moved?http://two.invalid:{port}/speech.wav"
    hosts = (f"one.invalid:{port}", f"two.invalid:{port}")
    assert fetched(url, *hosts, names=names)[0] == AUDIO
    assert names.answers == []


@pytest.mark.parametrize("place", ["http://evil.invalid/", "file:///etc/passwd", "http://[", "//"])
def test_a_redirect_to_where_nothing_may_be_fetched_is_refused(port: int, place: str) -> None:
    with pytest.raises((RemoteAudioRefused, RemoteAudioUnavailable)):
        fetched(f"http://localhost:{port}/moved?{place}", f"localhost:{port}")


def test_redirects_come_to_an_end(port: int) -> None:
    url = f"http://localhost:{port}/moved?/moved?/moved?/moved?/moved?/speech.wav"
    with pytest.raises(RemoteAudioUnavailable, match="3 times"):
        fetched(url, f"localhost:{port}")


def test_a_file_that_never_ends_is_too_large(port: int) -> None:
    with pytest.raises(BodyTooLarge, match="200000 bytes"):
        fetched(f"http://localhost:{port}/endless", f"localhost:{port}", most_bytes=200_000)


def test_a_host_that_never_answers_is_given_up(port: int) -> None:
    with pytest.raises(RemoteAudioUnavailable, match=r"0\.2 s"):
        fetched(f"http://localhost:{port}/silent", f"localhost:{port}", seconds=0.2)


def test_the_status_of_a_missing_file_is_told(port: int) -> None:
    with pytest.raises(RemoteAudioUnavailable, match="404"):
        fetched(f"http://localhost:{port}/missing", f"localhost:{port}")


@pytest.mark.parametrize("label", ["no-such-name", "a" * 70])
def test_a_name_without_an_address_is_told(label: str) -> None:
    with pytest.raises(RemoteAudioUnavailable, match="has no address"):
        fetched(f"http://{label}.invalid/", "*.invalid")


def test_a_host_that_is_not_there_is_told(port: int) -> None:
    with pytest.raises(RemoteAudioUnavailable, match="cannot be reached"):
        fetched("http://localhost:1/", "localhost:1")

"""Fetches audio from a URL that the caller sends.

A URL can make a server send requests to others on the caller's behalf (server-side request
forgery). So the operator must have named the host, and every address of the host must be public. A
name is resolved once, and the connection goes to the address that was checked, so that its owner
cannot change it in between (DNS rebinding). All of this applies to each redirect as well.
"""

import asyncio
import ipaddress
import socket
from collections.abc import Awaitable, Callable

import anyio
import httpx

from serve_app.api.sources.raw_body import OnHead, add
from serve_app.audio.limits import Hold
from serve_app.errors import BodyTooLarge, RemoteAudioRefused, RemoteAudioUnavailable
from serve_app.settings import RemoteSettings

MAX_REDIRECTS = 3
MAX_ADDRESSES = 4
"""Most addresses of one name that are tried."""

CONNECT_SECONDS = 5.0
"""Seconds after which the next address is tried."""

PORTS = {"https": 443, "http": 80}

Resolve = Callable[[str, int], Awaitable[list[str]]]
"""The addresses of a host's name and a port. Raises ``OSError``."""

_NAT64 = ipaddress.ip_network("64:ff9b::/96")
"""RFC 6052: the last 32 bits are an IPv4 address, to which a gateway translates."""


async def resolve(host: str, port: int) -> list[str]:
    """See :data:`Resolve`."""
    loop = asyncio.get_running_loop()
    found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return [str(address[0]) for *_, address in found]


class RemoteAudio:
    """Fetches files of at most ``most_bytes`` from the places that ``settings`` allow."""

    def __init__(
        self, settings: RemoteSettings, most_bytes: int, resolve: Resolve = resolve
    ) -> None:
        self._settings = settings
        self._most_bytes = most_bytes
        self._resolve = resolve
        self._tls = httpx.create_ssl_context() if settings.allowed_hosts else False

    async def fetch(self, url: str, on_head: OnHead, hold: Hold) -> bytearray:
        """Fetch the file at ``url``. ``hold`` reserves memory for it.

        Raises ``RemoteAudioRefused`` if fetching is not allowed, ``RemoteAudioUnavailable`` if it
        fails or takes too long, ``BodyTooLarge``, and what ``on_head`` and ``hold`` raise.
        """
        if not self._settings.allowed_hosts:
            raise RemoteAudioRefused(
                "This server fetches no audio from URLs. Send the audio itself as the body, or "
                "have the operator allow its host in the setting remote.allowed_hosts."
            )
        with anyio.move_on_after(self._settings.seconds):
            target = self._parsed(url)
            for _ in range(1 + MAX_REDIRECTS):
                found = await self._ask(target, await self._addresses(target), on_head, hold)
                if isinstance(found, bytearray):
                    return found
                target = found
            raise RemoteAudioUnavailable(f"The URL redirects more than {MAX_REDIRECTS} times.")
        raise RemoteAudioUnavailable(
            f"Fetching the audio took longer than {self._settings.seconds:g} s, the most it may."
        )

    def _parsed(self, url: str | httpx.URL) -> httpx.URL:
        """Raise ``RemoteAudioRefused`` unless this is a URL of an allowed host and port."""
        try:
            parsed = httpx.URL(url)
        except (httpx.InvalidURL, TypeError):
            raise RemoteAudioRefused("url: this is not a URL.") from None
        if parsed.scheme not in PORTS:
            raise RemoteAudioRefused("url: only http:// and https:// are fetched.")
        port = parsed.port or PORTS[parsed.scheme]
        host = _host(parsed)
        names = {f"{host}:{port}"} | ({host} if port == PORTS[parsed.scheme] else set())
        if not any(_matches(names, one) for one in self._settings.allowed_hosts):
            raise RemoteAudioRefused(
                f"url: the host {host[:100]!r} with port {port} is not among those that this "
                "server fetches from; the operator allows them in remote.allowed_hosts."
            )
        return parsed

    async def _addresses(self, url: httpx.URL) -> list[str]:
        """The checked addresses of the host. Raises as :meth:`fetch` does."""
        try:
            found = await self._resolve(_host(url), url.port or PORTS[url.scheme])
        except (OSError, UnicodeError):  # the latter for a part of more than 63 characters
            raise RemoteAudioUnavailable("url: the host's name has no address.") from None
        if not self._settings.allow_private_addresses and not all(map(is_public, found)):
            raise RemoteAudioRefused("url: the host has an address that is not public.")
        return [*dict.fromkeys(found)][:MAX_ADDRESSES]

    async def _ask(
        self, url: httpx.URL, addresses: list[str], on_head: OnHead, hold: Hold
    ) -> bytearray | httpx.URL:
        """The file, or the URL to which it has moved."""
        # The certificate has to be that of the name, although the connection is to an address.
        more = {"sni_hostname": _host(url)}
        headers = {"Host": url.netloc.decode(), "Accept-Encoding": "identity"}
        # A client of its own, since a connection kept for one name must not serve another.
        patience = httpx.Timeout(self._settings.seconds, connect=CONNECT_SECONDS)
        # No proxy of the environment, which would connect to wherever the name leads by then.
        async with httpx.AsyncClient(verify=self._tls, trust_env=False, timeout=patience) as client:
            for address in addresses:
                there = url.copy_with(host=address)
                try:
                    async with client.stream("GET", there, headers=headers, extensions=more) as got:
                        if got.has_redirect_location:
                            return self._parsed(url.join(got.headers["Location"]))
                        return await self._received(got, on_head, hold)
                except (httpx.ConnectError, httpx.ConnectTimeout):
                    continue
                except (httpx.HTTPError, httpx.InvalidURL) as error:
                    reason = type(error).__name__
                    raise RemoteAudioUnavailable(f"url: the host broke off ({reason}).") from None
        raise RemoteAudioUnavailable("url: the host cannot be reached, or its certificate is bad.")

    async def _received(self, got: httpx.Response, on_head: OnHead, hold: Hold) -> bytearray:
        if got.status_code != httpx.codes.OK:
            raise RemoteAudioUnavailable(f"url: the host answered {got.status_code}.")
        audio = bytearray()
        async for chunk in got.aiter_raw():
            if len(audio) + len(chunk) > self._most_bytes:
                raise BodyTooLarge(
                    f"The file behind the URL is larger than {self._most_bytes} bytes, the most "
                    "this server takes."
                )
            hold(len(chunk))
            add(audio, chunk, on_head)
        return audio


def _host(url: httpx.URL) -> str:
    """The host in lower case and ASCII (IDNA), without the dot that ends an absolute name."""
    return url.raw_host.decode().removesuffix(".")


def _matches(names: set[str], allowed: str) -> bool:
    if allowed.startswith("*."):
        return any(name.endswith(allowed[1:]) for name in names)
    return allowed in names


def is_public(address: str) -> bool:
    """Whether an IP address is public, including IPv4 addresses inside IPv6."""
    ip = ipaddress.ip_address(address.partition("%")[0])  # without the interface
    if isinstance(ip, ipaddress.IPv6Address):
        inner = ip.ipv4_mapped or ip.sixtofour
        if ip in _NAT64:
            inner = ipaddress.IPv4Address(ip.packed[-4:])
        if inner is not None:
            return is_public(str(inner))
    return ip.is_global and not ip.is_multicast

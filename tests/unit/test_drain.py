"""Shutting down: running requests finish, new ones are refused, and clients are told in time."""

import asyncio
from collections.abc import Awaitable, Callable

import httpx
from starlette.types import Message, Receive, Scope, Send

from serve_app.api.edge.drain import Drain, DrainStage
from serve_app.api.edge.edge import Edge
from tests.unit.asgi import edge_parts

Scenario = Callable[["Site"], Awaitable[None]]


class Site:
    """An application behind the edge whose POSTs end when they are released."""

    def __init__(self) -> None:
        self.drain = Drain()
        self.released = asyncio.Event()
        self.app = Edge(self._answer, **edge_parts(drain=self.drain))
        self.client = httpx.AsyncClient(
            transport=httpx.ASGITransport(self.app), base_url="http://site"
        )

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["method"] == "POST":
            await self.released.wait()
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"done"})

    async def running(self) -> "asyncio.Task[httpx.Response]":
        """A POST that has arrived."""
        before = self.drain.advance(DrainStage.SERVING).requests
        post = asyncio.create_task(self.client.post("/transcribe"))
        while self.drain.advance(DrainStage.SERVING).requests == before:
            await asyncio.sleep(0)
        return post


def play(scenario: Scenario) -> None:
    async def run() -> None:
        await scenario(Site())

    asyncio.run(run())


def test_a_request_is_in_progress_until_its_answer() -> None:
    async def scenario(site: Site) -> None:
        assert site.drain.advance(DrainStage.SERVING).idle_seconds == float("inf")
        post = await site.running()
        assert site.drain.advance(DrainStage.SERVING).idle_seconds == 0
        site.released.set()
        await post
        assert site.drain.advance(DrainStage.SERVING).requests == 0
        assert site.drain.advance(DrainStage.SERVING).idle_seconds < 60

    play(scenario)


def test_a_closed_server_ends_what_runs_and_refuses_the_rest() -> None:
    async def scenario(site: Site) -> None:
        post = await site.running()
        assert site.drain.advance(DrainStage.CLOSED).requests == 1
        refused = await site.client.post("/transcribe")
        assert (refused.status_code, refused.json()["error"]["code"]) == (503, "not_ready")
        assert int(refused.headers["Retry-After"]) > 0
        site.released.set()
        assert (await post).text == "done"

    play(scenario)


def test_a_leaving_server_says_so_and_still_serves() -> None:
    async def scenario(site: Site) -> None:
        assert (await site.client.get("/readyz")).status_code == 200
        site.drain.advance(DrainStage.LEAVING)
        assert (await site.client.get("/readyz")).status_code == 503
        assert (await site.client.get("/health")).status_code == 200
        site.released.set()
        assert (await site.client.post("/transcribe")).status_code == 200

    play(scenario)


def test_clients_of_a_leaving_server_are_asked_to_connect_anew() -> None:
    async def scenario(site: Site) -> None:
        assert "Connection" not in (await site.client.get("/health")).headers
        for stage in (DrainStage.LEAVING, DrainStage.CLOSED):
            site.drain.advance(stage)
            assert (await site.client.get("/readyz")).headers["Connection"] == "close"

    play(scenario)


def test_a_closed_server_does_not_open_again() -> None:
    async def scenario(site: Site) -> None:
        site.drain.advance(DrainStage.CLOSED)
        site.drain.advance(DrainStage.LEAVING)
        assert (await site.client.post("/transcribe")).status_code == 503

    play(scenario)


def test_a_closed_server_refuses_web_sockets() -> None:
    async def scenario(site: Site) -> None:
        site.drain.advance(DrainStage.CLOSED)
        sent: list[Message] = []

        async def send(message: Message) -> None:
            sent.append(message)

        async def receive() -> Message:
            return {"type": "websocket.connect"}

        scope = {"type": "websocket", "path": "/live", "query_string": b"", "headers": []}
        await site.app(scope, receive, send)
        assert sent == [{"type": "websocket.close", "code": 1013, "reason": "not_ready"}]

    play(scenario)


def test_a_request_whose_client_leaves_is_no_longer_in_progress() -> None:
    async def scenario(site: Site) -> None:
        post = await site.running()
        post.cancel()
        await asyncio.gather(post, return_exceptions=True)
        assert site.drain.advance(DrainStage.CLOSED).requests == 0

    play(scenario)

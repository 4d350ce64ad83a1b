"""The lane in one process with the test: real sockets, real hypercorn and Quart behind it, a scripted model server.

Only the supervisor is a fake at the level of messages (``FakeLink``); leases are kept by the real book.
"""

import itertools
import json
import socket
import ssl
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import trio
from hypercorn.config import Config

from gateway.app import Draining, make_app
from gateway.asgi import Dispatch
from gateway.lane.driver import drive
from gateway.lane.handover import Hypercorn, tls_context
from gateway.lane.lane import Lane
from gateway.lane.reactor import Reactor
from gateway.lane.serve import tick
from gateway.leases import LeaseBook
from gateway.relay import Relay
from gateway.routing import ROUTES
from gateway.serve import Certificate, hypercorn_config
from protocol import catalogue as cat
from protocol.control import Failed, Reply, Verb
from protocol.ids import CallId, LeaseId, ModelId, Refusal
from protocol.lease_calls import LeaseDone
from protocol.messages import Granted, Outcome, Recall, Refused
from tests.support.http import Connection
from tests.support.tls import open_tls, write_certificate

PATIENCE = 10.0
CHAT = "/v1/chat/completions"
ALL_TO_HYPERCORN: ContextVar[bool] = ContextVar("ALL_TO_HYPERCORN", default=False)
"""No request is the lane's own: all take hypercorn's way behind it, and have to end in the same way."""
TLS: ContextVar[bool] = ContextVar("TLS", default=False)
"""Do the lane and its clients speak TLS?"""


class FakeLink:
    """Grants every lease soon, unless told to hold or to refuse; counts what was asked and what is out."""

    def __init__(self, upstream: str, limits: cat.Limits, models: tuple[cat.CatalogueModel, ...]) -> None:
        self.upstream = upstream
        self.catalogue = cat.Catalogue(revision=1, models=models, limits=limits)
        self.hold = False
        self.parkable = True
        self.refuse: Refused | None = None
        self.generation = 1
        self.asked: list[str] = []
        self.callers: list[str] = []
        self.out: set[LeaseId] = set()
        self.waiting: dict[CallId, tuple[str, LeaseDone]] = {}
        self.rows: list[Outcome] = []
        self._numbers = itertools.count()
        self._token = trio.lowlevel.current_trio_token()

    def request_lease(self, name: str, *, caller: str, deadline_in: float | None = None, done: LeaseDone) -> CallId:
        call = CallId(f"i/c/{next(self._numbers)}")
        self.asked.append(name)
        self.callers.append(caller)
        self.waiting[call] = (name, done)
        if not self.hold:
            self._token.run_sync_soon(self.answer, call)
        return call

    def answer(self, call: CallId) -> None:
        """Grant or refuse a call that still waits."""
        waiting = self.waiting.pop(call, None)
        if waiting is None:
            return
        name, done = waiting
        if self.refuse is not None:
            done(self.refuse)
            return
        lease = LeaseId(f"i/L{next(self._numbers)}")
        self.out.add(lease)
        model = next(m.id for m in self.catalogue.models if name == m.id or name in m.aliases)
        done(
            Granted(
                call=call, lease=lease, model=model, generation=self.generation, upstream=self.upstream,
                effective_name=name, parkable=self.parkable, revision=1,
            )
        )  # fmt: skip

    def answer_all(self) -> None:
        """Whoever waits."""
        self.hold = False
        for call in list(self.waiting):
            self.answer(call)

    def cancel(self, call: CallId) -> None:
        self.waiting.pop(call, None)

    def release(self, lease: LeaseId, last_used: int | None = None) -> None:
        self.out.remove(lease)

    def report(self, row: Outcome) -> None:
        self.rows.append(row)

    async def ask(self, verb: Verb) -> Reply:
        return Failed(code=str(Refusal.UNKNOWN_MODEL), text="there is no such model")

    def recall(self, book: LeaseBook, count: int = 1000) -> None:
        """As the supervisor would."""
        book.recall(Recall(model=ModelId("m"), generation=self.generation, count=count))


# ------------------------------------------------------------------ a scripted model server


@dataclass
class Request:
    """What the model server read."""

    line: str
    headers: dict[str, str]
    body: bytes
    raw: bytes


@dataclass
class Server:
    """``handler(connection, request)`` writes what it likes; False: it closes the connection after that."""

    port: int = 0
    accepts: int = 0
    closes: int = 0
    requests: list[Request] = field(default_factory=list)


@dataclass
class Peer:
    """One connection to the scripted server."""

    stream: trio.SocketStream
    server: Server
    buffer: bytes = b""

    async def read(self) -> Request | None:
        """The next request; None at the end."""
        while b"\r\n\r\n" not in self.buffer:
            if not await self._more():
                return None
        head, _, self.buffer = self.buffer.partition(b"\r\n\r\n")
        line, *lines = head.decode("latin-1").split("\r\n")
        headers = {name.lower(): value.strip() for name, _, value in (text.partition(":") for text in lines)}
        length = int(headers.get("content-length", 0))
        while len(self.buffer) < length:
            if not await self._more():
                return None
        body, self.buffer = self.buffer[:length], self.buffer[length:]
        found = Request(line, headers, body, head)
        self.server.requests.append(found)
        return found

    async def _more(self) -> bool:
        try:
            data = await self.stream.receive_some(65536)
        except trio.BrokenResourceError:
            return False
        self.buffer += bytes(data)
        return bool(data)

    async def send(self, data: bytes) -> None:
        await self.stream.send_all(data)

    async def json(self, value: Any, *, extra: bytes = b"") -> None:
        """An ordinary answer."""
        body = json.dumps(value).encode()
        await self.send(
            b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n%bcontent-length: %d\r\n\r\n%b"
            % (extra, len(body), body)
        )

    async def wait_closed(self) -> None:
        """Until the other side has closed."""
        while await self._more():
            pass


Handler = Callable[[Peer, Request], Awaitable[bool | None]]


async def echo(peer: Peer, request: Request) -> bool | None:
    """Says what it got, or streams as many events as the body asks for."""
    body = json.loads(request.body)
    if not body.get("stream"):
        await peer.json({"size": len(request.body), "n": body.get("n"), "model": body["model"]})
        return None
    await peer.send(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n")
    for number in range(body.get("chunks", 3)):
        event = b'data: {"n":%d}\n\n' % number
        await peer.send(b"%x\r\n%b\r\n" % (len(event), event))
    await peer.send(b"e\r\ndata: [DONE]\n\n\r\n0\r\n\r\n")
    return None


# ------------------------------------------------------------------ the whole


@dataclass
class Place:
    """A lane, what is before it and what is behind it."""

    port: int
    lane: Lane
    book: LeaseBook
    link: FakeLink
    server: Server
    nursery: trio.Nursery

    async def wait(self, condition: Callable[[], Any]) -> None:
        """Until it holds; looked at often."""
        with trio.fail_after(PATIENCE):
            while not condition():
                await trio.sleep(0.002)

    def open(self) -> Any:
        """A client's connection."""
        return Connection.open(self.port, tls=TLS.get())

    async def plain(self) -> trio.SocketStream:
        """A connection without TLS, for bytes and for what only a socket can do."""
        return await trio.open_tcp_stream("127.0.0.1", self.port)

    async def raw(self) -> trio.abc.Stream:
        """The same without any knowledge of HTTP."""
        if TLS.get():
            return await open_tls(self.port)
        return await trio.open_tcp_stream("127.0.0.1", self.port)


def settings() -> tuple[Config, ssl.SSLContext | None]:
    """hypercorn's, and the context of TLS, as a worker makes them. The files are read once."""
    with tempfile.TemporaryDirectory() as folder:
        files = [str(file) for file in write_certificate(Path(folder))] if TLS.get() else None
        config = hypercorn_config(Certificate(*files) if files else None)
        return config, tls_context(config)


@asynccontextmanager
async def lane(
    handler: Handler = echo,
    *,
    wire: cat.Limits | None = None,
    keys: tuple[bytes, ...] = (),
    trusted: tuple[str, ...] = (),
    model: cat.CatalogueModel | None = None,
    inner: Any = None,
) -> AsyncIterator[Place]:
    """A worker's whole HTTP side in front of ``handler``; at the end nothing may be left. ``inner``: an ASGI
    application instead of ours, for what is not an inference request."""
    server = Server()

    async def serve(stream: trio.SocketStream) -> None:
        server.accepts += 1
        peer = Peer(stream, server)
        try:
            async with stream:
                while (request := await peer.read()) is not None:
                    if await handler(peer, request) is False:
                        return
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            pass
        finally:
            server.closes += 1

    async with trio.open_nursery() as nursery:
        (listener,) = await nursery.start(
            lambda task_status: trio.serve_tcp(serve, 0, host="127.0.0.1", task_status=task_status)
        )
        server.port = listener.socket.getsockname()[1]
        models = (model or cat.CatalogueModel(id=ModelId("m"), aliases=("alias",)),)
        link = FakeLink(f"http://127.0.0.1:{server.port}", wire or cat.Limits(), models)
        link.catalogue = cat.Catalogue(
            revision=1, models=models, limits=wire or cat.Limits(), key_digests=keys, trusted_proxies=trusted
        )
        book = LeaseBook(link)
        relay = Relay(link, book)
        app = make_app(link, relay, "ipc:///nowhere", Draining())
        app.asgi_app = Dispatch(relay, inner or app.asgi_app)  # type: ignore[method-assign, assignment]
        config, context = settings()
        hypercorn = Hypercorn(app, config)
        await nursery.start(hypercorn.run)
        emptied = trio.Event()
        with socket.create_server(("127.0.0.1", 0)) as front:
            reactor = Reactor()
            made = Lane(
                reactor, front, book, catalogue_now=lambda: link.catalogue, report=link.report, hand=hypercorn.hand,
                emptied=emptied.set, routes={} if ALL_TO_HYPERCORN.get() else ROUTES, tls=context,
            )  # fmt: skip
            nursery.start_soon(drive, reactor)
            nursery.start_soon(tick, made)
            yield Place(front.getsockname()[1], made, book, link, server, nursery)
            made.drain()
            await hypercorn.drain()
            with trio.move_on_after(1.0):
                await emptied.wait()
            made.abort()
            book.drain()
            with trio.move_on_after(PATIENCE):
                # hypercorn's tasks learn of the end of their connections a moment later.
                while link.out or link.waiting:
                    await trio.sleep(0.002)
            assert not made.clients
            assert not made.wheel
            assert not link.out
            assert not link.waiting
            await relay.aclose()
            nursery.cancel_scope.cancel()
    made.aclose()
    reactor.aclose()

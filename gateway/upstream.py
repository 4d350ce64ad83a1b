"""The client side towards model servers: llhttp over trio sockets, with pools.

A pool belongs to one generation of one model, so a restarted server never meets old connections. Everything
that one read returns is handed on as one piece; bodies are never looked into. A reused connection that fails
before the first byte of the answer is retried once on a new one. Called by ``relay.py``.
"""

import contextlib
import ssl
from collections.abc import Sequence
from dataclasses import dataclass, field
from urllib.parse import urlsplit

import httptools
import trio

Headers = Sequence[tuple[bytes, bytes]]

READ = 65536
IDLE = 4.0
"""Seconds that a connection may be idle: uvicorn and llama.cpp close theirs after five."""
MOST_IDLE = 64
"""Idle connections kept for one generation."""
MOST_HEAD = 256 * 1024


class UpstreamError(Exception):
    """The model server could not be reached or broke off.

    ``begun``: after the first byte of its answer; ``reached``: it may have got the request.
    """

    def __init__(self, text: str, *, begun: bool = False, reached: bool = True) -> None:
        super().__init__(text)
        self.begun = begun
        self.reached = reached


class _Parser:
    """Callbacks of llhttp for one response. Class attributes spare httptools ten failed look-ups."""

    on_message_begin = on_url = on_header_complete = on_chunk_header = on_chunk_complete = None

    def __init__(self) -> None:
        self.headers: list[tuple[bytes, bytes]] = []
        self.parts: list[bytes] = []
        self.status = 0
        self.head_done = False
        self.done = False
        self.keep_alive = False
        self._parser = httptools.HttpResponseParser(self)

    def on_status(self, status: bytes) -> None:
        """Nobody needs the phrase."""

    def on_header(self, name: bytes, value: bytes) -> None:
        """One header, or one trailer, which is dropped."""
        if not self.head_done:
            self.headers.append((name, value))

    def on_headers_complete(self) -> None:
        """``should_keep_alive`` says the truth only here."""
        status = self._parser.get_status_code()
        if 100 <= status < 200:
            self.headers.clear()
            return
        self.status = status
        self.head_done = True
        self.keep_alive = self._parser.should_keep_alive()

    def on_body(self, data: bytes) -> None:
        """A piece of the body."""
        self.parts.append(data)

    def on_message_complete(self) -> None:
        """The end of the body, or of an interim answer."""
        if self.head_done:
            self.done = True

    def feed(self, data: bytes) -> None:
        """Parse what one read returned; b"" is the end of the connection."""
        if data:
            self._parser.feed_data(data)
        elif self.head_done and not self._bounded():
            self.done = True
            self.keep_alive = False

    def _bounded(self) -> bool:
        names = {name.lower() for name, _ in self.headers}
        return b"content-length" in names or b"transfer-encoding" in names

    def take(self) -> bytes:
        """The body so far, as one piece."""
        parts, self.parts = self.parts, []
        return parts[0] if len(parts) == 1 else b"".join(parts)


@dataclass(slots=True)
class Connection:
    """One connection to a model server."""

    stream: trio.abc.Stream
    used: bool = False
    idle_since: float = 0.0

    async def aclose(self) -> None:
        """At once, without waiting for the other side."""
        await trio.aclose_forcefully(self.stream)


@dataclass(slots=True)
class Pool:
    """Connections to one generation; the youngest idle one is used first."""

    host: str
    port: int
    tls: ssl.SSLContext | None
    base: str
    connect_timeout: float
    idle: list[Connection] = field(default_factory=list)
    opened: int = 0

    async def take(self, *, fresh: bool = False) -> Connection:
        """An idle connection, or a new one."""
        now = trio.current_time()
        while self.idle and not fresh:
            connection = self.idle.pop()
            if now - connection.idle_since < IDLE:
                return connection
            await connection.aclose()
        return await self._open()

    async def _open(self) -> Connection:
        self.opened += 1
        try:
            with trio.fail_after(self.connect_timeout):
                stream: trio.abc.Stream = await trio.open_tcp_stream(self.host, self.port)
                if self.tls is not None:
                    stream = trio.SSLStream(stream, self.tls, server_hostname=self.host, https_compatible=True)
                    await stream.do_handshake()
        except (OSError, trio.TooSlowError, trio.BrokenResourceError, ssl.SSLError):
            raise UpstreamError("the model server does not accept connections", reached=False) from None
        return Connection(stream)

    async def give_back(self, connection: Connection) -> None:
        """Keep it for the next exchange, if there is room."""
        connection.used = True
        connection.idle_since = trio.current_time()
        self.idle.append(connection)
        stale = [old for old in self.idle if connection.idle_since - old.idle_since >= IDLE]
        stale += self.idle[: max(0, len(self.idle) - len(stale) - MOST_IDLE)]
        self.idle = [kept for kept in self.idle if kept not in stale]
        for old in stale:
            await old.aclose()

    async def aclose(self) -> None:
        """The generation has ended."""
        idle, self.idle = self.idle, []
        for connection in idle:
            await connection.aclose()


class Pools:
    """One pool for each model; a newer generation replaces the older one's."""

    def __init__(self) -> None:
        self._pools: dict[str, tuple[int, str, Pool]] = {}

    async def find(self, model: str, generation: int, upstream: str, connect_timeout: float) -> Pool:
        """The pool of this generation."""
        known = self._pools.get(model)
        if known is not None and known[:2] == (generation, upstream):
            return known[2]
        url = urlsplit(upstream)
        tls = ssl.create_default_context() if url.scheme == "https" else None
        port = url.port or (443 if tls else 80)
        pool = Pool(url.hostname or "localhost", port, tls, url.path.rstrip("/"), connect_timeout)
        if known is None or known[0] <= generation:
            self._pools[model] = (generation, upstream, pool)
            if known is not None:
                await known[2].aclose()
        return pool

    async def aclose(self) -> None:
        """The worker ends."""
        for _, _, pool in self._pools.values():
            await pool.aclose()


class Exchange:
    """One request on one connection. ``open`` sends it and waits for the head; ``piece`` gives the rest. What the
    server does not read at once is sent beside that, in ``nursery``: it may answer before it has read everything."""

    def __init__(
        self, pool: Pool, nursery: trio.Nursery, method: str, target: str, *, headers: Headers, body: bytes
    ) -> None:
        self._pool = pool
        self._nursery = nursery
        self._sending = trio.CancelScope()
        self._sent = False
        self._request = _render(method, pool.base + target, headers, body)
        self._connection: Connection | None = None
        self._parser = _Parser()

    @property
    def status(self) -> int:
        """The status of the answer."""
        return self._parser.status

    @property
    def headers(self) -> list[tuple[bytes, bytes]]:
        """The headers of the answer."""
        return self._parser.headers

    async def open(self) -> None:
        """Send the request and wait for the head of the answer; ``UpstreamError`` if there is none."""
        self._connection = await self._pool.take()
        if await self._try():
            return
        reused = self._connection.used
        await self._drop()
        if reused:
            self._connection = await self._pool.take(fresh=True)
            self._parser = _Parser()
            if await self._try():
                return
        raise UpstreamError("the model server closed the connection without an answer")

    async def _try(self) -> bool:
        """False if the connection ended before the first byte of the answer."""
        connection = self._connection
        assert connection is not None
        self._sent = False
        self._sending = trio.CancelScope()
        self._nursery.start_soon(self._send, connection, self._sending)
        received = 0
        while not self._parser.head_done:
            data = await self._read(connection)
            if not data:
                if received:
                    raise UpstreamError("the model server broke off in the head of its answer", begun=True)
                return False
            received += len(data)
            if received > MOST_HEAD and not self._parser.head_done:
                raise UpstreamError("the head of the model server's answer is too large", begun=True)
        return True

    async def _send(self, connection: Connection, scope: trio.CancelScope) -> None:
        # Where it stops reading, it may have answered; what it said is still there to read.
        with scope, contextlib.suppress(trio.BrokenResourceError, trio.ClosedResourceError):
            await connection.stream.send_all(self._request)
            self._sent = True

    async def _read(self, connection: Connection) -> bytes:
        try:
            data = bytes(await connection.stream.receive_some(READ))
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            data = b""
        try:
            self._parser.feed(data)
        except httptools.HttpParserError as error:
            raise UpstreamError(f"the model server's answer is not HTTP: {error}", begun=True) from None
        return data

    async def piece(self) -> bytes:
        """What the next read brought of the body; b"" at its end; ``UpstreamError`` if it ends too early."""
        connection = self._connection
        assert connection is not None
        while True:
            piece = self._parser.take()
            if piece or self._parser.done:
                return piece
            if not await self._read(connection) and not self._parser.done:
                raise UpstreamError("the model server broke off in the middle of its answer", begun=True)

    async def aclose(self) -> None:
        """The one end: the connection goes back to its pool if the exchange was complete, else it is closed."""
        connection, self._connection = self._connection, None
        if connection is None:
            return
        self._sending.cancel()
        if self._parser.done and self._parser.keep_alive and self._sent:
            await self._pool.give_back(connection)
        else:
            await connection.aclose()

    async def _drop(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            await connection.aclose()


def _render(method: str, target: str, headers: Headers, body: bytes) -> bytes:
    lines = [f"{method} {target} HTTP/1.1\r\n".encode("latin-1")]
    lines += [name + b": " + value + b"\r\n" for name, value in headers]
    lines.append(b"content-length: %d\r\n\r\n" % len(body))
    return b"".join(lines) + body

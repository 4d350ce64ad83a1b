"""A plain HTTP/1.1 client for tests: one connection, h11 on a trio stream, everything visible.

Small on purpose: tests close it at odd moments, count connections, and look at raw heads and cut bodies.
"""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, Self

import h11
import trio

from tests.support.tls import open_tls


@dataclass
class Answer:
    """A whole answer."""

    status: int
    headers: dict[str, str]
    body: bytes = b""

    @property
    def json(self) -> Any:
        """The body, parsed."""
        return json.loads(self.body)


@dataclass
class Connection:
    """One connection to a server; requests follow each other on it."""

    stream: trio.abc.Stream
    wire: h11.Connection = field(default_factory=lambda: h11.Connection(h11.CLIENT, max_incomplete_event_size=1 << 20))

    @classmethod
    @asynccontextmanager
    async def open(cls, port: int, *, tls: bool = False) -> AsyncIterator[Self]:
        """Connect to a port of this machine."""
        stream = await (open_tls(port) if tls else trio.open_tcp_stream("127.0.0.1", port))
        async with stream:
            yield cls(stream)

    async def send(
        self,
        method: str,
        path: str,
        body: Any = None,
        headers: dict[str, str] | None = None,
        *,
        raw: bytes | None = None,
    ) -> None:
        """Send a request; ``body`` as JSON, or ``raw`` bytes."""
        payload = raw if raw is not None else (b"" if body is None else json.dumps(body).encode())
        names = {name.lower() for name in headers or {}}
        lines = [("Host", "test")] if "host" not in names else []
        lines += list((headers or {}).items())
        if payload or method == "POST":
            lines += [("Content-Length", str(len(payload)))]
            if "content-type" not in names:
                lines += [("Content-Type", "application/json")]
        head = self.wire.send(h11.Request(method=method, target=path, headers=lines)) or b""
        data = self.wire.send(h11.Data(data=payload)) or b"" if payload else b""
        await self.stream.send_all(head + data + (self.wire.send(h11.EndOfMessage()) or b""))

    async def head(self) -> Answer:
        """Wait for the head of the answer."""
        event = await self._next()
        while isinstance(event, h11.InformationalResponse):
            event = await self._next()
        assert isinstance(event, h11.Response), event
        headers = {name.decode().lower(): value.decode() for name, value in event.headers}
        return Answer(event.status_code, headers)

    def chunks(self) -> "Chunks":
        """The body as it arrives; ``h11.RemoteProtocolError`` if it is cut."""
        return Chunks(self)

    async def chunk(self) -> bytes | None:
        """The next piece of the body, None at its end."""
        event = await self._next()
        if isinstance(event, h11.Data):
            return bytes(event.data)
        assert isinstance(event, h11.EndOfMessage), event
        if self.wire.our_state is h11.DONE and self.wire.their_state is h11.DONE:
            self.wire.start_next_cycle()
        return None

    async def ask(
        self,
        method: str,
        path: str,
        body: Any = None,
        headers: dict[str, str] | None = None,
        *,
        raw: bytes | None = None,
    ) -> Answer:
        """One request and its whole answer."""
        await self.send(method, path, body, headers, raw=raw)
        answer = await self.head()
        async for chunk in self.chunks():
            answer.body += chunk
        return answer

    async def _next(self) -> Any:
        while (event := self.wire.next_event()) is h11.NEED_DATA:
            try:
                self.wire.receive_data(bytes(await self.stream.receive_some(65536)))
            except trio.BrokenResourceError as error:
                raise h11.RemoteProtocolError("the connection broke") from error
        return event


class Chunks:
    """An iterator that may be left at any moment, unlike a generator."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> bytes:
        chunk = await self._connection.chunk()
        if chunk is None:
            raise StopAsyncIteration
        return chunk


async def ask(
    port: int,
    method: str,
    path: str,
    body: Any = None,
    headers: dict[str, str] | None = None,
    *,
    raw: bytes | None = None,
) -> Answer:
    """One request on a connection of its own."""
    async with Connection.open(port) as connection:
        return await connection.ask(method, path, body, headers, raw=raw)

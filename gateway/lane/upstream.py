"""Connections of the lane to model servers: non-blocking, pooled by generation.

A connection belongs to a pool for life and to at most one exchange at a time. Idle ones are closed by their
server, by age, or when their generation has ended. Called by ``exchange.py``; sockets are the reactor's.
"""

import errno
import socket
from functools import partial
from ipaddress import ip_address
from typing import Any
from urllib.parse import urlsplit

from gateway.lane.answer_heads import AnswerHeads
from gateway.lane.reactor import HUNG_UP, READABLE, WRITABLE, Reactor
from gateway.lane.sides import Asker

IDLE = 4.0
"""Seconds that a connection may be idle: uvicorn and llama.cpp close theirs after five."""
MOST_IDLE = 512
"""Idle connections kept for one generation."""
READ = 65536
"""More makes ``recv`` five times as expensive: the allocator asks the kernel for each buffer."""
JOINED = 32 * 1024
"""Bytes of a request that are put together for one ``send``, at the end of the turn; a larger one is not copied
again, and sent at once."""


class Upstream:
    """One connection. ``used``: it has served before; ``paused``: nothing is read, the client is slow."""

    __slots__ = (
        "_attempt", "_coalesced", "_ended", "_out", "_pool", "_sock", "asker", "closed", "connecting", "idle_since",
        "paused", "used",
    )  # fmt: skip

    def __init__(self, pool: "Pool", asker: Asker) -> None:
        self._pool = pool
        self._sock: socket.socket | None = None
        self._attempt = 0
        self._out: bytes | memoryview | None = None
        self._ended = False
        self._coalesced = False
        self.asker: Asker | None = asker
        self.closed = False
        self.connecting = True
        self.paused = False
        self.used = False
        self.idle_since = 0.0

    def connect(self) -> None:
        """Try the addresses of the pool, one after the other."""
        addresses = self._pool.addresses
        while self._attempt < len(addresses):
            family, address = addresses[self._attempt]
            self._attempt += 1
            try:
                sock = self._pool.reactor.open(family)
            except OSError as error:
                why = f"no connection to the model server can be opened: {error.strerror}"
                self._pool.reactor.soon(partial(self._over, why))
                return
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if sock.connect_ex(address) in (0, errno.EINPROGRESS):
                self._sock = sock
                self._pool.reactor.add(sock, self.ready)
                return
            sock.close()
        self._pool.reactor.soon(partial(self._over, "the model server does not accept connections"))

    def ready(self, mask: int) -> None:
        """Called by the reactor."""
        if self.connecting:
            if mask & WRITABLE:
                self._connected()
            return
        if self._out is not None and mask & WRITABLE:
            self._flush()
        if mask & READABLE:
            if mask & HUNG_UP:
                self._ended = True
            self.read()

    def _connected(self) -> None:
        sock = self._sock
        assert sock is not None
        if sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
            self._sock = None
            self._pool.reactor.close(sock)
            self.connect()
            return
        self.connecting = False
        self._pool.opened += 1
        if self.asker is not None:
            self.asker.connected()

    def send(self, head: bytes, body: bytes) -> None:
        """The request; what does not fit goes out as the server reads."""
        assert self._sock is not None
        size = len(head) + len(body)
        if size <= JOINED:
            self._out = head + body
            self._pool.reactor.at_end(self._flush)
            return
        try:
            sent = self._sock.sendmsg((head, body))
        except BlockingIOError:
            sent = 0
        except OSError:
            # It may have answered before it closed; what it said is still there to read.
            return
        if sent >= size:
            return
        begun = sent - len(head)
        self._out = memoryview(body)[begun:] if begun >= 0 else memoryview(head + body)[sent:]

    def _flush(self) -> None:
        out = self._out
        if out is None or self._sock is None:
            return
        try:
            sent = self._sock.send(out)
        except BlockingIOError:
            return
        except OSError:
            # It may have answered before it closed; what it said is still there to read.
            self._out = None
            return
        self._out = memoryview(out)[sent:] if sent < len(out) else None

    def read(self) -> None:
        """Pass on what there is, one piece in one go: looking for the ends of the chunks in it takes up to 0.3 ms."""
        sock = self._sock
        if self.paused or sock is None:
            return
        try:
            data = sock.recv(READ)
        except BlockingIOError:
            return
        except OSError as error:
            self._over(error.strerror or "the connection broke")
            return
        if not data or self.asker is None:
            # Idle: closed, or it says something that nobody asked for.
            self._over("the model server closed the connection", clean=True)
            return
        self.asker.received(data)
        if len(data) == READ or self._ended:
            self._pool.reactor.soon(self.read)

    def _over(self, why: str, *, clean: bool = False) -> None:
        asker = self.asker
        self.close()
        if asker is not None:
            asker.broken(why, clean=clean)

    def coalesce(self) -> None:
        """Its answer will come piece by piece: read it together with others of that kind. Not while a part of the
        request is still to be sent, because then there is more to be told of than something to read."""
        if self._out is None and self._sock is not None:
            self._coalesced = True
            self._pool.reactor.coalesce(self._sock)

    def resume(self) -> None:
        """The client has taken what there was."""
        self.paused = False
        self._pool.reactor.soon(self.read)

    def release(self, *, reusable: bool) -> None:
        """The exchange is over; the connection serves another one, unless a part of the request is still to be sent."""
        if not reusable or self.closed or self._out is not None:
            self.close()
            return
        self.asker = None
        self.used = True
        if self._coalesced and self._sock is not None:
            self._coalesced = False
            self._pool.reactor.single_out(self._sock)
        self._pool.keep(self)

    def close(self) -> None:
        """At once, without waiting for the server; more than once does nothing."""
        self.asker = None
        sock, self._sock = self._sock, None
        self._out = None
        if not self.closed:
            self.closed = True
            self._pool.forget(self)
        if sock is not None:
            self._pool.reactor.close(sock)


class Pool:
    """Connections to one generation of a model; the youngest idle one is used first."""

    def __init__(self, reactor: Reactor, addresses: list[tuple[int, Any]], base: bytes) -> None:
        self.reactor = reactor
        self.addresses = addresses
        self.base = base
        self._idle: list[Upstream] = []
        self.opened = 0
        self.heads = AnswerHeads()

    def take(self, asker: Asker) -> Upstream | None:
        """An idle connection, at once."""
        while self._idle:
            found = self._idle.pop()
            if self.reactor.now - found.idle_since < IDLE:
                found.asker = asker
                return found
            found.close()
        return None

    def open(self, asker: Asker) -> Upstream:
        """A new one; ``connected`` or ``broken`` is called later."""
        made = Upstream(self, asker)
        made.connect()
        return made

    def keep(self, connection: Upstream) -> None:
        """For the next exchange, if there is room."""
        connection.idle_since = self.reactor.now
        self._idle.append(connection)
        if len(self._idle) > MOST_IDLE:
            self._idle[0].close()

    def forget(self, connection: Upstream) -> None:
        """It is closed."""
        if connection in self._idle:
            self._idle.remove(connection)

    def aclose(self) -> None:
        """Its generation has ended. Exchanges under way end by themselves."""
        for connection in list(self._idle):
            connection.close()


class Pools:
    """One pool for each model; a newer generation takes the place of the older one's."""

    def __init__(self, reactor: Reactor) -> None:
        self._reactor = reactor
        self._pools: dict[str, tuple[int, str, Pool | None]] = {}

    def find(self, model: str, generation: int, upstream: str) -> Pool | None:
        """The pool of this generation; None for an upstream that the lane does not speak to."""
        known = self._pools.get(model)
        if known is not None and known[0] == generation and known[1] == upstream:
            return known[2]
        url = urlsplit(upstream)
        addresses = addresses_of(url.hostname or "", url.port or 80) if url.scheme == "http" else []
        pool = Pool(self._reactor, addresses, url.path.rstrip("/").encode()) if addresses else None
        if known is None or known[0] <= generation:
            self._pools[model] = (generation, upstream, pool)
            if known is not None and known[2] is not None:
                known[2].aclose()
        return pool

    def aclose(self) -> None:
        """The worker ends."""
        for _, _, pool in self._pools.values():
            if pool is not None:
                pool.aclose()


def addresses_of(host: str, port: int) -> list[tuple[int, Any]]:
    """Where a host can be reached without asking anybody: an address, or this machine."""
    if host == "localhost":
        return [(socket.AF_INET, ("127.0.0.1", port)), (socket.AF_INET6, ("::1", port))]
    try:
        address = ip_address(host)
    except ValueError:
        return []
    return [(socket.AF_INET if address.version == 4 else socket.AF_INET6, (host, port))]

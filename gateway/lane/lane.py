"""The hot path of one worker: what its connections share, and who is let in.

Owns the listening socket and the wheel, and uses the reactor; ``client.py`` is a connection, ``exchange.py`` a request,
``handover.py`` the way to hypercorn. Nothing here waits; ``driver.py`` drives it. Made by ``gateway/serve.py``.
"""

import socket
import ssl
import time
from collections.abc import Callable, Mapping

from gateway.lane.access import AccessLog
from gateway.lane.client import Client
from gateway.lane.connection import Connection
from gateway.lane.handover import HandedStream, HandedTlsStream
from gateway.lane.heads import RequestHeads
from gateway.lane.reactor import Reactor
from gateway.lane.tls import TlsClient
from gateway.lane.upstream import Pools
from gateway.lane.wheel import Wheel
from gateway.leases import LeaseBook
from gateway.routing import ROUTES, Index, Route
from protocol.catalogue import Catalogue, Limits
from protocol.ids import ModelId
from protocol.messages import Outcome

MOST_CLIENTS = 10_000
"""Connections of one worker; more wait in the kernel until some have ended."""
ACCEPTS = 64
"""Connections that are taken in one go."""


class Lane:
    """``catalogue_now``: what to answer from; ``report``: how exchanges ended; ``hand``: starts hypercorn's end
    of a stream; ``emptied``: after ``drain``, the last connection has ended; ``tls``: all connections speak it."""

    def __init__(
        self,
        reactor: Reactor,
        listener: socket.socket,
        book: LeaseBook,
        *,
        catalogue_now: Callable[[], Catalogue],
        report: Callable[[Outcome], None],
        hand: Callable[[HandedStream], None],
        emptied: Callable[[], None],
        routes: Mapping[str, Route] = ROUTES,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self.reactor = reactor
        self.wheel = Wheel(self.reactor.now)
        self.pools = Pools(self.reactor)
        self.book = book
        self.heads = RequestHeads(routes)
        self.detours: set[ModelId] = set()
        """Models whose servers the lane does not reach."""
        self.draining = False
        self.clients: set[Connection] = set()
        self._listener = listener
        self._full = False
        self._catalogue_now = catalogue_now
        self.report = report
        self._hand = hand
        self._emptied = emptied
        self._tls = tls
        self.access = AccessLog()
        self._index = Index(catalogue_now())
        self.limits: Limits = self._index.catalogue.limits
        """What connections may take, as of the last look at ``index``."""
        listener.setblocking(False)
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)  # connections inherit it
        self.reactor.add(listener, lambda _: self.accept())

    @property
    def is_full(self) -> bool:
        """Does somebody wait to be let in until somebody else has left?"""
        return self._full

    @property
    def index(self) -> Index:
        """The names of the catalogue in force."""
        catalogue = self._catalogue_now()
        if self._index.catalogue is not catalogue:
            self._index = Index(catalogue)
            self.limits = catalogue.limits
            self.detours.clear()
        return self._index

    def accept(self) -> None:
        """Let in who waits, a bounded number in one go."""
        for _ in range(ACCEPTS):
            if self.draining:
                return
            if len(self.clients) >= MOST_CLIENTS:
                self._full = True
                return
            try:
                sock, address = self._listener.accept()
            except BlockingIOError:
                return
            except ConnectionAbortedError:
                continue  # gone again before it was let in
            except OSError:
                # No descriptor is left: the next tick tries again, or whoever leaves lets somebody in.
                self._full = True
                return
            sock.setblocking(False)
            client = self._client(sock, str(address[0]))
            self.clients.add(client)
            self.wheel.add(client)
            self.reactor.add(sock, client.ready)
        self.reactor.soon(self.accept)

    def _client(self, sock: socket.socket, peer: str) -> Client:
        if self._tls is None:
            return Client(self, sock, peer)
        return TlsClient(self, sock, peer, self._tls)

    def closed(self, client: Connection, sock: socket.socket) -> None:
        """A connection has ended."""
        self.clients.discard(client)
        self.wheel.remove(client)
        self.reactor.close(sock)
        if self._full:
            self._let_in()
        if self.draining:
            self._tell_if_empty()

    def _let_in(self) -> None:
        if self._full and not self.draining:
            self._full = False
            self.reactor.soon(self.accept)

    def handed(self, client: Client, *, for_good: bool) -> HandedStream:
        """A stream to hypercorn for a connection."""
        kind = HandedStream if self._tls is None else HandedTlsStream
        stream = kind(client, for_good=for_good)
        self._hand(stream)
        return stream

    def tick(self) -> None:
        """Four times a second: time limits, leases that were parked for long enough, whoever was kept out, the log."""
        self.reactor.now = time.monotonic()  # it may have had no turn for long, if somebody else drives it
        self.wheel.advance(self.reactor.now)
        self.book.sweep()
        self.access.flush()
        self._let_in()

    def drain(self) -> None:
        """Nobody is let in any more; connections end with the answer that they wait for."""
        self.draining = True
        self.reactor.close(self._listener)
        for client in list(self.clients):
            client.end_if_idle()
        self._tell_if_empty()

    def _tell_if_empty(self) -> None:
        if self.draining and not self.clients:
            self._emptied()

    def abort(self) -> None:
        """The time is over: every connection ends, whatever it is at."""
        for client in list(self.clients):
            client.abort()
        self.pools.aclose()

    def aclose(self) -> None:
        """It is over."""
        self.reactor.note()
        self.access.flush()

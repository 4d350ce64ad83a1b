"""TLS on a client's connection: OpenSSL works on memory, and the sockets stay the reactor's.

``Session`` decrypts and encrypts; ``SealedOutbox`` keeps what the kernel does not take as ciphertext, so that what
waits is counted as on a plain connection; ``TlsClient`` is a ``Client`` that shakes hands first. A plain connection
has nothing of all that. Made by ``lane.py``; the context comes from ``handover.py``, because whoever agrees on HTTP/2
(ALPN) is hypercorn's from the first byte on.
"""

import contextlib
import socket
import ssl
from typing import TYPE_CHECKING

from gateway.lane.client import Client
from gateway.lane.connection import READS, Mode
from gateway.lane.outbox import Outbox
from gateway.lane.upstream import READ
from gateway.refusals import Refused, Situation

if TYPE_CHECKING:
    from gateway.lane.lane import Lane

MOST_HANDSHAKE = 64 * 1024
"""Bytes from a client until its handshake is complete; usual are less than 2,000."""
RECORD = 16 * 1024
"""The longest content of a record; OpenSSL gives no more at once."""
HANDSHAKE_READ = 16 * 1024
_CLOSED, _LINGER = Mode.CLOSED, Mode.LINGER
USE_HTTPS = Refused(Situation.BROKEN_HEAD, "this port speaks TLS: use https://")


class Broken(OSError):
    """The client does not speak TLS as it should."""


class Session:
    """``more``: something may be left to read, in the kernel or here, of which no event will tell; ``ended``: the
    client has said its last; ``shaken``: the handshake is complete. What is held of it undecrypted is less than
    ``READ`` and a record."""

    __slots__ = ("_incoming", "_left", "_outgoing", "_sock", "_tls", "ended", "more", "shaken")

    def __init__(self, sock: socket.socket, context: ssl.SSLContext) -> None:
        self._sock = sock
        self._incoming = ssl.MemoryBIO()
        self._outgoing = ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._incoming, self._outgoing, server_side=True)
        self._left = False
        self.more = False
        self.ended = False
        self.shaken = False

    def shake(self, data: bytes) -> bytes:
        """The next step of the handshake; what to send. ``ssl.SSLError`` if there is none, and then ``outgoing`` is
        the alert that says so."""
        self._incoming.write(data)
        with contextlib.suppress(ssl.SSLWantReadError):
            self._tls.do_handshake()
            self.shaken = self._left = self.more = True
        return self.outgoing()

    @property
    def alpn(self) -> str | None:
        """What the handshake agreed on: ``h2``, ``http/1.1``, or nothing."""
        return self._tls.selected_alpn_protocol()

    def outgoing(self) -> bytes:
        """Ciphertext to be sent."""
        return self._outgoing.read()

    def sealed(self, data: bytes) -> bytes:
        """As it goes over the wire. OpenSSL takes all of it, because memory does; nothing, if the connection is broken:
        the reactor tells of its end, and until then nobody takes anything."""
        try:
            self._tls.write(data)
        except OSError:
            return b""
        return self._outgoing.read()

    def farewell(self) -> bytes:
        """The record of a clean end (close_notify); nothing can be decrypted after it."""
        if not self.shaken or self.ended:
            return b""
        self.ended = True
        # It tells the rest of what came, or that the client has not said it too: nobody asks.
        with contextlib.suppress(ssl.SSLError):
            self._tls.unwrap()
        return self._outgoing.read()

    def recv(self, most: int) -> bytes:
        """As of a socket, but for this: whether there may be more is told by ``more``, not by a short read. It reads
        the kernel once, so what one call can cost is bounded. ``most``: more than ``RECORD``."""
        if self.ended:
            return b""
        if not self._left:
            data = self._sock.recv(READ)
            if not data:
                self.ended = True
                return b""
            self._incoming.write(data)
            self.more = len(data) == READ
        try:
            piece = self._tls.read(RECORD)
        except ssl.SSLWantReadError:
            self._left = False
            raise BlockingIOError from None
        if self._incoming.pending or not 0 < len(piece) < RECORD:
            return self._with_rest(piece, most)
        self._left = False
        return piece

    def _with_rest(self, piece: bytes, most: int) -> bytes:
        """The first piece, and those behind it. A record may be left in part, or whole, of which the kernel will never
        tell again."""
        pieces = [piece]
        try:
            while piece and (most := most - len(piece)) > 0:
                piece = self._tls.read(min(most, RECORD))
                pieces.append(piece)
            self.ended = not piece
            self._left = self.more = not self.ended
        except ssl.SSLWantReadError:
            self._left = False
        return b"".join(pieces)


class SealedOutbox(Outbox):
    """Encrypts what one turn has to say as it is sent, or kept."""

    __slots__ = ("_session",)

    def __init__(self, sock: socket.socket, session: Session) -> None:
        super().__init__(sock)
        self._session = session

    def add(self, data: bytes) -> bool:
        """As ``Outbox`` says."""
        if self._kept is None:
            return super().add(data)
        self._keep(self._session.sealed(data))
        return False

    def push(self) -> None:
        """As ``Outbox`` says."""
        data = self._fresh
        if data:
            self._fresh = b""
            self._send(self._session.sealed(data))

    def say(self, data: bytes) -> None:
        """What TLS has to say itself, behind all that was taken: it is ``push``ed before."""
        if self._kept is None:
            self._send(data)
        else:
            self._keep(data)


class TlsClient(Client):
    """A client's connection that begins with a handshake, within the time limit of a head."""

    __slots__ = ("_came", "_outbox", "_session")

    def __init__(self, lane: "Lane", sock: socket.socket, peer: str, context: ssl.SSLContext) -> None:
        session = self._session = Session(sock, context)
        outbox = self._outbox = SealedOutbox(sock, session)
        super().__init__(lane, sock, peer, recv=session.recv, out=outbox)
        self.deadline = lane.reactor.now + lane.limits.head
        self._came = 0

    @property
    def alpn(self) -> str | None:
        """What the handshake agreed on."""
        return self._session.alpn

    def read(self) -> None:
        """As ``Client`` says, behind the handshake."""
        if self.mode is _CLOSED:
            return
        if self.mode is _LINGER:
            self._drain()
            return
        session = self._session
        if not session.shaken and not self._shake():
            return
        super().read()
        if not (session.ended or session.more) or self.mode is _CLOSED or self.mode is _LINGER:
            return
        if session.ended:
            self.gone()
        else:
            self._read_later()

    def _read_later(self) -> None:
        if self._is_full():
            self._unread = True
        else:
            self._lane.reactor.soon(self.read)

    def _drain(self) -> None:
        """Nobody wants to know what still comes behind the last answer: it is not decrypted."""
        for _ in range(READS):
            try:
                data = self._sock.recv(READ)
            except BlockingIOError:
                return
            except OSError:
                data = b""
            if not data:
                self.close()
                return
        self._lane.reactor.soon(self.read)

    def _shake(self) -> bool:
        """Go on with the handshake; is it complete? A step may be a signature, with a 4,096-bit RSA key about 4 ms: a
        turn of the reactor ends with it."""
        session = self._session
        while not session.shaken:
            try:
                data = self._sock.recv(HANDSHAKE_READ)
                self._came += len(data)
                if not data or self._came > MOST_HANDSHAKE:
                    raise Broken
                self._say(session.shake(data))
            except BlockingIOError:
                return False
            except OSError as error:
                self._failed(error)
                return False
        if session.alpn == "h2":
            self._tunnel(b"")
        else:
            self.limit_time(self._lane.limits.idle)
        return True

    def _failed(self, error: OSError) -> None:
        """No handshake. Who speaks plain HTTP is told so in plain HTTP; who speaks TLS gets an alert that says why."""
        if isinstance(error, ssl.SSLError) and error.reason == "HTTP_REQUEST":
            self.mode = Mode.BUSY
            self._unread = True
            self._say(USE_HTTPS.answer(close=True)[0])
            self.close_when_sent()
            return
        self._say(self._session.outgoing())
        self.gone()

    def _say(self, data: bytes) -> None:
        """Send what TLS has to say itself."""
        if data:
            self._outbox.say(data)

    def _finish(self) -> None:
        """As ``Client`` says. Without the farewell a client could not tell a clean end from one that somebody else
        made; a kernel that does not take it after all else is no reason to wait."""
        self._say_farewell()
        super()._finish()

    def _say_farewell(self) -> None:
        self._outbox.push()
        self._say(self._session.farewell())

    def expire(self) -> None:
        """As ``Client`` says."""
        if self.mode is Mode.IDLE and not self._buffer:
            self._say_farewell()
        super().expire()

"""A client's socket: bounded reading, a clean end or a reset, one time limit at a time. What is said on it, it does
not know; ``client.py`` does.

Synchronous, over a non-blocking socket that the reactor watches; in tests no socket is needed. Owner: ``lane.py``.
"""

import socket
import struct
from collections.abc import Callable
from enum import Enum, auto
from typing import TYPE_CHECKING

from gateway.lane.outbox import Outbox
from gateway.lane.reactor import HUNG_UP, READABLE, WRITABLE
from gateway.lane.upstream import READ
from gateway.lane.wheel import HORIZON

if TYPE_CHECKING:
    from gateway.lane.lane import Lane

READS = 4
"""Reads of one connection in one go."""
LINGER = 2.0
"""Seconds for what a client still sends after its last answer."""
_RESET = struct.pack("ii", 1, 0)
"""Linger for no time: the other side gets a reset, never a clean end."""


class Mode(Enum):
    """What a connection is at."""

    IDLE = auto()
    BODY = auto()
    BUSY = auto()
    HANDED = auto()
    TUNNEL = auto()
    LINGER = auto()
    CLOSED = auto()


_IDLE, _, _, _, _, _LINGER, _CLOSED = Mode
# A member of an enumeration costs more to look up than a global, and these are looked up for each request.


class Connection:
    """``peer``: its address as text. ``deadline``: what the wheel looks at. ``recv``, ``out``: the two directions of
    a connection that is not plain (``tls.py``)."""

    __slots__ = (
        "_buffer", "_closing", "_hung_up", "_lane", "_out", "_recv", "_sock", "_unread", "deadline", "mode", "peer",
    )  # fmt: skip

    def __init__(
        self,
        lane: "Lane",
        sock: socket.socket,
        peer: str,
        *,
        recv: Callable[[int], bytes] | None = None,
        out: Outbox | None = None,
    ) -> None:
        self._lane = lane
        self._sock = sock
        self._recv = sock.recv if recv is None else recv
        self.peer = peer
        self.mode = _IDLE
        self.deadline = lane.reactor.now + lane.limits.idle
        self._buffer = bytearray()
        self._out = Outbox(sock) if out is None else out
        self._closing = False
        self._hung_up = False
        self._unread = False

    # -------------------------------------------------------------- for who knows what is said

    def _received(self, data: bytes) -> None:
        """A piece of what the client says."""
        raise NotImplementedError

    def _is_full(self) -> bool:
        """Is so much waiting that the rest has to stay in the kernel? Not asked while IDLE."""
        raise NotImplementedError

    def _falls_behind(self) -> None:
        """The client does not take all that it was sent."""
        raise NotImplementedError

    def _is_in_body(self) -> bool:
        """Is the client in the middle of something?"""
        raise NotImplementedError

    def expire(self) -> None:
        """Called by the wheel."""
        raise NotImplementedError

    # -------------------------------------------------------------- what the reactor says

    def ready(self, mask: int) -> None:
        """Something happened on the socket."""
        if self._out.waiting and mask & WRITABLE:
            self._flush()
        if mask & READABLE:
            if mask & HUNG_UP:
                self._hung_up = True
            self.read()

    def read(self) -> None:
        """Take what there is, a bounded amount in one go."""
        for _ in range(READS):
            if self.mode is _CLOSED:
                return
            if self.mode is not _IDLE and self._is_full():
                self._unread = True
                if self._hung_up:
                    self.gone()
                return
            try:
                data = self._recv(READ)
            except BlockingIOError:
                return
            except OSError:
                data = b""
            if not data:
                self.gone()
                return
            self._received(data)
            if len(data) < READ and not self._hung_up:
                return
        self._lane.reactor.soon(self.read)

    def read_on(self) -> None:
        """There is room again for what was left in the kernel."""
        if self._unread:
            self._unread = False
            self._lane.reactor.soon(self.read)

    def limit_time(self, seconds: float) -> None:
        """``expire`` is called in so many seconds, unless the limit is moved before. Who moves it further away may
        just set ``deadline``."""
        self.deadline = self._lane.reactor.now + seconds
        if seconds < HORIZON:
            self._lane.wheel.sooner(self)

    # -------------------------------------------------------------- what is sent

    def send(self, data: bytes) -> bool:
        """Send at the end of this turn, or keep; False as long as something is kept."""
        if self._out.add(data):
            self._lane.reactor.at_end(self._push)
        return not self._out.waiting

    def when_sent(self, call: Callable[[], None]) -> None:
        """Call once nothing is kept any more."""
        self._out.when_sent(call)

    def _push(self) -> None:
        self._out.push()
        if self._out.waiting:
            self._falls_behind()

    # -------------------------------------------------------------- ends

    def close_when_sent(self) -> None:
        """A clean end behind the last answer, if the client takes it."""
        self._closing = True
        if self.mode is _CLOSED:
            return
        self._out.push()
        if self._out.waiting:
            self.limit_time(self._lane.limits.idle)
        else:
            self._finish()

    def _flush(self) -> None:
        if not self._out.flush():
            self.gone()
        elif self._closing and not self._out.waiting:
            self._finish()

    def _finish(self) -> None:
        if not self._buffer and not self._unread and not self._is_in_body():
            self.close()
            return
        # It still sends: a close would be a reset, and take the answer with it.
        self.mode = _LINGER
        self._closing = False
        self._buffer.clear()
        self._out.push()
        try:
            self._sock.shutdown(socket.SHUT_WR)
        except OSError:
            self.close()
            return
        self.limit_time(LINGER)
        self.read_on()

    def gone(self) -> None:
        """The client has left, or is given up."""
        self.close()

    def abort(self) -> None:
        """End it so that nobody can take it for a clean end; what was sent before may arrive or not."""
        if self.mode is not _CLOSED:
            self._sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
            self.gone()

    def close(self) -> None:
        """At once, behind what this turn sent; more than once does nothing."""
        if self.mode is not _CLOSED:
            self.mode = _CLOSED
            self._out.push()
            self._buffer.clear()
            self._lane.closed(self, self._sock)
            self._out.drop()

    def end_if_idle(self) -> None:
        """The worker drains: no further request is expected."""
        if self.mode is _IDLE and not self._buffer:
            self.close_when_sent()

    # -------------------------------------------------------------- what hypercorn asks of a socket

    @property
    def alpn(self) -> str | None:
        """The protocol that was agreed on; nobody did."""
        return None

    @property
    def sock(self) -> socket.socket:
        """For the addresses of both ends."""
        return self._sock

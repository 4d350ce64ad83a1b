"""What a client says: its requests are found in what arrives, and each goes to the lane or to hypercorn.

A synchronous machine on top of ``connection.py``::

    IDLE ── head of an inference request ──▶ BODY ──▶ BUSY (an exchange) ──▶ IDLE
    IDLE ── any other head ──▶ HANDED (hypercorn answers this request) ──▶ IDLE
    IDLE ── upgrade, HTTP/2, nonsense ──▶ TUNNEL (everything is hypercorn's from here on)
    any ── the client left, or was cut off ──▶ CLOSED

On one kept-alive connection each request finds its own way, whatever came before. Mirror: ``exchange.py`` for a
request of the lane, ``handover.py`` for hypercorn's. Owner: ``lane.py``.
"""

import math
import socket
from typing import TYPE_CHECKING, Any

from gateway.lane.chunks import Chunks, NotChunked
from gateway.lane.connection import Connection, Mode
from gateway.lane.exchange import Exchange
from gateway.lane.form import END
from gateway.lane.heads import MOST_HEAD, AmbiguousLength, RequestHead, body_of
from gateway.refusals import TOO_SLOW, Refused, Situation

if TYPE_CHECKING:
    from gateway.lane.handover import HandedStream
    from gateway.lane.lane import Lane

LANE_BODY = 4 * 1024 * 1024
"""A longer body takes hypercorn's way: looking for the model in it would hold up everybody else."""
MOST_PIPELINED = 64 * 1024
"""Bytes that may wait behind a request; more stays in the kernel."""
MOST_HANDED = 256 * 1024
"""The same for what hypercorn has not read yet."""
HANDED_GRACE = 2.0
"""Seconds that hypercorn has to say that a body does not come in time, before the connection is cut."""
CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
TOO_LARGE = Refused(Situation.HEAD_TOO_LARGE, f"the head of the request is larger than {MOST_HEAD} bytes")
AMBIGUOUS = Refused(Situation.BROKEN_HEAD, "the request has both a Content-Length and a Transfer-Encoding")
_IDLE, _BODY, _BUSY, _HANDED, _TUNNEL, _LINGER, _CLOSED = Mode
# As in connection.py: globals are cheaper than members.


class Client(Connection):
    """One connection; see ``Connection`` for the arguments."""

    __slots__ = ("_body", "_ends", "_exchange", "_head", "_missing", "_scanned", "_stream")

    def __init__(self, lane: "Lane", sock: socket.socket, peer: str, **directions: Any) -> None:
        super().__init__(lane, sock, peer, **directions)
        self._scanned = 0
        self._exchange: Exchange | None = None
        self._head: RequestHead | None = None
        self._body: list[bytes] = []
        self._missing = 0
        self._stream: HandedStream | None = None
        self._ends: Chunks | int = 0

    # -------------------------------------------------------------- what the connection asks

    def _is_full(self) -> bool:
        if self.mode in (_HANDED, _TUNNEL) and self._stream is not None and self._stream.waiting > MOST_HANDED:
            return True
        return len(self._buffer) > MOST_PIPELINED

    def _falls_behind(self) -> None:
        if self._exchange is not None:
            self._exchange.hold()
        elif self.mode is _IDLE:
            self._wait_taken()

    def _is_in_body(self) -> bool:
        return self.mode is _HANDED and self._stream is not None and not self._stream.complete

    def _received(self, data: bytes) -> None:
        mode = self.mode
        if mode is _IDLE:
            if self._buffer:
                self._buffer += data
                self._look()
            else:
                self._begins(data)
        elif mode is _BODY:
            self._more_body(data)
        elif mode is _HANDED:
            self._pass_on(data)
        elif mode is _TUNNEL:
            assert self._stream is not None
            self._stream.push(data)
        elif mode is _BUSY:
            self._buffer += data

    # -------------------------------------------------------------- requests

    def _begins(self, data: bytes) -> None:
        """A request begins with ``data``; most have the head of the one before. IDLE."""
        head = self._head or self._lane.heads.last
        found = head.again(data) if head is not None else None
        if head is not None and found is not None:
            self._head = head
            length, start = found
            self._take(head, length, data, start)
            return
        end = data.find(END)
        if 0 <= end <= MOST_HEAD:
            self._request(data, end)
        else:
            self._buffer += data
            self._look()

    def _look(self) -> None:
        """Is there a whole head? IDLE."""
        buffer = self._buffer
        end = buffer.find(END, self._scanned)
        if end < 0:
            if not self._scanned:
                self.limit_time(self._lane.limits.head)
            self._scanned = max(1, len(buffer) - len(END) + 1)
            if len(buffer) > MOST_HEAD:
                self._refuse(TOO_LARGE)
            return
        if end > MOST_HEAD:
            self._refuse(TOO_LARGE)
            return
        data = bytes(buffer)
        buffer.clear()
        self._scanned = 0
        self._request(data, end)

    def _request(self, data: bytes, end: int) -> None:
        """Whose is it? ``end``: of its head, before the empty line."""
        start = end + len(END)
        found = self._lane.heads.find(data[:start])
        if found is None:
            self._hand_over(data, end)
            return
        self._head, length = found
        self._take(self._head, length, data, start)

    def _take(self, head: RequestHead, length: int, data: bytes, start: int) -> None:
        """A request of the lane, if it is not too long: the body from ``start`` on, and perhaps more behind it."""
        end = start + length
        if length > LANE_BODY or length > self._lane.limits.json_body:
            self._hand_over(data, start - len(END))
        elif len(data) < end:
            self._await_body(head, data[start:], end - len(data))
        else:
            if len(data) > end:
                self._buffer += data[end:]
            self._begin(head, data[start:end])

    def _await_body(self, head: RequestHead, begun: bytes, missing: int) -> None:
        self.mode = _BODY
        self._body, self._missing = [begun], missing
        self.limit_time(self._lane.limits.body)
        if head.expects and not begun:
            self.send(CONTINUE)

    def _more_body(self, data: bytes) -> None:
        assert self._head is not None
        self.deadline = self._lane.reactor.now + self._lane.limits.body
        self._missing -= len(data)
        if self._missing > 0:
            self._body.append(data)
            return
        if self._missing < 0:
            self._buffer += data[self._missing :]
            data = data[: self._missing]
        body = b"".join([*self._body, data])
        self._body = []
        self._begin(self._head, body)

    def _begin(self, head: RequestHead, body: bytes) -> None:
        self.mode = _BUSY
        self.deadline = math.inf
        exchange = self._exchange = Exchange(self._lane, self, head, body)
        exchange.start()

    def _refuse(self, refused: Refused) -> None:
        """No request that anybody could answer: say why, and end the connection."""
        self.mode = _BUSY
        self._buffer.clear()
        self._body = []
        self.send(refused.answer(close=True)[0])
        self._unread = True
        self.close_when_sent()

    def exchange_over(self, *, keep_alive: bool) -> None:
        """Its answer has been given to ``send`` to the last byte."""
        self._exchange = None
        if keep_alive and not self._lane.draining:
            self._idle()
        else:
            self.close_when_sent()

    def _idle(self) -> None:
        self.limit_time(self._lane.limits.idle)
        if self._out.waiting:
            self._wait_taken()
            return
        self.mode = _IDLE
        self._scanned = 0
        if self._buffer or self._unread:
            self._lane.reactor.soon(self._next)

    def _wait_taken(self) -> None:
        """Whoever does not read his answers gets no further ones."""
        self.mode = _BUSY
        self._out.when_sent(self._answers_taken)

    def _answers_taken(self) -> None:
        """The client has read what was kept for it, or has gone."""
        if self.mode is not _BUSY or self._closing:
            return
        self._idle()
        if self._lane.draining:
            self.close_when_sent()

    def _next(self) -> None:
        """What came behind the last request."""
        if self.mode is not _IDLE:
            return
        if self._buffer:
            self._look()
        self.read_on()

    # -------------------------------------------------------------- hypercorn

    def detour(self, request: bytes) -> None:
        """A request that the lane took after all is hypercorn's."""
        self._exchange = None
        self._hand_over(request, request.find(END))

    def _hand_over(self, data: bytes, end: int) -> None:
        """This request is hypercorn's, and what follows it is not; unless nobody can tell where it ends."""
        try:
            ends = body_of(data[:end])
        except AmbiguousLength:
            self._refuse(AMBIGUOUS)
            return
        if ends is None:
            self._tunnel(data)
            return
        self.mode = _HANDED
        self._ends = ends
        self.limit_time(self._lane.limits.body + HANDED_GRACE)
        if self._stream is None or self._stream.closed:
            self._stream = self._lane.handed(self, for_good=False)
        start = end + len(END)
        self._stream.push(data[:start])
        self._pass_on(data[start:])

    def _pass_on(self, data: bytes) -> None:
        """More of the body of hypercorn's request, and perhaps of what follows it."""
        assert self._stream is not None
        if isinstance(self._ends, Chunks):
            try:
                end = self._ends.feed(data)
            except NotChunked:
                self._tunnel(data)
                return
            done = end >= 0
            end = end if done else len(data)
        else:
            end = min(self._ends, len(data))
            self._ends -= end
            done = self._ends == 0
        if end:
            self._stream.push(data[:end])
        if done:
            self._ends = 0
            self.deadline = math.inf
            self._buffer += data[end:]
            # What comes from now on waits for hypercorn's answer.
            self._stream.complete = True
        else:
            self.deadline = self._lane.reactor.now + self._lane.limits.body + HANDED_GRACE

    def _tunnel(self, data: bytes) -> None:
        """Everything that this client sends is hypercorn's for good."""
        self.mode = _TUNNEL
        self.deadline = math.inf
        self._buffer.clear()
        if self._stream is None or self._stream.closed:
            self._stream = self._lane.handed(self, for_good=True)
        self._stream.for_good = True
        if data:
            self._stream.push(data)

    def handed_over(self) -> None:
        """hypercorn has answered the request that it got."""
        if self.mode is _HANDED and self._stream is not None and self._stream.complete:
            self._stream.complete = False
            self._idle()
            if self._lane.draining:
                self.close_when_sent()

    # -------------------------------------------------------------- ends

    def close_when_sent(self) -> None:
        """As ``Connection`` says; the exchange has said its last."""
        self._exchange = None
        super().close_when_sent()

    def gone(self) -> None:
        """As ``Connection`` says, and nothing goes on for it."""
        exchange, self._exchange = self._exchange, None
        if exchange is not None:
            exchange.client_gone()
        super().gone()

    def close(self) -> None:
        """As ``Connection`` says."""
        self._exchange = None
        if self._stream is not None and self.mode is not _CLOSED:
            self._stream.push_end()
        super().close()

    def expire(self) -> None:
        """As ``Connection`` says."""
        if self.mode is _BUSY and self._exchange is not None:
            self._exchange.expire()
        elif self.mode is _BODY or (self.mode is _IDLE and self._buffer):
            self._refuse(TOO_SLOW)
        elif self.mode is _HANDED:
            self.abort()
        else:
            self.close()

"""What goes out to one client: sent at the end of a turn if it takes it, kept in order if it does not.

``waiting`` says whether something is kept; then whoever sends has to wait until it is sent. So what is kept is bounded
by what one turn reads. Owned by ``connection.py``, for the lane's answers and hypercorn's alike.
"""

import socket
from collections import deque
from collections.abc import Callable

MOST_JOINED = 64 * 1024
"""Bytes of one turn that are put together for one ``send``."""


class Outbox:
    """``waiting``: bytes that the client did not take."""

    __slots__ = ("_fresh", "_kept", "_sock", "_then", "waiting")

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self._fresh = b""
        self._kept: deque[bytes | memoryview] | None = None
        self._then: list[Callable[[], None]] = []
        self.waiting = 0

    def add(self, data: bytes) -> bool:
        """Take something to send. True: the first since the last ``push``, which has to be called."""
        if self._kept is not None:
            self._keep(data)
            return False
        if not self._fresh:
            self._fresh = data
            return True
        if len(self._fresh) < MOST_JOINED:
            self._fresh += data
            return False
        self.push()
        self.add(data)
        return False

    def push(self) -> None:
        """Send what was taken since the last time; what the client does not take is kept."""
        data = self._fresh
        if data:
            self._fresh = b""
            self._send(data)

    def _send(self, data: bytes) -> None:
        """Nothing is kept before it."""
        try:
            sent = self._sock.send(data)
        except BlockingIOError:
            sent = 0
        except OSError:
            # The reactor tells of its end; until then nobody takes anything.
            return
        if sent < len(data):
            self._keep(memoryview(data)[sent:])

    def _keep(self, data: bytes | memoryview) -> None:
        if self._kept is None:
            self._kept = deque()
        self._kept.append(data)
        self.waiting += len(data)

    def when_sent(self, call: Callable[[], None]) -> None:
        """Call once everything that was kept has been sent, or never will be."""
        self._then.append(call)

    def flush(self) -> bool:
        """The client takes more; False if it has gone instead."""
        while self._kept:
            first = self._kept[0]
            try:
                sent = self._sock.send(first)
            except BlockingIOError:
                return True
            except OSError:
                return False
            self.waiting -= sent
            if sent < len(first):
                self._kept[0] = memoryview(first)[sent:]
                return True
            self._kept.popleft()
        self._tell()
        return True

    def drop(self) -> None:
        """Nothing will be sent any more."""
        self._fresh = b""
        self.waiting = 0
        self._tell()

    def _tell(self) -> None:
        """Nothing is kept any more."""
        self._kept = None
        calls, self._then = self._then, []
        for call in calls:
            call()

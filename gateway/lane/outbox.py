"""What goes out to one client: sent at once if it takes it, kept in order if it does not.

Whoever sends is told when something is kept, and has to wait until it is sent; so what is kept is bounded by what
one turn reads. Used by ``client.py``, for the lane's answers and hypercorn's alike.
"""

import socket
from collections import deque
from collections.abc import Callable


class Outbox:
    """``waiting``: bytes that are kept."""

    __slots__ = ("_kept", "_sock", "_then", "waiting")

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self._kept: deque[bytes | memoryview] = deque()
        self._then: list[Callable[[], None]] = []
        self.waiting = 0

    def send(self, data: bytes) -> bool:
        """Send, or keep what the client does not take yet; False as long as something is kept."""
        if self._kept:
            self._keep(data)
            return False
        try:
            sent = self._sock.send(data)
        except BlockingIOError:
            sent = 0
        except OSError:
            # The reactor tells of its end; until then nobody takes anything.
            return True
        if sent == len(data):
            return True
        self._keep(memoryview(data)[sent:])
        return False

    def _keep(self, data: bytes | memoryview) -> None:
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
        self._kept.clear()
        self.waiting = 0
        self._tell()

    def _tell(self) -> None:
        calls, self._then = self._then, []
        for call in calls:
            call()

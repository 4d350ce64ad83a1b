"""Sockets that say something again and again, an epoll of their own within the reactor's.

While that is seldom, the reactor is told at once. While it is often, it is told once a moment, and what all of them
have said by then is handled in a row: 256 streams of 50 chunks/s cost a tenth less than if each chunk had woken the
worker, and a server that sends one token after the other without a pause is read in larger pieces. Owner:
``reactor.py``.
"""

import select
import socket

MOMENT = 0.001
"""Seconds between two looks while there is often something; so much later a chunk is passed on then."""
OFTEN, SELDOM = 2000.0, 500.0
"""Events a second from which on they are looked at together, and below which they are not any more. One socket that
never rests gives fewer than ``1 / MOMENT`` then."""
CROWDED = 20_000.0
"""Events a second from which on a moment is twice as long. At 64 streams of 500 chunks/s, which take nine tenths of a
core otherwise, a chunk costs a quarter less then."""
JUDGED = 0.01
"""Seconds between two judgements of how often it is."""
MOST = 32
"""Events of one look."""
EDGES = select.EPOLLIN | select.EPOLLRDHUP | select.EPOLLET


class Coalescing:
    """``pause``: seconds until the next look is due."""

    def __init__(self) -> None:
        self._epoll = select.epoll()
        self._count = 0
        self._since = 0.0
        self.pause = 0.0

    def fileno(self) -> int:
        """Readable when there is something to ``take``."""
        return self._epoll.fileno()

    def add(self, sock: socket.socket) -> None:
        """What it has to say already is told as well."""
        self._epoll.register(sock.fileno(), EDGES)

    def remove(self, sock: socket.socket) -> None:
        """Before it is closed, this is not needed."""
        self._epoll.unregister(sock.fileno())

    def take(self, now: float) -> list[tuple[int, int]]:
        """Descriptors and what happened on them; once for each edge."""
        events = self._epoll.poll(0.0, MOST)
        self._count += len(events)
        seconds = now - self._since
        if seconds >= JUDGED:
            rate = self._count / seconds
            self._count, self._since = 0, now
            if rate >= CROWDED:
                self.pause = 2 * MOMENT
            else:
                self.pause = MOMENT if rate >= (SELDOM if self.pause else OFTEN) else 0.0
        return events

    def close(self) -> None:
        """The sockets stay open."""
        self._epoll.close()

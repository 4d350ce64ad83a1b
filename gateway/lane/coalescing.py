"""Sockets that say something again and again, an epoll of their own within the reactor's.

While that is seldom, the reactor is told at once. While there is mostly something to tell, it is told once a moment,
and what all of them have said by then is handled in a row: 256 streams of 50 chunks/s cost a tenth less, and 64 a
sixth, than if each chunk had woken the worker, and a server that sends one token after the other without a pause is
read in larger pieces. Owner: ``reactor.py``.
"""

import select
import socket

MOMENT = 0.001
"""Seconds between two looks while there is mostly something; a chunk is passed on up to so much later then."""
SHORT, LONG = 0.0005, 0.001
"""Seconds of waiting for something to look at: most of them shorter, and there is mostly something; most of them
longer, and that has ended. A rate would be lower when somebody else has the processor."""
JUDGED = 16
"""Looks between two judgements."""
CROWD = 20
"""Sockets that say something within a moment, from which on it is twice as long. At 64 streams of 500 chunks/s, which
take nine tenths of a core otherwise, a chunk costs a quarter less then."""
MOST = 32
"""Events of one look."""
EDGES = select.EPOLLIN | select.EPOLLRDHUP | select.EPOLLET


class Coalescing:
    """``pause``: seconds until the next look is due."""

    def __init__(self) -> None:
        self._epoll = select.epoll()
        self._looks = self._waits = self._count = 0
        self._expected = 0.0
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

    def expect(self, now: float) -> None:
        """From now on whoever drives us waits for something to take."""
        self._expected = now

    def take(self, now: float) -> list[tuple[int, int]]:
        """Descriptors and what happened on them; once for each edge."""
        events = self._epoll.poll(0.0, MOST)
        self._looks += 1
        self._count += len(events)
        self._waits += now - self._expected > (LONG if self.pause else SHORT)
        if self._looks == JUDGED:
            self._judge()
        return events

    def _judge(self) -> None:
        if self._waits > JUDGED / 2:
            self.pause = 0.0
        elif self.pause and self._count >= JUDGED * CROWD:
            self.pause = 2 * MOMENT
        else:
            self.pause = MOMENT
        self._looks = self._waits = self._count = 0

    def close(self) -> None:
        """The sockets stay open."""
        self._epoll.close()

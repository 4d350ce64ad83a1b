"""The loop below the lane: sockets registered once, edge-triggered, and a bounded amount of work per turn.

Knows nothing of HTTP and nothing of who drives it: a driver waits on ``fileno`` and calls ``turn`` until it says
that nothing is left. A handler reads until a short read, because the kernel tells of new data only once; who has
more to do than is fair asks for another turn with ``soon``. What a turn sends goes out at its end, one send behind
the other, and what is noted of it comes last: the same work in a row finds its code in the processor's cache, and
costs a request of 16 connections a seventh less. Sockets are closed after a turn, so that the number of one cannot be
given to another while events for it are still at hand.
"""

import math
import os
import select
import socket
import time
from collections import deque
from collections.abc import Callable

BUDGET = 32
"""Events, and continuations, of one turn."""
TURN = 0.00015
"""Seconds after which a turn leaves the rest of its work to the next one, but for what it has to send. Trio tasks are
late by two turns: with 32 events and no such limit by 7 ms."""
REST = 0.00002
"""Seconds; what takes less is the question to the kernel, and no rest."""
MOMENT = 0.001
"""Seconds; what epoll can wait for at least."""
EDGES = select.EPOLLIN | select.EPOLLOUT | select.EPOLLRDHUP | select.EPOLLET
READABLE = select.EPOLLIN | select.EPOLLRDHUP | select.EPOLLHUP | select.EPOLLERR
WRITABLE = select.EPOLLOUT | select.EPOLLHUP | select.EPOLLERR
HUNG_UP = select.EPOLLRDHUP | select.EPOLLHUP | select.EPOLLERR

Ready = Callable[[int], None]
"""Called with the mask of what happened."""


class Reactor:
    """One for each worker. ``now``: ``time.monotonic()`` at the beginning of the turn, and what all time limits are
    measured by; ``waited``: seconds that it has rested for want of work; ``turns``: how many so far."""

    def __init__(self) -> None:
        self._epoll = select.epoll()
        self._ready: dict[int, Ready] = {}
        self._soon: deque[Callable[[], object]] = deque()
        self._later: deque[tuple[float, Callable[[], object]]] = deque()
        self._events: list[tuple[int, int]] = []
        """What epoll has told and nobody has been told of yet, the last first."""
        self._at_end: list[Callable[[], object]] = []
        self._last: list[Callable[[], object]] = []
        self._closing: list[socket.socket] = []
        self._turning = False
        self._poke = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._epoll.register(self._poke, select.EPOLLIN)
        self.now = time.monotonic()
        self.waited = 0.0
        self.turns = 0

    def fileno(self) -> int:
        """Readable when ``turn`` has something to do."""
        return self._epoll.fileno()

    def open(self, family: int) -> socket.socket:
        """A socket for ``add``; ``OSError`` if there is no descriptor left."""
        return socket.socket(family, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)

    def add(self, sock: socket.socket, ready: Ready) -> None:
        """Watch a socket from now on; it must not block."""
        self._ready[sock.fileno()] = ready
        self._epoll.register(sock.fileno(), EDGES)

    def close(self, sock: socket.socket) -> None:
        """Watch it no longer, and close it after this turn. Once for each socket."""
        del self._ready[sock.fileno()]
        self._closing.append(sock)
        self._wake()

    def soon(self, call: Callable[[], object]) -> None:
        """Go on in the next turn."""
        self._soon.append(call)
        self._wake()

    def soon_threadsafe(self, call: Callable[[], object]) -> None:
        """The same, from any thread."""
        self._soon.append(call)
        os.eventfd_write(self._poke, 1)

    def in_a_moment(self, call: Callable[[], object]) -> None:
        """Call in about ``MOMENT`` seconds."""
        self._later.append((self.now + MOMENT, call))
        self._wake()

    def at_end(self, call: Callable[[], object]) -> None:
        """Call when the handlers of this turn have been called; at once outside a turn. For what is sent."""
        if self._turning:
            self._at_end.append(call)
        else:
            call()

    def at_last(self, call: Callable[[], object]) -> None:
        """The same, behind everything that is sent. For what is noted."""
        if self._turning:
            self._last.append(call)
        else:
            call()

    def _wake(self) -> None:
        """What is asked for from outside a turn needs one."""
        if not self._turning:
            os.eventfd_write(self._poke, 1)

    @property
    def patience(self) -> float:
        """Seconds until there is work that no event will tell of."""
        if self._soon or self._events:
            return 0.0
        if self._later:
            return 0.0 if self._later[0][0] <= self.now else MOMENT
        return math.inf

    def turn(self, timeout: float = 0.0) -> bool:
        """Do what is at hand, within the limits above; wait for it so many seconds at most. Was there anything?"""
        events = self._events
        if events:
            self.now = time.monotonic()
        else:
            events = self._events = self._wait(timeout)
        self._turning = True
        self.turns += 1
        any_events = bool(events)
        until = self.now + TURN
        continued = min(len(self._soon), BUDGET)
        for _ in range(continued):
            self._soon.popleft()()
            if time.monotonic() >= until:
                break
        while self._later and self._later[0][0] <= self.now:
            self._later.popleft()[1]()
            if time.monotonic() >= until:
                break
        self._tell(events, until)
        if self._at_end or self._last:
            self._end_turn()
        self._turning = False
        if not events:
            # A number may be given to another socket only when no event of the old one is left.
            while self._closing:
                self._closing.pop().close()
        return any_events or continued > 0

    def _wait(self, timeout: float) -> list[tuple[int, int]]:
        """The next events, the last first."""
        begun = time.monotonic()
        if self._soon or self._later:
            timeout = min(timeout, self.patience)
        events = self._epoll.poll(timeout if timeout < math.inf else None, BUDGET)
        self.now = now = time.monotonic()
        if now - begun > REST:
            self.waited += now - begun
        events.reverse()
        return events

    def _tell(self, events: list[tuple[int, int]], until: float) -> None:
        while events:
            number, mask = events.pop()
            ready = self._ready.get(number)
            if ready is not None:
                ready(mask)
                if time.monotonic() >= until:
                    return
            elif number == self._poke:
                os.eventfd_read(self._poke)

    def _end_turn(self) -> None:
        """Send what the handlers wanted sent, then let it be noted."""
        for call in self._at_end:  # which may ask for more of them
            call()
        self._at_end.clear()
        self._turning = False
        for call in self._last:
            call()
        self._last.clear()

    def aclose(self) -> None:
        """Nothing is watched any more."""
        while self._closing:
            self._closing.pop().close()
        os.close(self._poke)
        self._epoll.close()

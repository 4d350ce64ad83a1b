"""The loop below the lane: sockets registered once, edge-triggered, and a bounded amount of work per turn.

Knows nothing of HTTP and nothing of who drives it: a driver waits on ``fileno`` and calls ``turn`` until it says
that nothing is left. A handler reads until a short read, because the kernel tells of new data only once; who has
more to do than is fair asks for another turn with ``soon``. What a turn sends goes out at its end, one send behind
the other, and what is noted of it comes last: the same work in a row finds its code in the processor's cache. Turns of
0.6 ms cost a request of 64 connections 2 to 8 % less than turns of 0.15 ms; who cannot wait so long has his call
between two others of the same turn (``call_at``). Sockets are closed after a turn, so that the number of one cannot be
given to another while events for it are still at hand.
"""

import heapq
import itertools
import math
import os
import select
import socket
import time
from collections import deque
from collections.abc import Callable

from gateway.lane.coalescing import MOST, Coalescing

BUDGET = 32
"""Events, and continuations, of one turn."""
TURN = 0.0006
"""Seconds after which a turn leaves the rest of its work to the next one, but for what it has to send."""
FEW = 3
"""A turn with fewer events has time to note what it has sent."""
MOST_NOTES, MOST_TURNS = 32, 8
"""Notes that are kept while there is no such turn, and turns that they are kept for."""
REST = 0.00002
"""Seconds; what takes less is the question to the kernel, and no rest."""
COARSE = 0.01
"""Seconds; a shorter time limit is waited for by ``select``, because epoll knows milliseconds only."""
EDGES = select.EPOLLIN | select.EPOLLOUT | select.EPOLLRDHUP | select.EPOLLET
READABLE = select.EPOLLIN | select.EPOLLRDHUP | select.EPOLLHUP | select.EPOLLERR
WRITABLE = select.EPOLLOUT | select.EPOLLHUP | select.EPOLLERR
HUNG_UP = select.EPOLLRDHUP | select.EPOLLHUP | select.EPOLLERR
ONCE = select.EPOLLIN | select.EPOLLONESHOT

Ready = Callable[[int], None]
"""Called with the mask of what happened."""


class Reactor:
    """One for each worker. ``now``: ``time.monotonic()`` at the beginning of the turn, and what all time limits are
    measured by; ``waited``: seconds that it has rested for want of work; ``turns``: how many so far."""

    def __init__(self) -> None:
        self._epoll = select.epoll()
        self._streams = Coalescing()
        self._epoll.register(self._streams.fileno(), ONCE)
        self._ready: dict[int, Ready] = {self._streams.fileno(): self._take_streams}
        self._soon: deque[Callable[[], object]] = deque()
        self._timers: list[tuple[float, int, Callable[[], object]]] = []
        self._numbers = itertools.count()
        self._due = math.inf
        """When the first of the timers is."""
        self._events: list[tuple[int, int]] = []
        """What epoll has told and nobody has been told of yet, the last first."""
        self._at_end: list[Callable[[], object]] = []
        self._last: list[Callable[[], object]] = []
        self._kept_for = 0
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

    # -------------------------------------------------------------- sockets

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

    def coalesce(self, sock: socket.socket) -> None:
        """From now on it is told only that there is something to read, and together with the others of this kind."""
        self._epoll.unregister(sock.fileno())
        self._streams.add(sock)

    def single_out(self, sock: socket.socket) -> None:
        """The end of ``coalesce``."""
        self._streams.remove(sock)
        self._epoll.register(sock.fileno(), EDGES)

    # -------------------------------------------------------------- calls

    def soon(self, call: Callable[[], object]) -> None:
        """Go on in the next turn."""
        self._soon.append(call)
        self._wake()

    def soon_threadsafe(self, call: Callable[[], object]) -> None:
        """The same, from any thread."""
        self._soon.append(call)
        os.eventfd_write(self._poke, 1)

    def call_at(self, when: float, call: Callable[[], object]) -> None:
        """Call at a reading of ``time.monotonic()``, between two other calls of a turn if need be. For the few that a
        turn is too long for."""
        heapq.heappush(self._timers, (when, next(self._numbers), call))
        self._due = self._timers[0][0]
        self._wake()

    def at_end(self, call: Callable[[], object]) -> None:
        """Call when the handlers of this turn have been called; at once outside a turn. For what is sent."""
        if self._turning:
            self._at_end.append(call)
        else:
            call()

    def at_last(self, call: Callable[[], object]) -> None:
        """The same, behind everything that is sent, and perhaps a few turns later. For what is noted."""
        if self._turning:
            self._last.append(call)
        else:
            call()

    def _wake(self) -> None:
        """What is asked for from outside a turn needs one."""
        if not self._turning:
            os.eventfd_write(self._poke, 1)

    # -------------------------------------------------------------- turns

    @property
    def patience(self) -> float:
        """Seconds until there is work that no event will tell of."""
        if self._soon or self._events or self._last:
            return 0.0
        return max(0.0, self._due - time.monotonic()) if self._timers else math.inf

    def turn(self, timeout: float = 0.0) -> bool:
        """Do what is at hand, within the limits above; wait for it so many seconds at most. Was there anything?"""
        events = self._events
        if events:
            self.now = time.monotonic()
        else:
            events = self._events = self._wait(timeout)
        self._turning = True
        self.turns += 1
        found = len(events)
        end = self.now + TURN
        if self._due <= self.now:
            self._call_due()
        continued = min(len(self._soon), BUDGET)
        if continued:
            self._continue(continued, end)
        self._tell(events, end)
        self._end_turn(found)
        if not events:
            # A number may be given to another socket only when no event of the old one is left.
            while self._closing:
                self._closing.pop().close()
        return found > 0 or continued > 0

    def _end_turn(self, events: int) -> None:
        """Send what the handlers want sent; let it be noted, unless there is too much else to do."""
        if self._at_end:
            self._call_all(self._at_end)
        if self._last:
            self._kept_for += 1
            if events < FEW or len(self._last) >= MOST_NOTES or self._kept_for >= MOST_TURNS:
                self.note()
                self._call_all(self._at_end)
        self._turning = False

    def note(self) -> None:
        """Let be noted what is still to be noted."""
        self._kept_for = 0
        self._call_all(self._last)

    def _wait(self, timeout: float) -> list[tuple[int, int]]:
        """The next events, the last first."""
        begun = time.monotonic()
        if self._soon or self._last:
            timeout = 0.0
        elif self._due < begun + timeout:
            timeout = max(0.0, self._due - begun)
        if 0.0 < timeout < COARSE:
            select.select((self._epoll,), (), (), timeout)
            events = self._epoll.poll(0.0, BUDGET)
        else:
            events = self._epoll.poll(timeout if timeout < math.inf else None, BUDGET)
        self.now = now = time.monotonic()
        if timeout and now - begun > REST:
            self.waited += now - begun
        events.reverse()
        return events

    def _continue(self, most: int, end: float) -> None:
        for _ in range(most):
            self._soon.popleft()()
            now = time.monotonic()
            if (now >= end or now >= self._due) and self._is_over(end):
                return

    def _tell(self, events: list[tuple[int, int]], end: float) -> None:
        while events:
            number, mask = events.pop()
            ready = self._ready.get(number)
            if ready is not None:
                ready(mask)
                now = time.monotonic()
                if (now >= end or now >= self._due) and self._is_over(end):
                    return
            elif number == self._poke:
                os.eventfd_read(self._poke)

    def _take_streams(self, _: int) -> None:
        """Some of the sockets that are looked at together have something to say."""
        streams = self._streams
        events = streams.take(self.now)
        self._events.extend(reversed(events))
        if streams.pause and len(events) < MOST:
            self.call_at(self.now + streams.pause, self._expect_streams)
        else:
            self._expect_streams()

    def _expect_streams(self) -> None:
        self._streams.expect(time.monotonic())
        self._epoll.modify(self._streams.fileno(), ONCE)

    def _call_all(self, calls: list[Callable[[], object]]) -> None:
        """And whatever they add to it."""
        for call in calls:
            call()
            if time.monotonic() >= self._due:
                self._call_due()
        calls.clear()

    def _is_over(self, end: float) -> bool:
        """Let be called what is due; is the turn?"""
        self._call_due()
        return time.monotonic() >= end

    def _call_due(self) -> None:
        timers = self._timers
        while timers and timers[0][0] <= time.monotonic():
            heapq.heappop(timers)[2]()
        self._due = timers[0][0] if timers else math.inf

    def aclose(self) -> None:
        """Nothing is watched any more."""
        while self._closing:
            self._closing.pop().close()
        os.close(self._poke)
        self._streams.close()
        self._epoll.close()

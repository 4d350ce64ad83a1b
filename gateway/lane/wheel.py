"""Time limits for many connections, coarse and cheap: moving a deadline is one assignment.

Everything that has a deadline stands in one slot of the wheel. When its slot comes up, it is asked whether its
time is really over; if its deadline was moved meanwhile, it goes to a later slot. What is new gets its slot at the
next tick: most connections of clients that open one for each request are gone by then. Called once a tick.
"""

import math
from typing import Protocol

TICK = 0.25
"""Seconds; a limit ends up to this much late."""
SLOTS = 256
HORIZON = TICK * (SLOTS - 1)
"""Seconds; a deadline that is further away is looked at in time without a word."""


class Timed(Protocol):
    """Something with a deadline: a reading of ``time.monotonic()``, or infinity for none."""

    deadline: float

    def expire(self) -> None:
        """Its deadline is over. It sets another one, or leaves the wheel."""
        ...


class Wheel:
    """``now``: where time begins."""

    def __init__(self, now: float) -> None:
        self._slots: list[dict[Timed, None]] = [{} for _ in range(SLOTS)]
        self._tick = math.floor(now / TICK)
        self._where: dict[Timed, int] = {}
        self._new: dict[Timed, None] = {}

    def __len__(self) -> int:
        return len(self._where) + len(self._new)

    def add(self, timed: Timed) -> None:
        """From now on; once."""
        self._new[timed] = None

    def remove(self, timed: Timed) -> None:
        """Not any more; once."""
        if timed in self._new:
            del self._new[timed]
        else:
            del self._slots[self._where.pop(timed)][timed]

    def sooner(self, timed: Timed) -> None:
        """Its deadline was moved to an earlier moment. One that was moved to a later moment needs no word."""
        if timed not in self._new:
            self.remove(timed)
            self._put(timed)

    def advance(self, now: float) -> None:
        """Let expire what is over; a deadline is looked at once a round at least."""
        last = math.floor(now / TICK)
        new, self._new = self._new, {}
        for timed in new:
            self._put(timed)
        # Time that nobody looked at the wheel is caught up with one round at most.
        self._tick = max(self._tick, last - SLOTS)
        while self._tick < last:
            self._tick += 1
            slot, self._slots[self._tick % SLOTS] = self._slots[self._tick % SLOTS], {}
            for timed in slot:
                del self._where[timed]
                self._put(timed)
            for timed in slot:
                if timed in self._where and timed.deadline <= now:
                    timed.expire()

    def _put(self, timed: Timed) -> None:
        ahead = SLOTS - 1 if timed.deadline == math.inf else math.floor(timed.deadline / TICK) + 1 - self._tick
        number = (self._tick + min(max(ahead, 1), SLOTS - 1)) % SLOTS
        self._slots[number][timed] = None
        self._where[timed] = number

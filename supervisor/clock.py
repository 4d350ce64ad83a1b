"""The supervisor's one clock: monotonic seconds, the same for all processes of this machine.

Never trio's clock, which has a random offset in each process; never the wall clock, which jumps.
"""

import time


def now() -> float:
    """Seconds; only differences mean anything."""
    return time.monotonic_ns() / 1e9


def from_wire(reading: int) -> float:
    """A ``time.monotonic_ns()`` reading of another process, in this clock's seconds; never later than now."""
    return min(reading / 1e9, now())

"""One line for each request, written many at a time: Python's logging costs as much as the request itself.

Lines look like those of the logging module, and follow its level. No query and no headers, which may carry
secrets. Called by ``exchange.py``; ``lane.py`` flushes four times a second.
"""

import contextlib
import logging
import sys
import time

log = logging.getLogger("swapyard.access")

MOST_LINES = 64
"""Kept at most; one write of so many costs as much as one of a single line."""


class AccessLog:
    """Lines since the last flush."""

    def __init__(self) -> None:
        self._lines: list[str] = []
        self._second = 0
        self._date = ""
        self._millisecond = 0
        self._time = ""

    def add(self, peer: str, target: str, status: int, sent: int, seconds: float) -> None:
        """One request that has ended."""
        if not log.isEnabledFor(logging.INFO):
            return
        now = time.time_ns() // 1_000_000
        if now != self._millisecond:
            self._millisecond = now
            second, rest = divmod(now, 1000)
            if second != self._second:
                self._second = second
                self._date = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(second))
            self._time = f"{self._date},{rest:03d}"
        self._lines.append(
            f"{self._time} INFO    swapyard.access: {peer} {target} {status} {sent} bytes {seconds:.3f} s\n"
        )
        if len(self._lines) >= MOST_LINES:
            self.flush()

    def flush(self) -> None:
        """Write what there is."""
        if self._lines:
            lines, self._lines = self._lines, []
            # Whoever read our output may have gone; that is no reason to end.
            with contextlib.suppress(OSError):
                sys.stderr.write("".join(lines))
                sys.stderr.flush()

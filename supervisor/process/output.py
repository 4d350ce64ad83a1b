"""What a model wrote: its last lines, numbered over all its generations, and told on in batches.

Never slows the model down: lines that nobody follows are simply kept, and old ones go. Bounded by
``MOST_BYTES``; longer lines than ``LONGEST_LINE`` are cut. Fed by ``model.py``; read by the control socket.
"""

from collections import deque
from collections.abc import Callable, Sequence

MOST_BYTES = 100 * 1024
LONGEST_LINE = 8 * 1024


class OutputRing:
    """``on_lines(first, lines)`` is called once for each ``append`` that completed lines."""

    def __init__(self, on_lines: Callable[[int, Sequence[str]], None]) -> None:
        self._on_lines = on_lines
        self._lines: deque[str] = deque()
        self._first = 1
        self._size = 0
        self._rest = b""

    def append(self, data: bytes) -> None:
        """What one read returned."""
        *whole, rest = (self._rest + data).split(b"\n")
        while len(rest) > LONGEST_LINE:
            whole.append(rest[:LONGEST_LINE])
            rest = rest[LONGEST_LINE:]
        self._rest = rest
        self._keep(whole)

    def flush(self) -> None:
        """The process has ended: an unfinished line is a line."""
        if self._rest:
            rest, self._rest = self._rest, b""
            self._keep([rest])

    def note(self, text: str) -> None:
        """A line of ours among the model's, such as where a generation begins."""
        self.flush()
        self._keep([text.encode()])

    def snapshot(self) -> tuple[int, list[str]]:
        """The number of the first kept line, and the kept lines."""
        return self._first, list(self._lines)

    def _keep(self, whole: Sequence[bytes]) -> None:
        if not whole:
            return
        lines = [line[:LONGEST_LINE].decode(errors="replace").rstrip("\r") for line in whole]
        number = self._first + len(self._lines)
        self._lines.extend(lines)
        self._size += sum(len(line) + 1 for line in lines)
        while self._size > MOST_BYTES:
            self._size -= len(self._lines.popleft()) + 1
            self._first += 1
        self._on_lines(number, lines)

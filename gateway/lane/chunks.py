"""Where a chunked body ends, found by jumping from size line to size line (RFC 9112 §7.1).

Strict, because two readings of one body are how requests are smuggled: sizes are hex digits and nothing else,
lines end with CR LF. The bytes themselves are not touched. Called for answers of model servers, and for
requests that are handed to hypercorn.
"""

import re

LONGEST_LINE = 4096
"""Bytes of a size line with its extensions, or of one trailer."""
MOST_TRAILERS = 64
MOST_SIZES = 4096
LONGEST_SIZE = 6
"""Bytes of a size line that is kept for the next time."""
_SIZE = re.compile(rb"([0-9A-Fa-f]{1,15})[ \t]*(?:;[^\n]*)?\r")
_sizes: dict[bytes, int] = {}
"""What size lines mean, of all connections: a stream's chunks have few sizes, and reading one costs 1 µs."""


class NotChunked(Exception):
    """The body is not what it said it would be."""


class Chunks:
    """Fed with a body piece by piece. ``boundary``: between two chunks, so that another one could stand here."""

    __slots__ = ("_crlf", "_left", "_line", "_trailers", "boundary")

    def __init__(self) -> None:
        self._left = 0
        self._crlf = 0
        self._line = b""
        self._trailers = -1
        self.boundary = True

    def feed(self, data: bytes) -> int:
        """The place after the end of the body, or -1 if it goes on after ``data``; ``NotChunked``."""
        position = self._through(data, 0) if self._left or self._crlf else 0
        length = len(data)
        while position < length:
            end = data.find(b"\n", position)
            if end < 0:
                self._keep(data[position:])
                return -1
            line = data[position:end]
            if self._line:
                line, self._line = self._line + line, b""
            elif self._trailers < 0 and line in _sizes:
                after = end + 1 + _sizes[line]
                if data.startswith(b"\r\n", after):
                    # All of the chunk is here, and nothing is to be remembered of it.
                    position = after + 2
                    continue
            position = end + 1
            if self._trailers < 0:
                self._size(line)
                position = self._through(data, position)
            elif line == b"\r":
                return position
            else:
                self._trailer(line)
        return -1

    def _through(self, data: bytes, position: int) -> int:
        """The place after the rest of a chunk and its line end, as far as ``data`` goes."""
        step = min(self._left, len(data) - position)
        self._left -= step
        position += step
        if self._crlf and not self._left:
            ending = data[position : position + self._crlf]
            if not b"\r\n"[2 - self._crlf :].startswith(ending):
                raise NotChunked("a chunk is longer than it says")
            self._crlf -= len(ending)
            position += len(ending)
            self.boundary = not self._crlf
        return position

    def _keep(self, beginning: bytes) -> None:
        self._line += beginning
        self.boundary = False
        if len(self._line) > LONGEST_LINE:
            raise NotChunked("a line of it is too long")

    def _size(self, line: bytes) -> None:
        match = _SIZE.fullmatch(line)
        if match is None:
            raise NotChunked("the size of a chunk is not a hexadecimal number")
        self._left = int(match[1], 16)
        self.boundary = False
        if self._left:
            self._crlf = 2
            if len(line) <= LONGEST_SIZE and len(_sizes) < MOST_SIZES:
                _sizes[line] = self._left
        else:
            self._trailers = 0

    def _trailer(self, line: bytes) -> None:
        self._trailers += 1
        if not line.endswith(b"\r") or self._trailers > MOST_TRAILERS:
            raise NotChunked("its trailers are malformed")

"""What heads of requests and answers have in common: header lines as bytes, and how to know a head again.

Clients and model servers send the same head over and over, but for the length of the body. So a head is examined
once, and known again by two comparisons with what stands before and behind that number (examining costs a worker
40 µs, knowing again 1). Called by ``heads.py`` and ``answer_heads.py``.
"""

import re

END = b"\r\n\r\n"
MOST_DIGITS = 15
"""Of a Content-Length."""
HOP = rb"connection|keep-alive|proxy-connection|proxy-authenticate|te|trailer|upgrade"
LENGTH = re.compile(rb"\r\ncontent-length:[ \t]*([0-9]{1,%d})[ \t]*\r" % MOST_DIGITS)
NUMBER = re.compile(rb"[0-9]{1,%d}" % MOST_DIGITS)
_FRAMING = frozenset({b"content-length", b"transfer-encoding", b"host"})
"""Nobody gets rid of these by naming them."""
_TOKEN = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")


class Form:
    """A head with a blank where the digits of its Content-Length stand: ``before``, blank, ``after``. Without such a
    header ``after`` is empty, and ``length`` says what holds for all of them."""

    __slots__ = ("_from", "_to", "after", "before", "length")

    def __init__(self, before: bytes, after: bytes, length: int | None = None) -> None:
        self.before = before
        self.after = after
        self.length = length
        self._from = len(before)
        self._to = len(before) + MOST_DIGITS + len(after)

    def filled(self, length: int | None) -> bytes:
        """The whole head, with the empty line."""
        return b"%b%d%b" % (self.before, length or 0, self.after) if self.after else self.before

    def again(self, data: bytes) -> tuple[int | None, int] | None:
        """Does ``data`` begin with this head? The length of its body, and where that begins."""
        if not data.startswith(self.before):
            return None
        after, at = self.after, self._from
        if not after:
            return self.length, at
        end = data.find(after, at, self._to)
        digits = data[at:end]
        if end < 0 or not digits.isdigit():
            return None
        return int(digits), end + len(after)


def lines_named(names: bytes) -> re.Pattern[bytes]:
    """Whole header lines of these names (separated by ``|``), each with the line end before it."""
    return re.compile(rb"\r\n(?:" + names + rb")[ \t]*:[^\r]*", re.IGNORECASE)


def values(low: bytes, name: bytes) -> list[bytes]:
    """The words of all headers of a name, separated by commas; ``low``: the head in lower case."""
    found = re.findall(rb"\r\n" + name + rb"[ \t]*:([^\r]*)", low)
    return [word.strip() for line in found for word in line.split(b",")]


def without_named(lines: bytes, options: list[bytes]) -> bytes:
    """Header lines without those that the words of a ``Connection`` header name."""
    names = [re.escape(word) for word in options if _TOKEN.fullmatch(word) and word not in _FRAMING]
    return lines_named(b"|".join(names)).sub(b"", lines) if names else lines


def has_only_crlf(text: bytes) -> bool:
    """Is there no line end but CR LF?"""
    breaks = text.count(b"\r\n")
    return text.count(b"\n") == breaks and text.count(b"\r") == breaks

"""Heads of requests and answers: checked, then passed on as they came, but for what must not be (RFC 9112).

A request's head is the lane's only if nothing about it is odd: llhttp validates it, one ``Content-Length``, no
``Transfer-Encoding``, no upgrade, lines that end with CR LF and nothing else. What is odd is hypercorn's, which
answers it. Hop-by-hop headers, those that ``Connection`` names, and credentials that were meant for us are
taken out. Called by ``client.py`` and ``exchange.py``.
"""

import re

import httptools

from gateway.lane.chunks import Chunks

MOST_HEAD = 64 * 1024
"""Bytes of a request's head."""
MOST_ANSWER_HEAD = 256 * 1024
END = b"\r\n\r\n"

_HOP = rb"connection|keep-alive|proxy-connection|proxy-authenticate|te|trailer|transfer-encoding|upgrade"
_DROPPED = _HOP + rb"|content-length|expect|x-forwarded-for"
_CREDENTIALS = rb"authorization|x-api-key|proxy-authorization"


def _lines(names: bytes) -> re.Pattern[bytes]:
    """Whole header lines, each with the line end before it."""
    return re.compile(rb"\r\n(?:" + names + rb")[ \t]*:[^\r]*", re.IGNORECASE)


_UPWARD = _lines(_DROPPED)
_UPWARD_SECRET = _lines(_DROPPED + rb"|" + _CREDENTIALS)
_DOWNWARD = _lines(_HOP.replace(rb"|transfer-encoding", rb""))
_CREDENTIAL = re.compile(rb"\r\n(" + _CREDENTIALS + rb"):[ \t]*([^\r]*?)[ \t]*(?=\r)", re.IGNORECASE)
_LENGTH = re.compile(rb"\r\ncontent-length:[ \t]*([0-9]{1,15})[ \t]*\r")
_NUMBER = re.compile(rb"[0-9]{1,15}")
_STATUS = re.compile(rb"HTTP/1\.([01]) ([1-9][0-9]{2})(?: [^\r\n]*)?(?=\r|\Z)")
_FRAMING = frozenset({b"content-length", b"transfer-encoding", b"host"})
"""Nobody gets rid of these by naming them."""
_TOKEN = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")


class _Deaf:
    """What llhttp calls while it validates. Class attributes spare httptools ten failed look-ups."""

    on_message_begin = on_url = on_header = on_headers_complete = on_body = on_message_complete = None
    on_chunk_header = on_chunk_complete = on_status = None


_DEAF = _Deaf()


class RequestHead:
    """One that the lane takes. ``text``: from the request line to before the empty line; ``length``: of the body."""

    __slots__ = ("_low", "close", "expects", "length", "text")

    def __init__(self, text: bytes, low: bytes, length: int, *, close: bool, expects: bool) -> None:
        self.text = text
        self._low = low
        self.length = length
        self.close = close
        self.expects = expects

    def value(self, name: bytes) -> str:
        """The first value of a header, by its lower-case name; empty without one."""
        at = self._low.find(b"\r\n" + name + b":")
        if at < 0:
            return ""
        start = at + len(name) + 3
        end = self.text.find(b"\r", start)
        return self.text[start : end if end >= 0 else None].strip().decode("latin-1")

    def credentials(self) -> list[tuple[bytes, bytes]]:
        """Headers that may carry a key."""
        if b"\r\nauthorization" not in self._low and b"\r\nx-api-key" not in self._low:
            return []
        return _CREDENTIAL.findall(self.text + b"\r")

    def upward(self, *, peer: bytes, length: int, keep_credentials: bool) -> bytes:
        """The header lines for the model server, each with the line end before it, and the end of the head."""
        kept = (_UPWARD if keep_credentials else _UPWARD_SECRET).sub(b"", self.text[self.text.find(b"\r\n") :])
        if b"\r\nconnection" in self._low:
            kept = _without_named(kept, _values(self._low, b"connection"))
        if b"\r\nx-forwarded-for" in self._low:
            peer = b", ".join([*_values(self._low, b"x-forwarded-for"), peer])
        return b"%b\r\nx-forwarded-for: %b\r\ncontent-length: %d\r\n\r\n" % (kept, peer, length)


def request_head(text: bytes) -> RequestHead | None:
    """The head of a POST that ends where ``text`` ends (before the empty line); None if it is not the lane's."""
    low = text.lower() + b"\r\n"
    lengths = low.count(b"\r\ncontent-length")
    if lengths != 1 or low.count(b"\r\nhost") != 1 or b"\r\ntransfer-encoding" in low or b"\r\nupgrade" in low:
        return None
    breaks = text.count(b"\r\n")
    if text.count(b"\n") != breaks or text.count(b"\r") != breaks or b"\r\n " in text or b"\r\n\t" in text:
        return None
    match = _LENGTH.search(low)
    if match is None or not _is_valid(text):
        return None
    close = expects = False
    if b"\r\nconnection" in low:
        options = _values(low, b"connection")
        if b"upgrade" in options:
            return None
        close = b"close" in options
    if b"\r\nexpect" in low:
        if _values(low, b"expect") != [b"100-continue"]:
            return None
        expects = True
    return RequestHead(text, low, int(match[1]), close=close, expects=expects)


def _is_valid(text: bytes) -> bool:
    parser = httptools.HttpRequestParser(_DEAF)
    try:
        parser.feed_data(text + END)
    except (httptools.HttpParserError, httptools.HttpParserUpgrade):
        return False
    return True


class AmbiguousLength(Exception):
    """Two ways to tell where a request ends: how requests are smuggled past proxies (RFC 9112 §6.3)."""


def body_of(text: bytes) -> Chunks | int | None:
    """Where the body of any request ends: its length, or the chunks to follow; None if only hypercorn can tell,
    because the request is malformed, or asks to leave HTTP/1.1. Raises ``AmbiguousLength``."""
    low = text.lower() + b"\r\n"
    breaks = text.count(b"\r\n")
    if text.count(b"\n") != breaks or b"\r\nupgrade" in low or low.startswith((b"connect ", b"pri ")):
        return None
    codings = _values(low, b"transfer-encoding")
    lengths = _values(low, b"content-length")
    if codings and lengths:
        raise AmbiguousLength
    if not _is_valid(text):
        return None
    if codings:
        return Chunks() if codings == [b"chunked"] else None
    if not lengths:
        return 0
    return int(lengths[0]) if len(lengths) == 1 and _NUMBER.fullmatch(lengths[0]) else None


def _values(low: bytes, name: bytes) -> list[bytes]:
    """The words of all headers of a name, separated by commas."""
    found = re.findall(rb"\r\n" + name + rb"[ \t]*:([^\r]*)", low)
    return [word.strip() for line in found for word in line.split(b",")]


def _without_named(lines: bytes, options: list[bytes]) -> bytes:
    """Header lines without those that the words of a ``Connection`` header name."""
    names = [re.escape(word) for word in options if _TOKEN.fullmatch(word) and word not in _FRAMING]
    return _lines(b"|".join(names)).sub(b"", lines) if names else lines


class AnswerHead:
    """The head of a model server's answer. ``length``: of the body, None if chunked or until the end; ``text``: as
    the client gets it, without the empty line."""

    __slots__ = ("chunked", "event_stream", "keep_alive", "length", "status", "text")

    def __init__(self, status: int, text: bytes, length: int | None, *, chunked: bool, keep_alive: bool) -> None:
        self.status = status
        self.text = text
        self.length = length
        self.chunked = chunked
        self.keep_alive = keep_alive
        self.event_stream = False


class NotAnAnswer(Exception):
    """What a model server sent is not an HTTP answer, or one that could be read in two ways."""


def answer_head(raw: bytes) -> AnswerHead:
    """From the status line to before the empty line; ``NotAnAnswer``."""
    low = raw.lower() + b"\r\n"
    match = _STATUS.match(raw)
    breaks = raw.count(b"\r\n")
    if match is None or raw.count(b"\n") != breaks or raw.count(b"\r") != breaks or b"\0" in raw:
        raise NotAnAnswer("its head is malformed")
    status = int(match[2])
    chunked = b"\r\ntransfer-encoding" in low
    length = _length_of(low, status, chunked=chunked)
    keep_alive = match[1] == b"1"
    text = raw if keep_alive else b"HTTP/1.1" + raw[8:]
    if b"\r\nconnection" in low:
        options = _values(low, b"connection")
        keep_alive = b"close" not in options and (keep_alive or b"keep-alive" in options)
        text = _without_named(text, options)
    if b"\r\nconnection" in low or b"\r\nkeep-alive" in low or b"\r\nproxy-" in low or b"\r\nupgrade" in low:
        text = _DOWNWARD.sub(b"", text)
    head = AnswerHead(status, text, length, chunked=chunked, keep_alive=keep_alive)
    head.event_stream = status == 200 and b"text/event-stream" in low
    if head.event_stream and b"\r\nx-accel-buffering" not in low:
        head.text += b"\r\nx-accel-buffering: no"
    return head


def _length_of(low: bytes, status: int, *, chunked: bool) -> int | None:
    lengths = _values(low, b"content-length") if b"\r\ncontent-length" in low else []
    if chunked:
        if lengths or _values(low, b"transfer-encoding") != [b"chunked"]:
            raise NotAnAnswer("it is not clear where its body ends")
        return None
    if status in (204, 304):
        return 0
    if not lengths:
        return None
    if len(set(lengths)) > 1 or not _NUMBER.fullmatch(lengths[0]):
        raise NotAnAnswer("its Content-Length is no number")
    return int(lengths[0])

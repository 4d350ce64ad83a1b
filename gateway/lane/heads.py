"""Heads of requests: checked, then passed on as they came, but for what must not be (RFC 9112).

A request's head is the lane's only if nothing about it is odd: llhttp validates it, one ``Content-Length``, no
``Transfer-Encoding``, no upgrade, lines that end with CR LF and nothing else. What is odd is hypercorn's, which
answers it. Hop-by-hop headers, those that ``Connection`` names, and credentials that were meant for us are
taken out. Called by ``client.py`` and ``exchange.py``.
"""

import re
from collections.abc import Mapping
from hmac import compare_digest

import httptools

from gateway import auth
from gateway.callers import CALLER, Network, caller_of
from gateway.lane.chunks import Chunks
from gateway.lane.form import (
    END,
    HOP,
    LENGTH,
    MOST_DIGITS,
    NUMBER,
    Form,
    has_only_crlf,
    lines_named,
    values,
    without_named,
)
from gateway.routing import ROUTES, Route
from protocol.catalogue import Catalogue

MOST_HEAD = 64 * 1024
"""Bytes of a request's head."""
MOST_KNOWN = 256
"""Heads that are known again; one more, and all of them are forgotten."""
KNOWN_HEAD = 4096
"""Bytes of a head that is worth knowing again."""

_DROPPED = HOP + rb"|transfer-encoding|content-length|expect|x-forwarded-for"
_CREDENTIALS = rb"authorization|x-api-key|proxy-authorization"
_UPWARD = lines_named(_DROPPED)
_UPWARD_SECRET = lines_named(_DROPPED + rb"|" + _CREDENTIALS)
_CALLING = re.compile(rb"\r\n(" + _CREDENTIALS + rb"|" + CALLER + rb"):[ \t]*([^\r]*?)[ \t]*(?=\r)", re.IGNORECASE)
_CREDENTIAL = re.compile(rb"\r\n(" + _CREDENTIALS + rb"):[ \t]*([^\r]*?)[ \t]*(?=\r)", re.IGNORECASE)


class _Deaf:
    """What llhttp calls while it validates. Class attributes spare httptools ten failed look-ups."""

    on_message_begin = on_url = on_header = on_headers_complete = on_body = on_message_complete = None
    on_chunk_header = on_chunk_complete = on_status = None


_DEAF = _Deaf()


class RequestHead(Form):
    """One that the lane takes, and its like. ``line``: method and target, for the log; ``patience``: what it says of
    its own time limit."""

    __slots__ = ("_allowed_by", "_called", "_up", "close", "expects", "line", "patience", "route")

    def __init__(self, before: bytes, after: bytes, route: Route, *, close: bool, expects: bool) -> None:
        super().__init__(before, after)
        self._allowed_by: Catalogue | None = None
        self._called: tuple[str, bool, tuple[Network, ...], str] | None = None
        """What ``caller`` was asked last, and its answer."""
        self._up: tuple[bytes, str, bool, bytes] | None = None
        """The same of ``upward``."""
        self.line = before[: before.find(b" HTTP/")].decode("latin-1")
        self.route = route
        self.close = close
        self.expects = expects
        self.patience = self.value(b"x-request-timeout")

    def again(self, data: bytes) -> tuple[int, int] | None:
        """As ``Form`` says, in a time that tells nothing: there is a key in it, perhaps of somebody else behind the
        same proxy."""
        at, after = self._from, self.after
        end = data.find(after[:1], at, self._to)
        digits = data[at:end]
        if end < 0 or not digits.isdigit() or len(digits) > MOST_DIGITS:
            return None
        start = end + len(after)
        if compare_digest(data[:at], self.before) and compare_digest(data[end:start], after):
            return int(digits), start
        return None

    def value(self, name: bytes) -> str:
        """The first value of a header, by its lower-case name; empty without one."""
        text = self.filled(0)
        at = text.lower().find(b"\r\n" + name + b":")
        start = at + len(name) + 3
        return text[start : text.find(b"\r", start)].strip().decode("latin-1") if at >= 0 else ""

    def allowed(self, catalogue: Catalogue) -> bool:
        """Does it carry a key of this catalogue? Once it does, it does as long as the catalogue is in force."""
        if self._allowed_by is not catalogue:
            if not auth.allowed(_CREDENTIAL.findall(self.filled(0)), catalogue.key_digests):
                return False
            self._allowed_by = catalogue
        return True

    def caller(self, peer: str, *, keys: bool, trusted: tuple[Network, ...]) -> str:
        """Whom it is accounted to, as ``callers.py`` says."""
        if not keys and not trusted:
            return peer
        known = self._called
        if known is None or known[0] != peer or known[1] is not keys or known[2] is not trusted:
            caller = caller_of(_CALLING.findall(self.filled(0)), peer, keys=keys, trusted=trusted)
            known = self._called = (peer, keys, trusted, caller)
        return known[3]

    def upward(self, *, base: bytes, peer: str, length: int, keep_credentials: bool) -> bytes:
        """The head for the model server, with the empty line. ``base``: what stands before its paths; ``peer``: the
        client's address."""
        known = self._up
        if known is None or known[0] != base or known[1] != peer or known[2] is not keep_credentials:
            text = self._before_length(base, peer, keep_credentials=keep_credentials)
            known = self._up = (base, peer, keep_credentials, text)
        return b"%b%d\r\n\r\n" % (known[3], length)

    def _before_length(self, base: bytes, peer: str, *, keep_credentials: bool) -> bytes:
        """The head as it goes up, to where the length of the body stands."""
        text = self.filled(0)
        text = text[text.find(b"\r\n") : -len(END)]
        low = text.lower() + b"\r\n"
        lines = (_UPWARD if keep_credentials else _UPWARD_SECRET).sub(b"", text)
        lines = without_named(lines, values(low, b"connection"))
        addresses = b", ".join([*values(low, b"x-forwarded-for"), peer.encode("latin-1")])
        target = base + self.route.forward_as.encode()
        return b"POST %b HTTP/1.1%b\r\nx-forwarded-for: %b\r\ncontent-length: " % (target, lines, addresses)


class RequestHeads:
    """The heads that are known, of all connections; looked up by hash, which tells nothing of the keys in them.
    ``last``: the one that was asked for last."""

    def __init__(self, routes: Mapping[str, Route] = ROUTES) -> None:
        self._routes = {f"POST {path} HTTP/1.1".encode(): route for path, route in routes.items()}
        self._known: dict[tuple[bytes, bytes], RequestHead] = {}
        self.last: RequestHead | None = None

    def find(self, text: bytes) -> tuple[RequestHead, int] | None:
        """The head of a POST (``text``, with the empty line), and the length of its body; None if it is not the
        lane's."""
        route = self._routes.get(text[: text.find(b"\r\n")])
        if route is None:
            return None
        low = text.lower()
        match = LENGTH.match(low, low.find(b"\r\ncontent-length"))
        if match is None:
            return None
        key = text[: match.start(1)], text[match.end(1) :]
        head = self._known.get(key)
        if head is None:
            options = _examined(text, low)
            if options is None:
                return None
            close, expects = options
            head = RequestHead(*key, route, close=close, expects=expects)
            if len(text) <= KNOWN_HEAD:
                if len(self._known) >= MOST_KNOWN:
                    self._known.clear()
                self._known[key] = head
        self.last = head
        return head, int(match[1])


def _examined(text: bytes, low: bytes) -> tuple[bool, bool] | None:
    """Does this head, otherwise in order, ask for the end of the connection, and for a 100? None if it is odd."""
    if low.count(b"\r\ncontent-length") != 1 or low.count(b"\r\nhost") != 1:
        return None
    if b"\r\ntransfer-encoding" in low or b"\r\nupgrade" in low:
        return None
    if not has_only_crlf(text) or b"\r\n " in text or b"\r\n\t" in text or not _is_valid(text):
        return None
    options = values(low, b"connection")
    expected = values(low, b"expect")
    if b"upgrade" in options or expected not in ([], [b"100-continue"]):
        return None
    return b"close" in options, bool(expected)


def _is_valid(text: bytes) -> bool:
    parser = httptools.HttpRequestParser(_DEAF)
    try:
        parser.feed_data(text)
    except (httptools.HttpParserError, httptools.HttpParserUpgrade):
        return False
    return True


class AmbiguousLength(Exception):
    """Two ways to tell where a request ends: how requests are smuggled past proxies (RFC 9112 §6.3)."""


def body_of(text: bytes) -> Chunks | int | None:
    """Where the body of any request ends: its length, or the chunks to follow; None if only hypercorn can tell,
    because the request is malformed, or asks to leave HTTP/1.1. Raises ``AmbiguousLength``."""
    low = text.lower() + b"\r\n"
    if text.count(b"\n") != text.count(b"\r\n") or b"\r\nupgrade" in low or low.startswith((b"connect ", b"pri ")):
        return None
    codings = values(low, b"transfer-encoding")
    lengths = values(low, b"content-length")
    if codings and lengths:
        raise AmbiguousLength
    if not _is_valid(text + END):
        return None
    if codings:
        return Chunks() if codings == [b"chunked"] else None
    if not lengths:
        return 0
    return int(lengths[0]) if len(lengths) == 1 and NUMBER.fullmatch(lengths[0]) else None

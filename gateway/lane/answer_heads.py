"""Heads of model servers' answers: checked, then passed on as they came, but for hop-by-hop headers (RFC 9112).

Called by ``exchange.py``, over the ``AnswerHeads`` of its pool.
"""

import re

from gateway.lane.form import END, HOP, LENGTH, NUMBER, Form, has_only_crlf, lines_named, values, without_named

MOST_ANSWER_HEAD = 256 * 1024
MOST_KNOWN = 16 * 1024
"""Bytes of a head that is worth knowing again."""
_DOWNWARD = lines_named(HOP)
_STATUS = re.compile(rb"HTTP/1\.([01]) ([1-9][0-9]{2})(?: [^\r\n]*)?(?=\r|\Z)")


class NotAnAnswer(Exception):
    """What a model server sent is not an HTTP answer, or one that could be read in two ways."""


class AnswerHead(Form):
    """As a model server sent it. ``down``: as clients get it; None: the same. A body without a length is ``chunked``,
    or goes on to the end of the connection."""

    __slots__ = ("chunked", "down", "event_stream", "keep_alive", "status")

    def __init__(self, form: Form, down: Form | None, status: int, *, chunked: bool, keep_alive: bool) -> None:
        super().__init__(form.before, form.after, form.length)
        self.down = down
        self.status = status
        self.chunked = chunked
        self.keep_alive = keep_alive
        self.event_stream = False

    def text(self, length: int | None, *, close: bool) -> bytes:
        """What the client gets, with the empty line."""
        text = (self.down or self).filled(length)
        return text[: -len(END)] + b"\r\nconnection: close" + END if close else text


class AnswerHeads:
    """Those of one pool: the last one is probably the next one's too. Mirror: ``heads.py`` for requests."""

    def __init__(self) -> None:
        self._last: AnswerHead | None = None

    def find(self, data: bytes) -> tuple[AnswerHead | None, int | None, int]:
        """The head that ``data`` begins with, the length of the body, and where that begins. No head: it has not come
        yet, and interim answers end where it will begin. ``NotAnAnswer``."""
        if self._last is not None:
            found = self._last.again(data)
            if found is not None:
                return self._last, *found
        start = 0
        while (end := data.find(END, start)) >= 0 and end - start <= MOST_ANSWER_HEAD:
            head, length = answer_head(data[start:end])
            begun, start = start, end + len(END)
            if not 100 <= head.status < 200:
                if end - begun <= MOST_KNOWN:
                    self._last = head
                return head, length, start
        if len(data) - start > MOST_ANSWER_HEAD:
            raise NotAnAnswer("its head is too large")
        return None, None, start


def answer_head(raw: bytes) -> tuple[AnswerHead, int | None]:
    """From the status line to before the empty line, and the length of the body; ``NotAnAnswer``."""
    low = raw.lower() + b"\r\n"
    match = _STATUS.match(raw)
    if match is None or not has_only_crlf(raw) or b"\0" in raw:
        raise NotAnAnswer("its head is malformed")
    status = int(match[2])
    chunked = b"\r\ntransfer-encoding" in low
    length = _length_of(low, status, chunked=chunked)
    keep_alive = match[1] == b"1"
    text = raw if keep_alive else b"HTTP/1.1" + raw[8:]
    if b"\r\nconnection" in low:
        options = values(low, b"connection")
        keep_alive = b"close" not in options and (keep_alive or b"keep-alive" in options)
        text = without_named(text, options)
    text = _DOWNWARD.sub(b"", text)
    event_stream = status == 200 and b"text/event-stream" in low
    if event_stream and b"\r\nx-accel-buffering" not in low:
        text += b"\r\nx-accel-buffering: no"
    form = _form(raw, length)
    head = AnswerHead(
        form, None if text == raw else _form(text, length), status, chunked=chunked, keep_alive=keep_alive
    )
    head.event_stream = event_stream
    return head, length


def _form(text: bytes, length: int | None) -> Form:
    """With a blank where the length of the body stands, if that is all there is to it."""
    low = text.lower() + b"\r"
    if length is not None and low.count(b"\r\ncontent-length") == 1:
        match = LENGTH.search(low)
        if match is not None and int(match[1]) == length:
            return Form(text[: match.start(1)], text[match.end(1) :] + END)
    return Form(text + END, b"", length)


def _length_of(low: bytes, status: int, *, chunked: bool) -> int | None:
    lengths = values(low, b"content-length") if b"\r\ncontent-length" in low else []
    if chunked:
        if lengths or values(low, b"transfer-encoding") != [b"chunked"]:
            raise NotAnAnswer("it is not clear where its body ends")
        return None
    if status in (204, 304):
        return 0
    if not lengths:
        return None
    if len(set(lengths)) > 1 or not NUMBER.fullmatch(lengths[0]):
        raise NotAnAnswer("its Content-Length is no number")
    return int(lengths[0])

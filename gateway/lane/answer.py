"""The body of one answer on its way down: where it ends, in what framing it goes on, what is read in passing.

Ordinarily the pieces go on as they came. Where a stream of comments has begun already, they become chunks of it;
and an answer that is no stream is then read to be told as an event. No sockets. Called by ``exchange.py``.
"""

import json

from gateway.lane.answer_heads import AnswerHead
from gateway.lane.chunks import Chunks
from gateway.usage import Tokens, UsageReader

MOST_ERROR = 64 * 1024
"""Bytes of an answer that are read to be told as an event."""
LAST_CHUNK = b"0\r\n\r\n"


class Answer:
    """``length``: of the body, if its head says so; ``joins``: the client's answer has begun, as a chunked stream.

    ``done``: the body is complete; ``clean``: nothing followed it; ``ends_with_connection``: nothing else tells where
    it ends; ``failure``: it is none that could be passed on, and this is what it says; ``passed``: bytes of it that
    went on.
    """

    __slots__ = (
        "_chunks", "_left", "_said", "_telling", "_usage", "_wraps", "clean", "done", "ends_with_connection", "failure",
        "head", "passed",
    )  # fmt: skip

    def __init__(self, head: AnswerHead, length: int | None, *, joins: bool) -> None:
        self.head = head
        self.clean = True
        self.done = False
        self.failure: str | None = None
        self.passed = 0
        self._chunks = Chunks() if head.chunked else None
        self._left = length
        self.ends_with_connection = length is None and not head.chunked
        self._telling = joins and not head.event_stream
        self._wraps = joins and not head.chunked
        self._said = b""
        self._usage = UsageReader(stream=head.event_stream)

    @property
    def takes_event(self) -> bool:
        """Could an event of ours stand here, in the client's stream?"""
        if self._wraps or self._telling:
            return True
        return self.head.event_stream and self._chunks is not None and self._chunks.boundary

    def feed(self, data: bytes) -> bytes:
        """What the client gets for a piece of the body: ``data`` itself, if nothing is different; ``NotChunked``."""
        if self._chunks is not None:
            end = self._chunks.feed(data)
            if end >= 0:
                self.done = True
                data = self._cut_at(data, end)
        elif self._left is not None:
            if len(data) >= self._left:
                self.done = True
                data = self._cut_at(data, self._left)
            self._left -= len(data)
        if self._telling or self._wraps:
            return self._framed(data)
        self.passed += len(data)
        self._usage.feed(data)
        return data

    def end(self) -> bytes:
        """The connection has ended, and the body with it."""
        self.done = True
        return self._framed(b"") if self._telling or self._wraps else b""

    def _cut_at(self, data: bytes, end: int) -> bytes:
        """What follows the body was asked for by nobody, and its connection serves nobody any more."""
        if len(data) <= end:
            return data
        self.clean = False
        return data[:end]

    def _framed(self, data: bytes) -> bytes:
        if self._telling:
            self._keep(data)
            return b""
        self.passed += len(data)
        self._usage.feed(data)
        chunk = b"%x\r\n%b\r\n" % (len(data), data) if data else b""
        return chunk + LAST_CHUNK if self.done else chunk

    def _keep(self, data: bytes) -> None:
        self._said += data[: MOST_ERROR - len(self._said)]
        if self.done or len(self._said) >= MOST_ERROR:
            said = _unchunked(self._said) if self.head.chunked else self._said
            self.failure = _message(said) or f"the model server answered {self.head.status}"

    def tokens(self) -> Tokens:
        """What the answer said of its tokens."""
        return self._usage.tokens() if self.head.status == 200 else Tokens()


def _unchunked(data: bytes) -> bytes:
    """The content of a chunked body, as far as it goes."""
    content = b""
    while True:
        line, _, rest = data.partition(b"\r\n")
        size = int(line.partition(b";")[0] or b"0", 16)
        if not size:
            return content
        content += rest[:size]
        data = rest[size + 2 :]


def _message(said: bytes) -> str:
    """The message of an upstream's error, if it is one of the usual kind."""
    try:
        error = json.loads(said)["error"]
        return str(error["message"] if isinstance(error, dict) else error)
    except (ValueError, KeyError, TypeError):
        return ""

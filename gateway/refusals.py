"""Every error that this gateway itself gives, in one table: status, type, code (``tests/compat/behaviour.md`` §1.6).

Turns a situation into an HTTP answer, negotiated by ``Accept``, or into an SSE event in the dialect of the
route. The upstream's own errors pass through untouched and never come here.
"""

import html
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from protocol.ids import Refusal

SOURCE = "swapyard"


class Dialect(StrEnum):
    """How a route's clients want errors in a stream."""

    OPENAI = "openai"
    ANTHROPIC = "anthropic"


class Situation(StrEnum):
    """What a client can meet before any model is involved, or when its model server fails."""

    NO_MODEL = "no_model"
    UNKNOWN_MODEL = "unknown_model"
    BROKEN_BODY = "broken_body"
    BROKEN_HEAD = "broken_head"
    HEAD_TOO_LARGE = "head_too_large"
    TOO_SLOW = "too_slow"
    BAD_KEY = "bad_key"
    BODY_TOO_LARGE = "body_too_large"
    UNKNOWN_PATH = "unknown_path"
    WRONG_METHOD = "wrong_method"
    UNKNOWN_LOG = "unknown_log"
    UPSTREAM_FAILED = "upstream_failed"
    UPSTREAM_SLOW = "upstream_slow"
    CUT = "cut"
    SUPERVISOR_GONE = "supervisor_gone"
    INTERNAL = "internal"


_BY_STATUS: Mapping[int, tuple[str, str]] = {
    400: ("invalid_request_error", "bad_request"),
    401: ("authentication_error", "unauthorized"),
    403: ("authentication_error", "forbidden"),
    404: ("invalid_request_error", "not_found"),
    409: ("invalid_request_error", "conflict"),
    429: ("rate_limit_error", "rate_limit_exceeded"),
    502: ("server_error", "bad_gateway"),
    503: ("server_error", "service_unavailable"),
    504: ("server_error", "gateway_timeout"),
}

_STATUS: Mapping[Situation | Refusal, int] = {
    Situation.NO_MODEL: 404,
    Situation.UNKNOWN_MODEL: 404,
    Situation.BROKEN_BODY: 400,
    Situation.BROKEN_HEAD: 400,
    Situation.HEAD_TOO_LARGE: 431,
    Situation.TOO_SLOW: 408,
    Situation.BAD_KEY: 401,
    Situation.BODY_TOO_LARGE: 413,
    Situation.UNKNOWN_PATH: 404,
    Situation.WRONG_METHOD: 405,
    Situation.UNKNOWN_LOG: 400,
    Situation.UPSTREAM_FAILED: 502,
    Situation.UPSTREAM_SLOW: 504,
    Situation.CUT: 503,
    Situation.SUPERVISOR_GONE: 503,
    Situation.INTERNAL: 500,
    Refusal.UNKNOWN_MODEL: 404,
    Refusal.OVERLOADED: 429,
    Refusal.UNLOADED: 503,
    Refusal.START_FAILED: 503,
    Refusal.BACKING_OFF: 503,
    Refusal.STUCK: 503,
    Refusal.IMPOSSIBLE: 503,
    Refusal.TIMED_OUT: 504,
    Refusal.SHUTTING_DOWN: 503,
    Refusal.NOT_BUILT: 501,
}
_CODE: Mapping[Situation | Refusal, str] = {Refusal.OVERLOADED: "concurrency_limit"}
_ALWAYS_JSON = frozenset({Refusal.OVERLOADED})


@dataclass(frozen=True, slots=True)
class Refused:
    """One error answer. ``headers`` come on top of content type and length; ``retry_after`` in seconds."""

    why: Situation | Refusal
    text: str
    headers: tuple[tuple[bytes, bytes], ...] = ()
    retry_after: float | None = None

    @property
    def status(self) -> int:
        """The HTTP status."""
        return _STATUS[self.why]

    def body(self, accept: str = "") -> tuple[bytes, bytes]:
        """Content type and body, as ``accept`` (the request's header) wants them."""
        if self.why not in _ALWAYS_JSON:
            if "text/plain" in accept:
                return b"text/plain; charset=utf-8", f"{SOURCE}: {self.text}".encode()
            if "text/html" in accept:
                return b"text/html; charset=utf-8", self._page()
        return b"application/json", json.dumps(self.envelope()).encode()

    def all_headers(self, content_type: bytes, length: int) -> list[tuple[bytes, bytes]]:
        """Everything but the status line."""
        made = [(b"content-type", content_type), (b"content-length", str(length).encode()), *self.headers]
        if self.retry_after is not None:
            made.append((b"retry-after", str(max(1, math.ceil(self.retry_after))).encode()))
        if self.why is Situation.BAD_KEY:
            made.append((b"www-authenticate", f'Basic realm="{SOURCE}"'.encode()))
        return made

    def answer(self, accept: str = "", *, close: bool = False) -> tuple[bytes, int]:
        """The whole HTTP/1.1 answer, and the size of its body."""
        kind, body = self.body(accept)
        headers = self.all_headers(kind, len(body))
        if close:
            headers.append((b"connection", b"close"))
        lines = b"".join(b"%b: %b\r\n" % header for header in headers)
        return b"HTTP/1.1 %d \r\n%b\r\n%b" % (self.status, lines, body), len(body)

    def envelope(self) -> dict[str, object]:
        """The JSON form."""
        kind, code = _BY_STATUS.get(
            self.status,
            ("invalid_request_error", "invalid_request") if self.status < 500 else ("server_error", "internal_error"),
        )
        code = _CODE.get(self.why, code)
        return {"src": SOURCE, "error": {"message": self.text, "type": kind, "param": None, "code": code}}

    def event(self, dialect: Dialect) -> bytes:
        """One SSE event, for when the head has gone out."""
        envelope = self.envelope()
        if dialect is Dialect.ANTHROPIC:
            return b"event: error\ndata: " + json.dumps({"type": "error", **envelope}).encode() + b"\n\n"
        return b"data: " + json.dumps(envelope).encode() + b"\n\n"

    def _page(self) -> bytes:
        title = f"{self.status}"
        return f"<!doctype html><title>{title}</title><h1>{title}</h1><p>{html.escape(self.text)}</p>".encode()


TOO_SLOW = Refused(Situation.TOO_SLOW, "the rest of the request did not come in time")


class RefusedError(Exception):
    """Carries a ``Refused`` to the edge."""

    def __init__(self, refused: Refused) -> None:
        super().__init__(refused.text)
        self.refused = refused


def refuse(why: Situation | Refusal, text: str, retry_after: float | None = None) -> RefusedError:
    """The error to raise."""
    return RefusedError(Refused(why, text, retry_after=retry_after))

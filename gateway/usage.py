"""How many tokens an exchange took, read from the answer as it passes (``tests/compat/behaviour.md`` §10.2).

Bounded: of a JSON body the whole up to 64 KiB, of a longer one or of a stream its beginning and its end. The
pieces themselves are kept, nothing is copied until the exchange is over. Called by ``lane/answer.py`` and
``relay.py``.
"""

import re
from collections import deque

import msgspec

WHOLE = 64 * 1024
BEGINNING = 2048
END_PIECES = 8
END_PIECE = 2048
_DATA = re.compile(rb"^data:[ \t]?(\{[^\n]*\})\r?$", re.MULTILINE)
_MEMBERS = (b'"usage"', b'"timings"')
_MEMBER = re.compile(rb'"[a-z]+"\s*:\s*\{(?:[^{}]|\{[^{}]*\})*\}')
"""In a body that is not whole. Its strings have their quotes escaped, so that none of them looks like this."""


class _Details(msgspec.Struct):
    cached_tokens: int | None = None


class _Usage(msgspec.Struct):
    prompt_tokens: int | None = None
    input_tokens: int | None = None
    completion_tokens: int | None = None
    output_tokens: int | None = None
    cache_read_input_tokens: int | None = None
    input_tokens_details: _Details | None = None
    prompt_tokens_details: _Details | None = None


class _Timings(msgspec.Struct):
    prompt_n: int | None = None
    predicted_n: int | None = None
    prompt_per_second: float | None = None
    predicted_per_second: float | None = None
    cache_n: int | None = None
    draft_n: int | None = None
    draft_n_accepted: int | None = None


class _Inner(msgspec.Struct):
    usage: _Usage | None = None


class _Answer(msgspec.Struct):
    usage: _Usage | None = None
    timings: _Timings | None = None
    response: _Inner | None = None
    message: _Inner | None = None


_decode = msgspec.json.Decoder(_Answer).decode


class Tokens(msgspec.Struct):
    """What was found; -1: unknown. Speeds in tokens per second."""

    input: int = -1
    output: int = -1
    cached: int = -1
    draft: int = -1
    draft_accepted: int = -1
    prompt_speed: float = -1.0
    generation_speed: float = -1.0


class UsageReader:
    """Fed with the pieces of one answer's body as they pass."""

    __slots__ = ("_end", "_first", "_size", "_stream")

    def __init__(self, *, stream: bool) -> None:
        self._stream = stream
        self._first: list[bytes] = []
        self._end: deque[bytes] | tuple[()] = ()
        self._size = 0

    def feed(self, piece: bytes) -> None:
        """A piece of the body, in whatever framing it came."""
        kept = BEGINNING if self._stream else WHOLE
        if self._size < kept:
            self._first.append(piece[: kept - self._size])
        self._size += len(piece)
        if self._size > kept:
            if not isinstance(self._end, deque):
                self._end = deque(maxlen=END_PIECES)
            self._end.append(piece[-END_PIECE:])

    def tokens(self) -> Tokens:
        """What the answer said of its tokens."""
        found = Tokens()
        first, end = b"".join(self._first), b"".join(self._end)
        if self._stream:
            for data in _DATA.findall(first + b"\n\n" + end):
                _take(found, data)
        elif not end:
            _take(found, first)
        else:
            for text in (first[:BEGINNING], end):
                for name in _MEMBERS:
                    member = _MEMBER.match(text, text.rfind(name)) if name in text else None
                    if member is not None:
                        _take(found, b"{%b}" % member[0])
        return found


def _take(found: Tokens, data: bytes) -> None:
    """What one JSON text says; text of another kind says nothing."""
    try:
        answer = _decode(data[data.find(b"{") : data.rfind(b"}") + 1])
    except (msgspec.MsgspecError, RecursionError):
        return
    if answer.usage is not None:
        _take_usage(found, answer.usage)
    for inner in (answer.response, answer.message):
        if inner is not None and inner.usage is not None:
            _take_usage(found, inner.usage)
    if answer.timings is not None:
        _take_timings(found, answer.timings)


def _take_usage(found: Tokens, usage: _Usage) -> None:
    found.input = usage.prompt_tokens or usage.input_tokens or found.input
    found.output = usage.completion_tokens or usage.output_tokens or found.output
    details = usage.input_tokens_details or usage.prompt_tokens_details
    cached = usage.cache_read_input_tokens
    if cached is None and details is not None:
        cached = details.cached_tokens
    if cached is not None and cached >= 0:
        found.cached = cached


def _take_timings(found: Tokens, timings: _Timings) -> None:
    """llama.cpp's own figures go before the usage."""
    found.input = found.input if timings.prompt_n is None else timings.prompt_n
    found.output = found.output if timings.predicted_n is None else timings.predicted_n
    found.cached = found.cached if timings.cache_n is None else timings.cache_n
    if timings.draft_n is not None and timings.draft_n_accepted is not None:
        found.draft, found.draft_accepted = timings.draft_n, timings.draft_n_accepted
    found.prompt_speed = found.prompt_speed if timings.prompt_per_second is None else timings.prompt_per_second
    if timings.predicted_per_second is not None:
        found.generation_speed = timings.predicted_per_second

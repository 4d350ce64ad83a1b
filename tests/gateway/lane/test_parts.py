"""Parts of the lane that need neither sockets nor trio: heads, chunks, the wheel, tokens."""

import hashlib
import math
from collections.abc import Callable

import h11
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.lane.answer_heads import NotAnAnswer, answer_head
from gateway.lane.chunks import Chunks, NotChunked
from gateway.lane.form import END, Form
from gateway.lane.heads import KNOWN_HEAD, MOST_KNOWN, AmbiguousLength, RequestHead, RequestHeads, body_of
from gateway.lane.wheel import SLOTS, TICK, Wheel
from gateway.usage import WHOLE, UsageReader
from protocol.catalogue import Catalogue

LINE = b"POST /v1/chat/completions HTTP/1.1"


def catalogue_with(key: bytes) -> Catalogue:
    return Catalogue(revision=1, key_digests=(hashlib.sha256(key).digest(),))


def head(*lines: bytes) -> bytes:
    return b"\r\n".join([LINE, b"Host: x", b"Content-Length: 2", *lines])


def request_head(text: bytes) -> tuple[RequestHead, int] | None:
    return RequestHeads().find(text + END)


def like(text: bytes) -> RequestHead:
    found = request_head(text)
    assert found is not None
    return found[0]


# ------------------------------------------------------------------ heads of requests


def test_an_ordinary_head_goes_up_as_it_came_but_for_what_must_not() -> None:
    found = request_head(
        head(
            b"X-Thing: 1", b"Connection: keep-alive, X-Private", b"X-Private: p", b"Authorization: Bearer k",
            b"Keep-Alive: timeout=5", b"TE: trailers", b"Accept: */*", b"X-Forwarded-For: 10.0.0.1",
        )
    )  # fmt: skip
    assert found is not None
    this, length = found
    assert (length, this.close, this.expects) == (2, False, False)
    assert this.value(b"accept") == "*/*"
    assert this.allowed(catalogue_with(b"k"))
    assert not this.allowed(catalogue_with(b"other"))
    with_key = this.upward(base=b"/base", peer="1.2.3.4", length=7, keep_credentials=True)
    assert with_key == (
        b"POST /base/v1/chat/completions HTTP/1.1"
        b"\r\nHost: x\r\nX-Thing: 1\r\nAuthorization: Bearer k\r\nAccept: */*"
        b"\r\nx-forwarded-for: 10.0.0.1, 1.2.3.4\r\ncontent-length: 7\r\n\r\n"
    )
    without = this.upward(base=b"/base", peer="1.2.3.4", length=7, keep_credentials=False)
    assert without == with_key.replace(b"\r\nAuthorization: Bearer k", b"")
    elsewhere = this.upward(base=b"", peer="1.2.3.4", length=7, keep_credentials=False)
    assert elsewhere == without.replace(b"/base", b"")
    other = this.upward(base=b"", peer="5.6.7.8", length=123, keep_credentials=False)
    assert other == elsewhere.replace(b"1.2.3.4", b"5.6.7.8").replace(b": 7\r", b": 123\r")


@pytest.mark.parametrize(
    "odd",
    [
        head(b"Transfer-Encoding: chunked"),
        head(b"Content-Length: 2"),
        head(b"content-length : 2"),
        head(b"Content-Length: +3").replace(b"Content-Length: 2\r\n", b""),
        head(b"Host: y"),
        head().replace(b"Host: x\r\n", b""),
        head(b"Upgrade: h2c", b"Connection: Upgrade"),
        head(b"Connection: upgrade"),
        head(b"Expect: 200-ok"),
        head(b"X: a\n b: c"),
        head(b"X: a\rb"),
        head(b"X: a", b" folded"),
        head(b"X\0: a"),
        head(b"X y: a"),
        head(b": a"),
    ],
)  # fmt: skip
def test_an_odd_head_is_not_the_lanes(odd: bytes) -> None:
    assert request_head(odd) is None


def test_what_clients_say_of_the_connection_is_understood() -> None:
    closing = like(head(b"CONNECTION: Close"))
    asking = like(head(b"Expect: 100-Continue"))
    assert (closing.close, closing.expects, asking.close, asking.expects) == (True, False, False, True)
    assert b"xpect" not in asking.upward(base=b"", peer="p", length=2, keep_credentials=True)


def test_nobody_gets_rid_of_framing_by_naming_it_in_connection() -> None:
    found = like(head(b"Connection: host, content-length, x-forwarded-for, .*"))
    assert found.upward(base=b"", peer="p", length=2, keep_credentials=True) == (
        b"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nx-forwarded-for: p\r\ncontent-length: 2\r\n\r\n"
    )


NAMES = st.sampled_from(
    [
        b"Host",
        b"content-length",
        b"Content-Length",
        b"Connection",
        b"Transfer-Encoding",
        b"X-A",
        b"Expect",
        b"Accept",
        b"x b",
        b"",
    ]
)
VALUES = st.one_of(
    st.sampled_from(
        [b"2", b"02", b"+2", b"2, 2", b"x", b"close", b"chunked", b"100-continue", b"keep-alive, x-a", b""]
    ),
    st.binary(max_size=4),
)


@settings(max_examples=600, derandomize=True, deadline=None)
@given(st.lists(st.tuples(NAMES, VALUES), max_size=5), st.sampled_from([b"\r\n", b"\n", b"\r"]))
def test_what_the_lane_takes_means_the_same_to_another_parser(lines: list[tuple[bytes, bytes]], ending: bytes) -> None:
    text = LINE + b"\r\nHost: x\r\nContent-Length: 2" + b"".join(ending + n + b": " + v for n, v in lines)
    found = request_head(text)
    if found is None:
        return
    mine, length = found
    other = h11.Connection(h11.SERVER)
    other.receive_data(text + b"\r\n\r\n{}")
    request = other.next_event()
    assert isinstance(request, h11.Request)
    assert [value for name, value in request.headers if name == b"content-length"] == [b"%d" % length]
    assert isinstance(other.next_event(), h11.Data)
    assert isinstance(other.next_event(), h11.EndOfMessage)
    assert mine.close == (other.their_state is h11.MUST_CLOSE)


def test_a_head_is_known_again_whatever_the_length_of_its_body() -> None:
    heads = RequestHeads()
    first = heads.find(head(b"X-Thing: 1") + END)
    other = heads.find(head(b"X-Thing: 1").replace(b": 2", b": 345") + END)
    assert first is not None
    assert other is not None
    assert (first[0] is other[0], first[1], other[1]) == (True, 2, 345)
    text = other[0].filled(345)
    assert first[0].again(text + b"{}") == (345, len(text))
    assert heads.find(head(b"X-Thing: 2") + END) != first


def test_no_more_heads_are_known_than_there_is_room_for() -> None:
    heads = RequestHeads()
    first = [heads.find(head(b"X: %d" % number) + END) for number in range(MOST_KNOWN)]
    again = [heads.find(head(b"X: %d" % number) + END) for number in range(MOST_KNOWN)]
    assert all(a is not None and b is not None and a[0] is b[0] for a, b in zip(first, again, strict=True))
    heads.find(head(b"X: one more") + END)
    forgotten = heads.find(head(b"X: 0") + END)
    assert forgotten is not None
    assert first[0] is not None
    assert forgotten[0] is not first[0][0]
    large = head(b"X: " + b"x" * KNOWN_HEAD) + END
    one, two = heads.find(large), heads.find(large)
    assert one is not None
    assert two is not None
    assert one[0] is not two[0]


ODD_DIGITS = [b"", b"+1", b"1 2", b"1\r\nX: 1", b"-1", b"007"]
DIGITS = st.one_of(st.integers(0, 10**16).map(b"%d".__mod__), st.sampled_from(ODD_DIGITS))


@settings(max_examples=600, derandomize=True, deadline=None)
@given(DIGITS, st.sampled_from([b"", b"X-Thing: 1", b"Content-Length: 3", b"Connection: close"]), st.binary(max_size=9))
def test_what_is_known_again_is_what_an_examination_finds(digits: bytes, line: bytes, body: bytes) -> None:
    known = like(head(b"X-Thing: 1"))
    text = head(line).replace(b"Content-Length: 2", b"Content-Length: " + digits) + END
    found, examined = known.again(text + body), RequestHeads().find(text)
    if found is not None:
        assert examined is not None
        assert (examined[0].filled(1), *found) == (known.filled(1), examined[1], len(text))
    elif line == b"X-Thing: 1" and digits.isdigit():
        assert examined is None


def test_an_incomplete_head_is_not_known_again() -> None:
    whole = head(b"X-Thing: 1") + END
    known = like(head(b"X-Thing: 1"))
    assert [known.again(whole[:cut]) for cut in range(len(whole))] == [None] * len(whole)
    bare = Form(b"HTTP/1.1 200 OK" + END, b"", None)
    assert bare.again(bare.filled(None)) == (None, len(bare.before))
    assert bare.again(bare.before[:-1]) is None


@pytest.mark.parametrize(
    ("text", "ends"),
    [
        (b"GET /v1/models HTTP/1.1\r\nHost: x", 0),
        (b"POST /x HTTP/1.1\r\nHost: x\r\nContent-Length: 12", 12),
        (b"POST /x HTTP/1.1\r\nHost: x\r\nContent-Length: 12\r\nContent-Length: 12", None),
        (b"POST /x HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: gzip, chunked", None),
        (b"PRI * HTTP/2.0", None),
        (b"CONNECT x:1 HTTP/1.1\r\nHost: x", None),
        (b"GET / HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: upgrade", None),
        (b"no HTTP at all", None),
    ],
)
def test_where_the_body_of_a_request_for_hypercorn_ends(text: bytes, ends: int | None) -> None:
    assert body_of(text) == ends


def test_two_ways_to_tell_where_a_request_ends_are_one_too_many() -> None:
    with pytest.raises(AmbiguousLength):
        body_of(b"POST /x HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\nContent-Length: 1")


def test_a_chunked_request_for_hypercorn_ends_with_its_last_chunk() -> None:
    assert isinstance(body_of(b"POST /x HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked"), Chunks)


# ------------------------------------------------------------------ heads of answers


def test_an_answer_passes_as_it_came_but_for_hop_by_hop_headers() -> None:
    plain = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 5"
    found, length = answer_head(plain)
    assert (found.status, found.down, length, found.chunked, found.keep_alive) == (200, None, 5, False, True)
    assert found.text(17, close=False) == plain.replace(b"5", b"17") + END
    assert found.text(5, close=True) == plain + b"\r\nconnection: close" + END
    hop, _ = answer_head(plain + b"\r\nConnection: close, X-Up\r\nX-Up: 1\r\nKeep-Alive: timeout=5\r\nX-Down: 2")
    assert (hop.text(5, close=False), hop.keep_alive) == (plain + b"\r\nX-Down: 2" + END, False)
    old, _ = answer_head(b"HTTP/1.0 200 OK\r\nContent-Length: 5")
    assert (old.text(5, close=False), old.keep_alive) == (b"HTTP/1.1 200 OK\r\nContent-Length: 5" + END, False)


def test_an_answer_that_differs_before_or_behind_its_length_is_another_one() -> None:
    plain = b"HTTP/1.1 200 OK\r\nX-Before: 1\r\nContent-Length: 5\r\nX-Behind: 1"
    known, _ = answer_head(plain)
    assert known.again(plain + END + b"hello") == (5, len(plain + END))
    for other in (b"X-Before: 2", b"X-Behind: 2", b"Connection: close"):
        changed = plain.replace(other[:8] + b": 1" if other.startswith(b"X-") else b"X-Behind: 1", other)
        assert changed != plain
        assert known.again(changed + END + b"hello") is None


def test_a_stream_asks_proxies_not_to_hold_it_back() -> None:
    stream = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked"
    found, _ = answer_head(stream)
    assert found.event_stream
    assert found.text(None, close=False) == stream + b"\r\nx-accel-buffering: no" + END
    own, _ = answer_head(stream + b"\r\nX-Accel-Buffering: yes")
    assert own.down is None


@pytest.mark.parametrize(
    ("status", "lines", "length"),
    [(204, b"", 0), (304, b"\r\nContent-Length: 9", 0), (200, b"", None), (200, b"\r\nContent-Length: 0", 0)],
)
def test_how_long_a_body_is(status: int, lines: bytes, length: int | None) -> None:
    assert answer_head(b"HTTP/1.1 %d X%b" % (status, lines))[1] == length


@pytest.mark.parametrize(
    "odd",
    [
        b"ICY 200 OK", b"HTTP/1.1 2000 OK", b"HTTP/1.1 200 OK\nX: y", b"HTTP/1.1 200 OK\r\nX: a\rb", b"",
        b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2", b"HTTP/1.1 200 OK\r\nContent-Length: x",
        b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nTransfer-Encoding: chunked",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip", b"HTTP/1.1 200 OK\r\nX: \0",
    ],
)  # fmt: skip
def test_an_answer_that_could_be_read_in_two_ways_is_none(odd: bytes) -> None:
    with pytest.raises(NotAnAnswer):
        answer_head(odd)


# ------------------------------------------------------------------ chunks


def chunked(pieces: list[bytes], trailers: bytes = b"") -> bytes:
    return b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces) + b"0\r\n" + trailers + b"\r\n"


@settings(max_examples=300, derandomize=True, deadline=None)
@given(
    st.lists(st.binary(min_size=1, max_size=40), max_size=5),
    st.sampled_from([b"", b"X-T: 1\r\n", b"A: b\r\nC: d\r\n"]),
    st.binary(max_size=9),
    st.lists(st.integers(1, 9), max_size=60),
)
def test_the_end_of_a_chunked_body_is_found_wherever_it_is_cut(
    pieces: list[bytes], trailers: bytes, after: bytes, cuts: list[int]
) -> None:
    body = chunked(pieces, trailers)
    data = body + after
    chunks, position = Chunks(), 0
    for cut in [*cuts, len(data)]:
        piece = data[position : position + cut]
        end = chunks.feed(piece)
        if end >= 0:
            assert position + end == len(body)
            return
        position += len(piece)
    raise AssertionError("its end was not found")


@pytest.mark.parametrize(
    "odd",
    [b"x\r\n", b"-1\r\n", b"0x5\r\nhello", b"5\nhello", b"3\r\nhello\r\n", b"5\r\nhello\n0\r\n\r\n", b"+5\r\n", b"\r\n",
     b"1" * 5000, b"0\r\nx: y\n\r\n", b"1 1\r\n"],
)  # fmt: skip
def test_a_body_that_could_be_read_in_two_ways_is_refused(odd: bytes) -> None:
    for cut in (len(odd), 1):
        with pytest.raises(NotChunked):
            feed(odd, cut)


def feed(body: bytes, cut: int) -> None:
    """A body in pieces of a size."""
    chunks = Chunks()
    for start in range(0, len(body), cut):
        chunks.feed(body[start : start + cut])


def test_between_two_chunks_another_one_could_stand() -> None:
    chunks = Chunks()
    seen = []
    for piece in (b"5\r\nhe", b"llo", b"\r\n", b"3", b"\r\n", b"abc\r\n"):
        assert chunks.feed(piece) == -1
        seen.append(chunks.boundary)
    assert seen == [False, False, True, False, False, True]


# ------------------------------------------------------------------ the wheel


class Something:
    def __init__(self, deadline: float, told: Callable[["Something"], None]) -> None:
        self.deadline = deadline
        self._told = told

    def expire(self) -> None:
        self._told(self)


@settings(max_examples=200, derandomize=True, deadline=None)
@given(st.lists(st.tuples(st.floats(0, 200), st.floats(0, 200)), min_size=1, max_size=20), st.integers(1, 5))
def test_nothing_expires_early_nor_later_than_a_round(moves: list[tuple[float, float]], stride: int) -> None:
    expired: dict[Something, float] = {}
    now = 1000.0
    wheel = Wheel(now)

    def told(thing: Something) -> None:
        expired[thing] = now
        wheel.remove(thing)

    things = [Something(now + first, told) for first, _ in moves]
    for thing in things:
        wheel.add(thing)
    for thing, (_, second) in zip(things, moves, strict=True):
        thing.deadline = 1000.0 + second
    while now < 1300:
        now += TICK * stride
        wheel.advance(now)
    assert len(wheel) == 0
    for thing in things:
        assert thing.deadline <= expired[thing] <= thing.deadline + (SLOTS + stride + 1) * TICK


def test_a_deadline_that_was_brought_forward_is_met_if_the_wheel_is_told() -> None:
    expired: list[Something] = []
    wheel = Wheel(0.0)

    def told(thing: Something) -> None:
        expired.append(thing)
        wheel.remove(thing)

    thing = Something(math.inf, told)
    wheel.add(thing)
    thing.deadline = 1.0
    wheel.sooner(thing)
    wheel.advance(0.9)
    assert not expired
    wheel.advance(1.0 + 2 * TICK)
    assert expired == [thing]


# ------------------------------------------------------------------ tokens


def test_tokens_of_a_json_answer() -> None:
    reader = UsageReader(stream=False)
    reader.feed(b'{"choices":[],"usage":{"prompt_tokens":7,"completion_tokens":3,')
    reader.feed(b'"prompt_tokens_details":{"cached_tokens":2}}}')
    found = reader.tokens()
    assert (found.input, found.output, found.cached, found.draft, found.prompt_speed) == (7, 3, 2, -1, -1.0)


def test_tokens_of_a_stream_come_from_its_beginning_and_its_end_whatever_its_length() -> None:
    reader = UsageReader(stream=True)
    reader.feed(b'event: message_start\ndata: {"message":{"usage":{"input_tokens":11,"output_tokens":1}}}\n\n')
    for _ in range(1000):
        reader.feed(b'80\r\ndata: {"choices":[{"delta":{"content":"x"}}]}\n\n\r\n' * 5)
    reader.feed(
        b'data: {"usage":{"output_tokens":40},"timings":{"predicted_per_second":9.5,"cache_n":4}}\n\ndata: [DONE]\n\n'
    )
    found = reader.tokens()
    assert (found.input, found.output, found.cached, found.generation_speed) == (11, 40, 4, 9.5)
    assert sum(map(len, reader._first)) + sum(map(len, reader._end)) < 32_000


@pytest.mark.parametrize(
    "body", [b"", b"[1]", b'{"usage": 5}', b"\x00\xff", b'{"usage":{"prompt_tokens":"x"}}', b"{" * 5000]
)
def test_an_answer_without_figures_says_nothing(body: bytes) -> None:
    reader = UsageReader(stream=False)
    reader.feed(body)
    assert (reader.tokens().input, reader.tokens().output) == (-1, -1)


@pytest.mark.parametrize("at_the_end", [True, False])
def test_tokens_of_a_json_answer_that_is_not_kept_whole(at_the_end: bool) -> None:
    usage = b'"usage" : {"prompt_tokens": 7, "prompt_tokens_details": {"cached_tokens": 2}}'
    told = b'"content":"say \\"usage\\": {\\"prompt_tokens\\": 9}"'
    data = b'"data":[%b1]' % (b"0.25," * WHOLE)
    members = [told, data, usage] if at_the_end else [usage, data, told]
    body = b"{%b}" % b",".join(members)
    reader = UsageReader(stream=False)
    for start in range(0, len(body), 65536):
        reader.feed(body[start : start + 65536])
    found = reader.tokens()
    assert (found.input, found.cached) == (7, 2)


def test_a_long_json_answer_is_not_kept() -> None:
    reader = UsageReader(stream=False)
    for _ in range(100):
        reader.feed(b"x" * 65536)
    reader.tokens()
    assert sum(map(len, reader._first)) <= WHOLE

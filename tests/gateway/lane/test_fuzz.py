"""Random conversations through the lane: valid and broken requests and answers, cut anywhere, ended anywhere.

Whatever happens: nobody gets bytes of somebody else's answer, no connection is stuck, nothing is raised. A short,
fixed form runs with all tests; ``make fuzz`` goes on for five minutes with seeds of its own.
"""

import json
import re
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pytest
import trio
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from tests.support.lane import CHAT, Peer, Place, Request, lane

FIVE_MINUTES = 300.0
STUCK = 10.0

ANSWERS = {
    "length": b"HTTP/1.1 200 OK\r\ncontent-length: %(size)d\r\n\r\n%(body)b",
    "chunked": b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n%(size)x\r\n%(body)b\r\n0\r\n\r\n",
    "stream": b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
    b"%(size)x\r\n%(body)b\r\n0\r\nx-trailer: 1\r\n\r\n",
    "to the end": b"HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n%(body)b",
    "interim": b"HTTP/1.1 103 Early\r\nlink: x\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: %(size)d\r\n\r\n%(body)b",
    "trailing": b"HTTP/1.1 200 OK\r\ncontent-length: %(size)d\r\n\r\n%(body)bHTTP/1.1 200 OK\r\n\r\nbad",
    "two lengths": b"HTTP/1.1 200 OK\r\ncontent-length: 3\r\ncontent-length: %(size)d\r\n\r\n%(body)b",
    "smuggled": b"HTTP/1.1 200 OK\r\ncontent-length: 3\r\ntransfer-encoding: chunked\r\n\r\n%(body)b",
    "bad chunk": b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nxyz\r\n%(body)b\r\n0\r\n\r\n",
    "noise": b"\x16\x03\x01 %(body)b",
}  # fmt: skip
WHOLE = {"length", "chunked", "stream", "to the end", "interim", "trailing"}

POST = b"POST %(path)b HTTP/1.1\r\nHost: x\r\n"
LENGTH = b"Content-Length: %(size)d\r\n\r\n%(body)b"
CHUNKED = b"Transfer-Encoding: chunked\r\n\r\n%(size)x\r\n%(body)b\r\n0\r\n\r\n"
REQUESTS = {
    "good": POST + LENGTH,
    "chunked": POST + CHUNKED,
    "get": b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n",
    "both": POST + b"Transfer-Encoding: chunked\r\n" + LENGTH,
    "short": POST + b"Content-Length: 9999\r\n\r\n%(body)b",
    "folded": POST + b"X: a\r\n b\r\n" + LENGTH,
    "bare": POST[:-2] + b"\nX-Evil: 1\r\n" + LENGTH,
    "noise": b"\x16\x03\x01\r\n\r\n",
}
SIZE_LINE = re.compile(rb"\r\n[0-9a-f]+\r\n")
ANSWERED = {"good", "chunked"}


@dataclass
class Talk:
    """What one client sends, and how the server answers each of its requests."""

    requests: list[str]
    answers: list[str]
    cut: int
    """Bytes of a piece, up and down."""
    server_ends: int | None
    """The server closes after so many bytes of an answer."""
    client_ends: int | None
    """The client closes after so many bytes."""

    @property
    def all_good(self) -> bool:
        """Will there be an answer to everything?"""
        return set(self.requests) <= {*ANSWERED, "get"}


TALKS = st.builds(
    Talk,
    requests=st.lists(st.sampled_from(["good"] * 12 + [*REQUESTS]), min_size=1, max_size=5),
    answers=st.lists(st.sampled_from(["length", "chunked", *ANSWERS]), min_size=1, max_size=5),
    cut=st.sampled_from([1, 2, 3, 7, 16, 64, 1000, 1000, 1000]),
    server_ends=st.one_of(st.none(), st.none(), st.integers(0, 200)),
    client_ends=st.one_of(st.none(), st.none(), st.integers(0, 600)),
)


@dataclass
class Fuzz:
    """One run: all talks at once."""

    talks: list[Talk]
    seen: Counter[str]
    place: Place | None = None
    failed: list[str] = field(default_factory=list)

    async def run(self) -> None:
        with trio.fail_after(STUCK * 2):
            async with lane(self.answer) as self.place, trio.open_nursery() as nursery:
                for number, talk in enumerate(self.talks):
                    nursery.start_soon(self.client, number, talk)
        assert not self.failed, self.failed

    async def answer(self, peer: Peer, request: Request) -> bool:
        """As the talk of this request says."""
        wanted = json.loads(request.body)
        talk = self.talks[wanted["talk"]]
        kind = talk.answers[wanted["n"] % len(talk.answers)]
        self.seen[f"answer {kind}"] += 1
        body = mark(wanted["talk"], wanted["n"])
        text = ANSWERS[kind] % {b"size": len(body), b"body": body}
        ends = talk.server_ends
        await send(peer.stream, text if ends is None else text[:ends], talk.cut)
        return kind in ("length", "chunked", "stream", "interim") and ends is None

    async def client(self, number: int, talk: Talk) -> None:
        """Send all of it, cut anywhere; read to the end."""
        assert self.place is not None
        sent = b""
        for n, kind in enumerate(talk.requests):
            self.seen[f"request {kind}"] += 1
            body = json.dumps({"model": "m", "talk": number, "n": n}).encode()
            sent += REQUESTS[kind] % {b"path": CHAT.encode(), b"size": len(body), b"body": body}
        stream = await self.place.raw()
        received = b""
        async with stream, trio.open_nursery() as nursery:
            nursery.start_soon(self.write, stream, sent, talk)
            with trio.move_on_after(STUCK) as patience:
                try:
                    while data := await stream.receive_some():
                        received += bytes(data)
                        if self.complete(received, talk):
                            break
                except trio.BrokenResourceError:
                    self.seen["reset"] += 1
            nursery.cancel_scope.cancel()
        self.judge(number, talk, received, stuck=patience.cancelled_caught)

    async def write(self, stream: trio.SocketStream, data: bytes, talk: Talk) -> None:
        try:
            await send(stream, data if talk.client_ends is None else data[: talk.client_ends], talk.cut)
            if talk.client_ends is not None or not talk.all_good:
                await stream.send_eof()
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            self.seen["refused in the middle"] += 1

    def complete(self, received: bytes, talk: Talk) -> bool:
        """Is there an answer to everything, so that nothing more will come?"""
        return received.count(b"HTTP/1.1 ") - received.count(b"HTTP/1.1 103") >= len(talk.requests) and (
            talk.all_good and received.endswith((b"}", b"OK", b"0\r\n\r\n", b"1\r\n\r\n"))
        )

    def judge(self, number: int, talk: Talk, received: bytes, *, stuck: bool) -> None:
        # hypercorn cuts its chunks where the server's pieces end, which may be within a mark.
        received = SIZE_LINE.sub(b"", received)
        if stuck:
            self.failed.append(f"stuck: {talk} {received!r}")
        for other in range(len(self.talks)):
            if other != number and b"<%d." % other in received:
                self.failed.append(f"talk {number} got bytes of talk {other}: {received!r}")
        marks = [int(text.split(b">")[0]) for text in received.split(b"<%d." % number)[1:] if b">" in text]
        if marks != sorted(set(marks)):
            self.failed.append(f"out of order: {marks} {talk}")
        if b"Traceback" in received:
            self.failed.append(f"a traceback: {received!r}")
        self.seen["answers that arrived"] += len(marks)


def mark(talk: int, n: int) -> bytes:
    """Only one answer of one talk has it."""
    return b'{"<%d.%d>": 0}' % (talk, n)


async def send(stream: trio.SocketStream, data: bytes, cut: int) -> None:
    for start in range(0, len(data), cut):
        await stream.send_all(data[start : start + cut])


EXPECTED = {
    *(f"request {kind}" for kind in REQUESTS), *(f"answer {kind}" for kind in ANSWERS), "reset", "answers that arrived",
}  # fmt: skip


def fuzz(how: settings, seen: Counter[str]) -> None:
    @settings(how)
    @given(st.lists(TALKS, min_size=1, max_size=4))
    def converse(talks: list[Talk]) -> None:
        seen["runs"] += 1
        run = Fuzz(talks, seen)
        trio.run(run.run)

    converse()


HOW: dict[str, Any] = {"deadline": None, "database": None, "suppress_health_check": list(HealthCheck)}


def test_random_conversations_end_as_they_must(tell: Callable[[str], None]) -> None:
    seen: Counter[str] = Counter()
    fuzz(settings(max_examples=150, derandomize=True, **HOW), seen)
    tell(", ".join(f"{kind} {count}" for kind, count in sorted(seen.items())))
    assert not {kind for kind in EXPECTED if not seen[kind]}


@pytest.mark.fuzz
def test_random_conversations_for_five_minutes(tell: Callable[[str], None]) -> None:
    seen: Counter[str] = Counter()
    end = time.monotonic() + FIVE_MINUTES
    while time.monotonic() < end:
        fuzz(settings(max_examples=200, phases=[Phase.generate, Phase.shrink], **HOW), seen)
    tell(", ".join(f"{kind} {count}" for kind, count in sorted(seen.items())))
    assert not {kind for kind in EXPECTED if not seen[kind]}

"""The lane over real sockets: its own requests, hypercorn's in between, and every way in which one can end."""

import json
import os
import resource
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import h11
import pytest
import trio

from protocol import catalogue as cat
from protocol.ids import ModelId, Refusal
from protocol.messages import Refused
from tests.support.http import Connection
from tests.support.lane import CHAT, PATIENCE, Peer, Request, echo, lane
from tests.support.tls import leave

BODY: dict[str, Any] = {"model": "m"}
STREAM: dict[str, Any] = {"model": "m", "stream": True}


def post(body: Any, *lines: str, path: str = CHAT) -> bytes:
    """A request as bytes."""
    data = json.dumps(body).encode()
    more = "".join(f"{line}\r\n" for line in lines)
    return f"POST {path} HTTP/1.1\r\nHost: x\r\n{more}Content-Length: {len(data)}\r\n\r\n".encode() + data


GET = b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n"
CHUNKED = (
    f"POST {CHAT} HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n".encode()
    + b'5\r\n{"mod\r\n7\r\nel":"m"\r\n1\r\n}\r\n0\r\n\r\n'
)


async def answers(stream: trio.abc.Stream, many: int) -> list[tuple[int, bytes]]:
    """Status and body of so many answers on one connection."""
    buffer = b""
    found: list[tuple[int, bytes]] = []
    with trio.fail_after(PATIENCE):
        while len(found) < many:
            head, end, rest = buffer.partition(b"\r\n\r\n")
            length = _length(head) if end else None
            if length is None or len(rest) < length:
                data = await stream.receive_some(65536)
                assert data, (found, buffer)
                buffer += bytes(data)
                continue
            found.append((int(head[9:12]), rest[:length]))
            buffer = rest[length:]
    assert not buffer, buffer
    return found


def _length(head: bytes) -> int:
    lines = dict(line.lower().split(b": ", 1) for line in head.split(b"\r\n")[1:])
    return int(lines[b"content-length"])


async def to_end(stream: trio.abc.Stream) -> bytes:
    """All that comes until the other side closes."""
    received = b""
    with trio.fail_after(PATIENCE):
        while data := await stream.receive_some(65536):
            received += bytes(data)
    return received


# ------------------------------------------------------------------ requests that go well


@pytest.mark.usefixtures("plain_and_tls")
async def test_requests_follow_each_other_on_one_connection_and_use_one_upstream_and_one_lease() -> None:
    async with lane() as it, it.open() as client:
        for number in range(200):
            answer = await client.ask("POST", CHAT, {"model": "m", "n": number})
            assert (answer.status, answer.json["n"]) == (200, number)
        assert (it.server.accepts, it.link.asked) == (1, ["m"])
        await it.wait(lambda: len(it.link.rows) == 200)
        assert all((row.status, row.model, row.parkable) == (200, "m", True) for row in it.link.rows)


@pytest.mark.usefixtures("all_ways")
async def test_a_stream_arrives_as_it_was_sent_with_the_servers_own_framing() -> None:
    async with lane() as it, it.open() as client:
        await client.send("POST", CHAT, {**STREAM, "chunks": 50})
        head = await client.head()
        assert head.headers["x-accel-buffering"] == "no"
        body = b"".join([chunk async for chunk in client.chunks()])
        assert body == b"".join(b'data: {"n":%d}\n\n' % n for n in range(50)) + b"data: [DONE]\n\n"
        assert (await client.ask("POST", CHAT, BODY)).status == 200


@pytest.mark.usefixtures("plain_and_tls")
async def test_a_thousand_alternations_between_the_lane_and_quart_on_one_connection() -> None:
    async with lane() as it, it.open() as client:
        for number in range(1000):
            assert (await client.ask("GET", "/health")).body == b"OK"
            assert (await client.ask("POST", CHAT, {"model": "m", "n": number})).json["n"] == number
        assert it.server.accepts == 1


KINDS: dict[str, tuple[bytes, int]] = {
    "lane": (post(BODY), 200),
    "alias": (post({"model": "alias"}), 200),
    "quart": (GET, 200),
    "chunked": (CHUNKED, 200),
    "query": (post(BODY, path=f"{CHAT}?x=1"), 200),
    "unknown model": (post({"model": "nobody"}), 404),
    "bad JSON": (post(5), 400),
    "wrong path": (b"GET /nowhere HTTP/1.1\r\nHost: x\r\n\r\n", 404),
    "wrong method": (f"PUT {CHAT} HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n{{}}".encode(), 405),
    "big": (post({"model": "m", "text": "x" * 200_000}), 200),
}


@pytest.mark.usefixtures("all_ways")
async def test_requests_of_all_kinds_sent_ahead_are_answered_in_order() -> None:
    order = [kind for _ in range(10) for kind in KINDS if kind != "big"]
    async with lane() as it:
        stream = await it.raw()
        async with stream, trio.open_nursery() as nursery:
            nursery.start_soon(stream.send_all, b"".join(KINDS[kind][0] for kind in order))
            found = await answers(stream, len(order))
        assert [status for status, _ in found] == [KINDS[kind][1] for kind in order]


@pytest.mark.usefixtures("all_ways")
@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "big"])
async def test_every_kind_of_request_may_arrive_byte_by_byte(kind: str) -> None:
    request, status = KINDS[kind]
    async with lane() as it:
        stream = await it.raw()
        async with stream:
            for _ in range(2):
                for start in range(len(request)):
                    await stream.send_all(request[start : start + 1])
                assert [found for found, _ in await answers(stream, 1)] == [status]


@pytest.mark.usefixtures("plain_and_tls")
async def test_the_next_request_may_be_glued_to_a_late_body() -> None:
    async with lane() as it:
        stream = await it.raw()
        request = post({"model": "m", "n": 1})
        async with stream:
            await stream.send_all(request[:-5])
            await it.wait(lambda: any(client.mode.name == "BODY" for client in it.lane.clients))
            await stream.send_all(request[-5:] + post({"model": "m", "n": 2}) + GET)
            found = await answers(stream, 3)
        assert [body and body[:1] for _, body in found] == [b"{", b"{", b"O"]
        assert [json.loads(body)["n"] for _, body in found[:2]] == [1, 2]


@pytest.mark.usefixtures("all_ways")
async def test_big_bodies_pass_both_ways() -> None:
    async def big(peer: Peer, request: Request) -> None:
        await peer.json({"size": len(request.body), "text": "y" * 3_000_000})

    async with lane(big) as it, it.open() as client:
        for size in (200_000, 2_000_000, 5_000_000):
            answer = await client.ask("POST", CHAT, {"model": "m", "text": "x" * size})
            assert answer.json["size"] > size
            assert len(answer.json["text"]) == 3_000_000


@pytest.mark.usefixtures("all_ways")
@pytest.mark.parametrize("chunked", [False, True], ids=["lane", "hypercorn"])
async def test_a_client_that_asks_before_it_sends_its_body_is_told_to_go_on(chunked: bool) -> None:
    request = CHUNKED if chunked else post(BODY)
    head, body = request.replace(b"Host: x", b"Host: x\r\nExpect: 100-continue").split(b"\r\n\r\n", 1)
    async with lane() as it:
        stream = await it.raw()
        async with stream:
            await stream.send_all(head + b"\r\n\r\n")
            with trio.fail_after(PATIENCE):
                assert (await stream.receive_some()).startswith(b"HTTP/1.1 100 ")
            await stream.send_all(body)
            assert [status for status, _ in await answers(stream, 1)] == [200]
        assert "expect" not in it.server.requests[0].headers


@pytest.mark.usefixtures("both_ways")
@pytest.mark.parametrize(
    "request_",
    [post(BODY, "Connection: close"), GET.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"),
     GET.replace(b"1.1", b"1.0"), post(BODY).replace(b"1.1", b"1.0")],
    ids=["lane", "quart", "quart 1.0", "relay 1.0"],
)  # fmt: skip
@pytest.mark.usefixtures("plain_and_tls")
async def test_a_connection_is_closed_when_the_client_says_so(request_: bytes) -> None:
    async with lane() as it:
        stream = await it.raw()
        async with stream:
            await stream.send_all(post(BODY) + request_)
            received = await to_end(stream)
        assert received.count(b"HTTP/1.1 200") == 2
        assert b"connection: close" in received.lower()


@pytest.mark.usefixtures("both_ways")
async def test_head_requests_and_those_of_http_1_0_leave_the_lane_usable() -> None:
    async with lane() as it, it.open() as client:
        await client.send("HEAD", "/health")
        assert (await client.head()).status == 200
        assert await client.chunk() is None
        assert (await client.ask("POST", CHAT, BODY)).status == 200


@pytest.mark.usefixtures("plain_and_tls")
async def test_http_2_by_prior_knowledge_works_also_after_requests_of_the_lane() -> None:
    import h2.config
    import h2.connection
    import h2.events

    async with lane() as it:
        stream = await it.raw()
        async with stream:
            wire = h2.connection.H2Connection(h2.config.H2Configuration(client_side=True))
            wire.initiate_connection()
            wire.send_headers(
                1, [(":method", "GET"), (":path", "/health"), (":scheme", "http"), (":authority", "x")], end_stream=True
            )
            await stream.send_all(post(BODY))
            await answers(stream, 1)
            await stream.send_all(wire.data_to_send())
            body = b""
            with trio.fail_after(PATIENCE):
                while b"OK" not in body:
                    for event in wire.receive_data(bytes(await stream.receive_some())):
                        if isinstance(event, h2.events.DataReceived):
                            body += event.data or b""


@pytest.mark.usefixtures("both_ways")
async def test_gzip_answers_pass_untouched() -> None:
    import gzip

    packed = gzip.compress(b'{"usage": {"prompt_tokens": 1}}')

    async def handler(peer: Peer, _: Request) -> None:
        await peer.send(
            b"HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\ncontent-length: %d\r\n\r\n%b" % (len(packed), packed)
        )

    async with lane(handler) as it, it.open() as client:
        answer = await client.ask("POST", CHAT, BODY, {"Accept-Encoding": "gzip"})
        assert (answer.body, answer.headers["content-encoding"]) == (packed, "gzip")


@pytest.mark.usefixtures("both_ways")
async def test_keys_are_asked_for_and_not_passed_on_and_filters_apply() -> None:
    import hashlib

    model = cat.CatalogueModel(
        id=ModelId("m"), use_model_name="up", filters=cat.BodyFilters(assign=((("n",), b"7"),), strip=(("x",),))
    )
    async with lane(keys=(hashlib.sha256(b"sesame").digest(),), model=model) as it, it.open() as client:
        refused = await client.ask("POST", CHAT, BODY, {"Authorization": "Bearer wrong"})
        assert (refused.status, refused.json["error"]["code"]) == (401, "unauthorized")
        assert "www-authenticate" in refused.headers
        assert (await client.ask("POST", CHAT, BODY)).status == 401
        answer = await client.ask("POST", CHAT, {**BODY, "x": 1}, {"Authorization": "Bearer sesame", "Cookie": "c"})
        assert answer.json == {"size": 20, "n": 7, "model": "up"}
        assert "authorization" not in it.server.requests[0].headers
        assert it.server.requests[0].headers["cookie"] == "c"
        assert it.server.requests[0].headers["x-forwarded-for"] == "127.0.0.1"


async def test_the_outcome_tells_tokens_bytes_and_times() -> None:
    async def handler(peer: Peer, _: Request) -> None:
        await peer.json({"usage": {"prompt_tokens": 7, "completion_tokens": 3}})

    async with lane(handler) as it, it.open() as client:
        answer = await client.ask("POST", CHAT, BODY)
        await it.wait(lambda: it.link.rows)
        row = it.link.rows[0]
        assert (row.input_tokens, row.output_tokens, row.cached_tokens) == (7, 3, -1)
        assert (row.bytes_in, row.bytes_out, row.path, row.caller) == (14, len(answer.body), CHAT, "127.0.0.1")
        assert row.total >= row.first_byte > 0
        assert row.queued >= 0


# ------------------------------------------------------------------ waiting for a lease


async def test_who_waits_for_a_lease_is_served_when_it_comes() -> None:
    async with lane() as it, it.open() as client:
        it.link.hold = True
        await client.send("POST", CHAT, BODY)
        await it.wait(lambda: it.link.waiting)
        it.link.answer_all()
        assert (await client.head()).status == 200


async def test_a_refused_lease_is_the_envelope_with_its_retry_after_and_the_connection_goes_on() -> None:
    async with lane() as it, it.open() as client:
        it.link.refuse = Refused(call="c", refusal=Refusal.OVERLOADED, text="Too many requests", retry_after=7.2)  # type: ignore[arg-type]
        answer = await client.ask("POST", CHAT, BODY)
        assert (answer.status, answer.headers["retry-after"]) == (429, "8")
        assert answer.json["error"]["code"] == "concurrency_limit"
        it.link.refuse = None
        assert (await client.ask("POST", CHAT, BODY)).status == 200


@pytest.mark.usefixtures("all_ways")
async def test_who_waits_for_a_stream_gets_comments_and_then_the_stream() -> None:
    async with lane(wire=cat.Limits(keep_alive_after=0.3)) as it, it.open() as client:
        it.link.hold = True
        await client.send("POST", CHAT, {**STREAM, "chunks": 1})
        assert (await client.head()).headers["content-type"] == "text/event-stream"
        with trio.fail_after(PATIENCE):
            assert await client.chunk() == b": waiting\n\n"
            it.link.answer_all()
            rest = b"".join([chunk async for chunk in client.chunks()])
        assert rest.replace(b": waiting\n\n", b"") == b'data: {"n":0}\n\ndata: [DONE]\n\n'
        assert (await client.ask("POST", CHAT, BODY)).status == 200


@pytest.mark.usefixtures("all_ways")
@pytest.mark.parametrize("path", [CHAT, "/v1/messages"])
async def test_a_refusal_after_comments_is_an_event_in_the_dialect_of_the_route(path: str) -> None:
    async with lane(wire=cat.Limits(keep_alive_after=0.3)) as it, it.open() as client:
        it.link.hold = True
        await client.send("POST", path, STREAM)
        await client.head()
        assert await client.chunk() == b": waiting\n\n"
        it.link.refuse = Refused(call="c", refusal=Refusal.START_FAILED, text="it died", retry_after=None)  # type: ignore[arg-type]
        it.link.answer_all()
        said = await until_cut(client)
        assert said.startswith(b"event: error\ndata: " if path.endswith("messages") else b'data: {"src"')
        assert b"it died" in said


@pytest.mark.usefixtures("both_ways")
async def test_another_answer_than_a_stream_after_comments_is_told_as_an_event() -> None:
    async def handler(peer: Peer, _: Request) -> None:
        text = b'{"error":{"message":"no such voice"}}'
        await peer.send(b"HTTP/1.1 422 No\r\ncontent-length: %d\r\n\r\n%b" % (len(text), text))

    async with lane(handler, wire=cat.Limits(keep_alive_after=0.3)) as it, it.open() as client:
        it.link.hold = True
        await client.send("POST", CHAT, STREAM)
        assert (await client.head()).status == 200
        assert await client.chunk() == b": waiting\n\n"
        it.link.answer_all()
        assert b"no such voice" in await until_cut(client)


async def until_cut(client: Connection) -> bytes:
    """What came before the connection was broken off, which it must be."""
    received = b""
    try:
        with trio.fail_after(PATIENCE):
            async for chunk in client.chunks():
                received += chunk
    except h11.RemoteProtocolError:
        return received
    raise AssertionError(f"it ended cleanly: {received!r}")


# ------------------------------------------------------------------ parked leases


async def test_a_recalled_lease_goes_back_and_the_next_request_asks_anew() -> None:
    async with lane() as it, it.open() as client:
        await client.ask("POST", CHAT, BODY)
        await it.wait(lambda: it.link.out)
        it.link.recall(it.book)
        assert not it.link.out
        await client.ask("POST", CHAT, BODY)
        assert it.link.asked == ["m", "m"]


async def test_a_parked_lease_whose_server_has_gone_is_dropped_and_the_supervisor_asked() -> None:
    async with lane() as it, it.open() as client:
        await client.ask("POST", CHAT, BODY)
        with socket_that_refuses() as port:
            # The server died, and a new generation of it listens elsewhere: nobody has told this worker yet.
            upstream, it.link.generation = it.link.upstream, 2
            pool = it.lane.pools.find("m", 1, upstream)
            assert pool is not None
            pool.aclose()
            pool.addresses[:] = [(pool.addresses[0][0], ("127.0.0.1", port))]
            answer = await client.ask("POST", CHAT, BODY)
        assert answer.status == 200
        assert it.link.asked == ["m", "m"]


def socket_that_refuses() -> Any:
    """A port on which nobody listens, and that nobody else gets meanwhile."""
    import contextlib
    import socket

    @contextlib.contextmanager
    def taken() -> Any:
        with socket.socket() as bound:
            bound.bind(("127.0.0.1", 0))
            yield bound.getsockname()[1]

    return taken()


# ------------------------------------------------------------------ clients that leave


async def silent(peer: Peer, _: Request) -> bool | None:
    await peer.wait_closed()
    return False


async def endless(peer: Peer, _: Request) -> bool | None:
    await peer.send(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n")
    while True:
        await peer.send(b"b\r\ndata: {}\n\n \r\n")
        await trio.sleep(0.001)


@pytest.mark.parametrize("how", ["close", "half", "reset"])
@pytest.mark.parametrize("stage", ["body", "queued", "waiting", "relaying"])
@pytest.mark.usefixtures("plain_and_tls")
async def test_a_client_that_leaves_takes_everything_with_it(stage: str, how: str) -> None:
    async with lane(silent if stage == "waiting" else endless) as it:
        stream = await it.raw()
        it.link.hold = stage == "queued"
        request = post(STREAM)
        await stream.send_all(request[:-1] if stage == "body" else request)
        match stage:
            case "body":
                await it.wait(lambda: any(client.mode.name == "BODY" for client in it.lane.clients))
            case "queued":
                await it.wait(lambda: it.link.waiting)
            case "waiting":
                await it.wait(lambda: it.server.requests)
            case _:
                assert await stream.receive_some()
        await leave(stream, how)
        await it.wait(lambda: not it.lane.clients)
        await it.wait(lambda: it.server.closes == it.server.accepts)
        assert not it.link.waiting
        if stage in ("waiting", "relaying"):
            await it.wait(lambda: it.link.rows)
            assert it.link.rows[0].error == "the client left"
        await trio.aclose_forcefully(stream)


@pytest.mark.usefixtures("plain_and_tls")
async def test_a_client_that_reads_nothing_holds_a_bounded_amount_and_nobody_else_up() -> None:
    sent = 0

    async def flood(peer: Peer, request: Request) -> bool | None:
        nonlocal sent
        if not json.loads(request.body).get("stream"):
            return await echo(peer, request)
        await peer.send(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n")
        while True:
            await peer.send(b"1000\r\n" + b"x" * 4096 + b"\r\n")
            sent += 4096

    async with lane(flood) as it, it.open() as other:
        slow = await it.raw()
        await slow.send_all(post(STREAM))
        before = -1
        while sent != before:
            before = sent
            for _ in range(30):
                assert (await other.ask("POST", CHAT, BODY)).status == 200
        (held,) = [client for client in it.lane.clients if client._out.waiting]
        assert held._out.waiting <= 5 * 65536
        # It goes on when he reads.
        received = 0
        with trio.fail_after(PATIENCE):
            while received < before + 10_000_000:
                received += len(await slow.receive_some(1 << 20))
        await slow.aclose()


# ------------------------------------------------------------------ model servers that misbehave


def cut_after(text: bytes) -> Any:
    async def handler(peer: Peer, _: Request) -> bool:
        await peer.send(text)
        return False

    return handler


WHOLE = b'HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 11\r\n\r\n{"ok":true}'
CHUNKED_WHOLE = (
    b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
    b"9\r\ndata: 1\n\n\r\n9\r\ndata: 2\n\n\r\n0\r\n\r\n"
)


@pytest.mark.usefixtures("all_ways")
@pytest.mark.parametrize("whole", [WHOLE, CHUNKED_WHOLE], ids=["length", "chunked"])
async def test_an_upstream_that_closes_at_any_byte_is_never_a_clean_end(whole: bytes) -> None:
    end = {"at": 0}

    async def handler(peer: Peer, _: Request) -> bool:
        await peer.send(whole[: end["at"]])
        return False

    head = whole.index(b"\r\n\r\n") + 4
    async with lane(handler) as it:
        for at in range(len(whole)):
            end["at"] = at
            async with it.open() as client:
                await client.send("POST", CHAT, STREAM)
                if at < head:
                    answer = await client.head()
                    assert answer.status == 502, at
                    assert json.loads(b"".join([chunk async for chunk in client.chunks()]))["src"] == "swapyard"
                    continue
                try:
                    await client.head()
                except h11.RemoteProtocolError:
                    continue
                await until_cut(client)


@pytest.mark.parametrize(
    ("text", "status"),
    [
        (b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n{}", 502),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\n{}", 502),
        (b"HTTP/1.1 200 OK\r\nX: a\n evil: b\r\n\r\n", 502),
        (b"hello\r\n\r\n", 502),
        (b"HTTP/1.1 200 OK\r\nX: " + b"y" * 300_000 + b"\r\n\r\n", 502),
        (b"HTTP/1.1 103 Early Hints\r\nlink: x\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}", 200),
        (b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 418 Tea\r\ncontent-length: 2\r\n\r\n{}", 418),
        (b"HTTP/1.1 204 No Content\r\n\r\n", 204),
        (b"HTTP/1.0 200 OK\r\n\r\nto the end", 200),
        (b"HTTP/1.1 200 OK\r\nconnection: close\r\n\r\nto the end", 200),
        (b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}and more that nobody asked for", 200),
        (b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2;x=y\r\n{}\r\n0\r\nx-trailer: 1\r\n\r\n", 200),
    ],
)
@pytest.mark.usefixtures("plain_and_tls")
async def test_odd_answers(text: bytes, status: int) -> None:
    async with lane(cut_after(text)) as it, it.open() as client:
        answer = await client.ask("POST", CHAT, BODY)
        assert answer.status == status
        if b"to the end" in text:
            assert answer.body == b"to the end"
        elif status == 200:
            assert answer.body == b"{}"


@pytest.mark.usefixtures("all_ways")
async def test_an_answer_may_come_byte_by_byte() -> None:
    async def handler(peer: Peer, _: Request) -> None:
        for start in range(len(CHUNKED_WHOLE)):
            await peer.send(CHUNKED_WHOLE[start : start + 1])

    async with lane(handler) as it, it.open() as client:
        for _ in range(2):
            await client.send("POST", CHAT, STREAM)
            await client.head()
            assert b"".join([chunk async for chunk in client.chunks()]) == b"data: 1\n\ndata: 2\n\n"


@pytest.mark.usefixtures("all_ways")
async def test_an_upstream_may_answer_before_it_has_read_the_whole_request() -> None:
    async def handler(peer: Peer, _: Request) -> bool:
        await peer.json({"early": True})
        return False

    async def no_body(stream: trio.abc.Stream) -> None:
        await stream.receive_some(1000)
        await stream.send_all(b"HTTP/1.1 413 Too big\r\ncontent-length: 2\r\nconnection: close\r\n\r\n{}")
        await trio.sleep_forever()

    async with lane(handler) as it:
        (early,) = await it.nursery.start(
            lambda task_status: trio.serve_tcp(no_body, 0, host="127.0.0.1", task_status=task_status)
        )
        it.link.upstream = f"http://127.0.0.1:{early.socket.getsockname()[1]}"
        async with it.open() as client:
            answer = await client.ask("POST", CHAT, {"model": "m", "text": "x" * 4_000_000})
            assert (answer.status, answer.body) == (413, b"{}")
        await it.wait(lambda: not it.lane.clients)


@pytest.mark.usefixtures("both_ways")
async def test_a_stream_that_begins_before_the_request_is_sent_gets_the_rest_of_it() -> None:
    """With more in it than the sockets on the way hold, and read only when the client has the stream's beginning."""
    head = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
    began = trio.Event()
    text = json.dumps({**STREAM, "text": "x" * 4_000_000})
    lengths: list[int] = []

    async def reads_late(stream: trio.abc.Stream) -> None:
        received = bytes(await stream.receive_some(1000))
        await stream.send_all(head + b"9\r\ndata: 1\n\n\r\n")
        await began.wait()
        while not received.endswith(b'x"}'):
            received += bytes(await stream.receive_some(65536))
        lengths.append(len(received.partition(b"\r\n\r\n")[2]))
        await stream.send_all(b"9\r\ndata: 2\n\n\r\n0\r\n\r\n")
        await trio.sleep_forever()

    async with lane() as it, it.open() as client:
        (late,) = await it.nursery.start(
            lambda task_status: trio.serve_tcp(reads_late, 0, host="127.0.0.1", task_status=task_status)
        )
        it.link.upstream = f"http://127.0.0.1:{late.socket.getsockname()[1]}"
        with trio.fail_after(PATIENCE):
            await client.send("POST", CHAT, raw=text.encode())
            await client.head()
            assert await client.chunk() == b"data: 1\n\n"
            began.set()
            assert await client.chunk() == b"data: 2\n\n"
            assert await client.chunk() is None
        assert lengths == [len(text)]


@pytest.mark.usefixtures("both_ways")
async def test_a_pooled_connection_that_went_stale_is_replaced_without_a_word() -> None:
    async def once(peer: Peer, request: Request) -> bool:
        await echo(peer, request)
        return False

    async with lane(once) as it, it.open() as client:
        for number in range(20):
            assert (await client.ask("POST", CHAT, {"model": "m", "n": number})).json["n"] == number
        assert it.server.accepts == 20


@pytest.mark.usefixtures("both_ways")
async def test_an_upstream_that_is_not_there_is_a_502() -> None:
    async with lane() as it, it.open() as client:
        with socket_that_refuses() as port:
            it.link.upstream = f"http://localhost:{port}"
            answer = await client.ask("POST", CHAT, BODY)
        assert (answer.status, answer.json["src"]) == (502, "swapyard")
        assert "does not accept connections" in answer.json["error"]["message"]


async def test_an_upstream_by_name_is_reached_by_the_other_way() -> None:
    # The body is changed once, on the way that the request takes in the end.
    model = cat.CatalogueModel(id=ModelId("m"), use_model_name="up")
    async with lane(model=model) as it, it.open() as client:
        it.link.upstream = it.link.upstream.replace("127.0.0.1", "127.1")
        for number in range(3):
            answer = await client.ask("POST", CHAT, {"model": "m", "n": number})
            assert (answer.json["n"], answer.json["model"]) == (number, "up")
        assert it.lane.detours == {"m"}


@pytest.mark.usefixtures("all_ways")
@pytest.mark.parametrize("stream", [False, True])
async def test_a_cut_ends_the_exchange_as_an_error(stream: bool) -> None:
    async with lane(endless if stream else silent) as it, it.open() as client:
        await client.send("POST", CHAT, STREAM if stream else BODY)
        await it.wait(lambda: it.server.requests)
        if stream:
            await client.head()
            await client.chunk()
        (lease,) = it.link.out
        it.book.cut(lease)
        if stream:
            await until_cut(client)
        else:
            assert (await client.head()).status == 503
        await it.wait(lambda: it.server.closes == it.server.accepts)


# ------------------------------------------------------------------ requests that must not go through


@pytest.mark.usefixtures("both_ways")
@pytest.mark.parametrize(
    "request_",
    [
        CHUNKED.replace(b"Host: x", b"Host: x\r\nContent-Length: 5"),
        b"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\nContent-Length: 5\r\n\r\n{}",
        b"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nContent-Length: +3\r\n\r\n{}x",
        b"POST /v1/chat/completions HTTP/1.1\r\nHost : x\r\nContent-Length: 2\r\n\r\n{}",
        b"POST /v1/chat/completions HTTP/1.1\r\nContent-Length: 2\r\n\r\n{}",
        b"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nX: a\0b\r\nContent-Length: 2\r\n\r\n{}",
        b"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nX: " + b"y" * 70_000 + b"\r\nContent-Length: 2\r\n\r\n{}",
        b"nonsense\r\n\r\n",
    ],
)
@pytest.mark.usefixtures("plain_and_tls")
async def test_malformed_requests_are_refused_and_the_connection_ends(request_: bytes) -> None:
    async with lane() as it:
        stream = await it.raw()
        async with stream:
            await stream.send_all(post(BODY) + request_)
            received = await to_end(stream)
        status = received.rpartition(b"HTTP/1.1 ")[2][:3]
        assert status in (b"400", b"431"), received[-300:]
        assert len(it.server.requests) == 1


# ------------------------------------------------------------------ time


QUICK = cat.Limits(idle=0.5, head=0.5, body=0.5)


@pytest.mark.parametrize(
    ("sent", "end"),
    [
        (b"", b""),
        (b"POST /v1/chat/comp", b"HTTP/1.1 408"),
        (post(BODY)[:-1], b"HTTP/1.1 408"),
        (CHUNKED[:-9], b"HTTP/1.1 408"),
    ],
    ids=["idle", "head", "body", "chunked"],
)
@pytest.mark.usefixtures("plain_and_tls")
async def test_who_is_too_slow_is_cut_off(sent: bytes, end: bytes) -> None:
    async with lane(wire=QUICK) as it:
        stream = await it.raw()
        async with stream:
            await stream.send_all(sent)
            try:
                said = await to_end(stream)
            except trio.BrokenResourceError:
                said = b"reset"
        await it.wait(lambda: not it.lane.clients)
        assert said[:12] == end


async def test_a_model_server_that_does_not_accept_is_given_up() -> None:
    async with lane(model=cat.CatalogueModel(id=ModelId("m"), connect=0.5)) as it, it.open() as client:
        # TEST-NET-1 (RFC 5737): packets to it go nowhere, or there is no route.
        it.link.upstream = "http://192.0.2.1:9"
        with trio.fail_after(PATIENCE):
            assert (await client.ask("POST", CHAT, BODY)).status == 502


@pytest.mark.parametrize("stream", [False, True])
async def test_a_model_server_that_does_not_begin_to_answer_is_given_up(stream: bool) -> None:
    async with lane(silent, model=cat.CatalogueModel(id=ModelId("m"), first_byte=0.5)) as it, it.open() as client:
        with trio.fail_after(PATIENCE):
            answer = await client.ask("POST", CHAT, STREAM if stream else BODY)
        assert (answer.status, answer.json["error"]["code"]) == (504, "gateway_timeout")
        await it.wait(lambda: it.server.closes == it.server.accepts)


@pytest.mark.usefixtures("plain_and_tls")
async def test_a_draining_worker_closes_idle_connections_and_lets_answers_end() -> None:
    go = trio.Event()

    async def slow(peer: Peer, request: Request) -> None:
        await go.wait()
        await echo(peer, request)

    async with lane(slow) as it, it.open() as idle, it.open() as busy:
        await idle.ask("GET", "/health")
        await busy.send("POST", CHAT, BODY)
        await it.wait(lambda: it.server.requests)
        it.lane.drain()
        with trio.fail_after(PATIENCE):
            assert await idle.stream.receive_some() == b""
        go.set()
        answer = await busy.head()
        assert (answer.status, answer.headers["connection"]) == (200, "close")
        await it.wait(lambda: not it.lane.clients)
        it.lane.drain = lambda: None  # type: ignore[method-assign]  # it was


@pytest.mark.usefixtures("both_ways")
async def test_a_thousand_connections_opened_and_dropped_leave_nothing() -> None:
    async with lane() as it:

        async def drop(number: int) -> None:
            stream = await it.raw()
            await stream.send_all(post(BODY)[: number % 100])
            await trio.aclose_forcefully(stream)

        for batch in range(10):
            async with trio.open_nursery() as nursery:
                for number in range(100):
                    nursery.start_soon(drop, batch * 100 + number)
        await it.wait(lambda: not it.lane.clients)
        async with it.open() as client:
            assert (await client.ask("POST", CHAT, BODY)).status == 200


async def test_without_a_descriptor_left_who_comes_waits_and_nothing_spins_or_breaks() -> None:
    go = trio.Event()

    async def held(peer: Peer, request: Request) -> None:
        if json.loads(request.body).get("n"):
            await go.wait()
        await echo(peer, request)

    async with lane(held) as it, it.open() as first, it.open() as second:
        await first.send("POST", CHAT, {"model": "m", "n": 1})
        assert (await second.ask("GET", "/health")).status == 200
        await it.wait(lambda: it.server.requests)
        with socket.socket() as comer, no_descriptors_left():
            comer.setblocking(False)
            comer.connect_ex(("127.0.0.1", it.port))
            await it.wait(lambda: it.lane.is_full)
            before = it.lane.reactor.turns
            assert (await second.ask("GET", "/health")).status == 200
            # The one connection to the model server is in use, and there is no other: an error for who asks, no more.
            answer = await second.ask("POST", CHAT, BODY)
            assert (answer.status, "Too many open files" in answer.json["error"]["message"]) == (502, True)
            assert it.lane.reactor.turns - before < 100
        go.set()
        assert (await first.head()).status == 200
        async with it.open() as other:
            assert (await other.ask("POST", CHAT, BODY)).status == 200
        await it.wait(lambda: not it.lane.is_full)


@contextmanager
def no_descriptors_left() -> Iterator[None]:
    """This process can open nothing more."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    highest = max(int(entry.name) for entry in Path("/proc/self/fd").iterdir())
    taken = [os.dup(0) for _ in range(highest - len(list(Path("/proc/self/fd").iterdir())) + 1)]
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (max(*taken, highest) if taken else highest, hard))
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        for number in taken:
            os.close(number)


@pytest.mark.usefixtures("all_ways")
async def test_many_connections_at_once_get_their_own_answers() -> None:
    async with lane() as it:

        async def talk(number: int) -> None:
            async with it.open() as client:
                for turn in range(20):
                    wanted = number * 1000 + turn
                    assert (await client.ask("POST", CHAT, {"model": "m", "n": wanted})).json["n"] == wanted

        async with trio.open_nursery() as nursery:
            for number in range(50):
                nursery.start_soon(talk, number)

"""Clients and model servers that do what none should: odd lengths, early words, nothing read, nothing ended.

What has to be the same on the lane and on hypercorn's way behind it runs on both.
"""

import json
import socket
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import h2.config
import h2.connection
import h2.events
import h11
import pytest
import quart
import trio
from quart_trio import QuartTrio
from wsproto import ConnectionType, WSConnection
from wsproto.events import AcceptConnection, CloseConnection, Event, TextMessage
from wsproto.events import Request as Upgrade

from protocol import catalogue as cat
from supervisor.listen import set_stall_timeout
from tests.gateway.lane.test_lane import BODY, CHUNKED, GET, STREAM, answers, post, silent, to_end, until_cut
from tests.support.lane import CHAT, PATIENCE, Peer, Place, Request, lane

OK = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}"


# ------------------------------------------------------------------ many requests


async def test_ten_thousand_requests_on_one_connection_one_after_the_other() -> None:
    async with lane(cut_after_none) as it:
        stream = await it.raw()
        async with stream:
            request = post(BODY)
            for _ in range(10_000):
                await stream.send_all(request)
                assert await stream.receive_some() == OK
        # One of each, or a few where the machine took a second off and the lease went back.
        assert it.server.accepts < 10
        assert len(it.link.asked) < 10
        await it.wait(lambda: len(it.link.rows) == 10_000)


async def cut_after_none(peer: Peer, _: Request) -> None:
    await peer.send(OK)


async def test_more_requests_than_hypercorn_likes_on_one_connection() -> None:
    """Its default ends a connection after 1,000."""
    async with lane() as it:
        stream = await it.raw()
        async with stream:
            for _ in range(12):
                await stream.send_all(GET * 100)
                assert [status for status, _ in await answers(stream, 100)] == [200] * 100


@pytest.mark.usefixtures("both_ways")
async def test_who_drops_answers_in_their_middle_a_hundred_times_leaves_nothing() -> None:
    async with lane() as it:

        async def drop(number: int) -> None:
            stream = await it.raw()
            await stream.send_all(post({**STREAM, "chunks": 50}))
            await stream.receive_some(1 + number)
            await trio.aclose_forcefully(stream)

        async with trio.open_nursery() as nursery:
            for number in range(100):
                nursery.start_soon(drop, number)
        await it.wait(lambda: not it.lane.clients)
        # The supervisor's leases are counted by lane() itself.


# ------------------------------------------------------------------ lengths


@pytest.mark.usefixtures("both_ways")
async def test_a_request_longer_than_it_says_is_followed_by_a_refusal_and_one_shorter_by_nothing() -> None:
    async with lane() as it:
        stream = await it.raw()
        async with stream:
            await stream.send_all(post(BODY) + b"and more\r\n\r\n")
            received = await to_end(stream)
        assert received.startswith(b"HTTP/1.1 200")
        assert received.count(b"HTTP/1.1 400") == 1
        stream = await it.plain()
        async with stream:
            await stream.send_all(post(BODY)[:-1])
            await stream.send_eof()
            assert b"HTTP/1.1 200" not in await to_end(stream)
        await it.wait(lambda: not it.lane.clients)
        assert len(it.server.requests) == 1


@pytest.mark.usefixtures("both_ways")
@pytest.mark.parametrize("noise", [b"\r\n\r\n", b"\r\n", b"\n\n", b"\0\r\n\r\n", b" \r\n\r\n"])
async def test_noise_before_a_request_is_passed_over_or_refused_and_nobody_waits_for_ever(noise: bytes) -> None:
    async with lane() as it:
        stream = await it.raw()
        async with stream:
            await stream.send_all(noise)
            await stream.send_all(post(BODY))
            with trio.fail_after(PATIENCE):
                first = bytes(await stream.receive_some())
        assert first[:12] in (b"HTTP/1.1 200", b"HTTP/1.1 400"), first


@pytest.mark.usefixtures("both_ways")
@pytest.mark.parametrize("framing", ["length", "chunked"])
async def test_a_body_over_the_limit_is_refused_and_the_refusal_arrives_although_the_client_still_sends(
    framing: str,
) -> None:
    piece = b" " * 0x10000
    lines, piece = {
        "length": (b"Content-Length: 20000000\r\n\r\n", piece),
        "chunked": (b"Transfer-Encoding: chunked\r\n\r\n", b"%x\r\n%b\r\n" % (len(piece), piece)),
    }[framing]
    async with lane(wire=cat.Limits(json_body=1000)) as it:
        stream = await it.plain()
        async with stream:
            await stream.send_all(f"POST {CHAT} HTTP/1.1\r\nHost: x\r\n".encode() + lines + piece)
            await it.wait(lambda: {client.mode.name for client in it.lane.clients} <= {"LINGER"})
            # All of it is written before anything is read, as simple clients do.
            for _ in range(60):
                await stream.send_all(piece)
            await stream.send_eof()
            received = await to_end(stream)
        assert received.startswith(b"HTTP/1.1 413"), received
        assert not it.server.requests


# ------------------------------------------------------------------ heads


@pytest.mark.usefixtures("both_ways")
async def test_a_head_that_never_ends_is_refused_however_slowly_it_comes() -> None:
    async with lane() as it:
        stream = await it.raw()
        async with stream:
            await stream.send_all(post(BODY)[:-18])
            with trio.fail_after(PATIENCE):
                for _ in range(70):
                    await stream.send_all(b"X-More: " + b"y" * 1000 + b"\r\n")
                received = await to_end(stream)
        assert received.startswith(b"HTTP/1.1 431")
        assert not it.server.requests


@pytest.mark.usefixtures("both_ways")
async def test_who_takes_nothing_of_a_stream_is_dropped_in_time() -> None:
    async def endless(peer: Peer, _: Request) -> None:
        await peer.send(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n")
        while True:
            await peer.send(b"2000\r\n" + bytes(0x2000) + b"\r\n")

    async with lane(endless) as it, it.open() as other:
        # As the supervisor sets it, from gateway.clientStallTimeout.
        set_stall_timeout([it.lane._listener], 1.0)
        stream = await it.plain()
        async with stream:
            await stream.send_all(post(STREAM))
            await it.wait(lambda: it.link.out)
            await it.wait(lambda: not it.link.out)
            (row,) = it.link.rows
            assert row.error == "the client left"
        assert (await other.ask("GET", "/health")).status == 200


@pytest.mark.usefixtures("both_ways")
async def test_who_drips_his_head_is_cut_off_although_something_always_comes() -> None:
    async with lane(wire=cat.Limits(head=0.5)) as it:
        stream = await it.raw()
        async with stream, trio.open_nursery() as nursery:

            async def drip() -> None:
                try:
                    while True:
                        await stream.send_all(b"X")
                        await trio.sleep(0.05)
                except trio.BrokenResourceError:
                    pass

            await stream.send_all(f"POST {CHAT} HTTP/1.1\r\n".encode())
            nursery.start_soon(drip)
            received = await to_end(stream)
            nursery.cancel_scope.cancel()
        assert received.startswith(b"HTTP/1.1 408")


@pytest.mark.usefixtures("both_ways")
async def test_hop_by_hop_headers_are_removed_both_ways() -> None:
    async def handler(peer: Peer, _: Request) -> None:
        await peer.json(
            {}, extra=b"Connection: X-Down, keep-alive\r\nX-Down: 1\r\nKeep-Alive: timeout=9\r\nX-Stay: 2\r\n"
        )

    async with lane(handler) as it:
        stream = await it.raw()
        async with stream:
            for _ in range(2):
                await stream.send_all(post(BODY, "Connection: x-up, X-Second", "X-Up: 1", "x-second: 2", "X-Stay: 3"))
                head = b""
                while not head.endswith(b"{}"):
                    head += bytes(await stream.receive_some()).lower()
                assert b"x-stay: 2" in head
                assert b"x-down" not in head
                assert b"timeout=9" not in head
        for request in it.server.requests:
            assert not {"x-up", "x-second"} & set(request.headers)
            assert request.headers["x-stay"] == "3"


@pytest.mark.usefixtures("both_ways")
@pytest.mark.parametrize("line", ["X: a\nX-Evil: 1", "X: a\rX-Evil: 1", "X: a\0", "X-Evil : 1", " X-Evil: 1"])
async def test_no_line_is_smuggled_into_a_head(line: str) -> None:
    async with lane() as it:
        stream = await it.raw()
        async with stream:
            await stream.send_all(post(BODY, "Connection: close", "Accept: */*", line))
            received = await to_end(stream)
        assert received[:12] in (b"HTTP/1.1 200", b"HTTP/1.1 400")
        # hypercorn takes some of them: for it a bare line feed ends a line, and a header like any other begins.
        for request in it.server.requests:
            lines = request.raw.replace(b"\r\n", b"")
            assert not {b"\n", b"\r", b"\0"} & {lines[at : at + 1] for at in range(len(lines))}
            assert b"\r\n " not in request.raw


# ------------------------------------------------------------------ clients that do not read


@pytest.mark.usefixtures("both_ways")
async def test_a_client_that_asks_on_and_on_and_reads_nothing_is_not_answered_without_bound() -> None:
    async def big(peer: Peer, _: Request) -> None:
        await peer.json({"text": "y" * 30_000})

    async with lane(big) as it, it.open() as other:
        slow = await it.raw()
        # One request at a time, each only when the one before has been answered: nothing is ever sent ahead.
        asked, held = 0, 0
        while asked < 1000 and not held:
            await slow.send_all(post(BODY))
            asked += 1
            for _ in range(3):
                assert (await other.ask("GET", "/health")).status == 200
            held = sum(client._out.waiting for client in it.lane.clients)
        assert held
        for _ in range(200):
            await slow.send_all(post(BODY))
            await other.ask("GET", "/health")
            assert sum(client._out.waiting for client in it.lane.clients) <= 5 * 65536
            asked += 1
        found = await answers(slow, asked)
        assert {status for status, _ in found} == {200}
        await slow.aclose()


@pytest.mark.usefixtures("both_ways")
@pytest.mark.parametrize("request_", [post(BODY), CHUNKED], ids=["length", "chunked"])
async def test_what_a_client_sends_ahead_while_nobody_answers_is_not_kept_without_bound(request_: bytes) -> None:
    async with lane(silent) as it, it.open() as other:
        stream = await it.plain()
        await stream.send_all(request_)
        await it.wait(lambda: it.server.requests)
        sent = 0
        # No more than what the kernel and we keep can be sent: it gets stuck.
        with trio.move_on_after(0.5):
            while sent < 20_000_000:
                await stream.send_all(GET * 1000)
                sent += len(GET) * 1000
        assert (await other.ask("GET", "/health")).status == 200
        held = max(len(client._buffer) for client in it.lane.clients)
        assert held <= 64 * 1024 + 4 * 65536, (held, sent)
        # A reset: the end of what was sent is behind what nobody reads.
        stream.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        await stream.aclose()
        await it.wait(lambda: it.server.closes == it.server.accepts)


@pytest.mark.usefixtures("both_ways")
async def test_a_client_that_reads_slowly_gets_all_of_it_unchanged() -> None:
    async with lane() as it:
        stream = await it.raw()
        async with stream:
            await stream.send_all(post({**STREAM, "chunks": 3000}))
            received = b""
            with trio.fail_after(PATIENCE):
                while not received.endswith(b"\r\n0\r\n\r\n"):
                    received += bytes(await stream.receive_some(1 + len(received) % 5000))
                    await trio.lowlevel.checkpoint()
            await stream.send_all(post(BODY))
            assert (await answers(stream, 1))[0][0] == 200
        events = h11_body(received)
        assert events == b"".join(b'data: {"n":%d}\n\n' % n for n in range(3000)) + b"data: [DONE]\n\n"


def h11_body(answer: bytes) -> bytes:
    wire = h11.Connection(h11.CLIENT)
    wire.send(h11.Request(method="GET", target="/", headers=[("Host", "x")]))
    wire.send(h11.EndOfMessage())
    wire.receive_data(answer)
    body = b""
    while not isinstance(event := wire.next_event(), h11.EndOfMessage):
        assert event is not h11.NEED_DATA
        body += bytes(event.data) if isinstance(event, h11.Data) else b""
    return body


# ------------------------------------------------------------------ model servers


@asynccontextmanager
async def before(place: Place, talk: Any) -> AsyncIterator[None]:
    """Another model server, which speaks as it likes."""
    (listener,) = await place.nursery.start(
        lambda task_status: trio.serve_tcp(talk, 0, host="127.0.0.1", task_status=task_status)
    )
    place.link.upstream = f"http://127.0.0.1:{listener.socket.getsockname()[1]}"
    yield


@pytest.mark.usefixtures("both_ways")
@pytest.mark.parametrize("end", ["stay", "half", "close"])
async def test_a_model_server_may_answer_before_it_was_asked(end: str) -> None:
    """Some say that they have no room as soon as they are connected to."""
    over = trio.Event()

    async def hasty(stream: trio.SocketStream) -> None:
        await stream.send_all(b"HTTP/1.1 503 Full\r\ncontent-length: 2\r\nconnection: close\r\n\r\n{}")
        if end == "half":
            await stream.send_eof()
        if end != "close":
            await over.wait()

    async with lane() as it, before(it, hasty), it.open() as client:
        with trio.fail_after(PATIENCE):
            for _ in range(5):
                answer = await client.ask("POST", CHAT, BODY)
                # A connection that was closed before it took the request may have been reset.
                assert (answer.status, answer.body) == (503, b"{}") or (end, answer.status) == ("close", 502)
        over.set()


@pytest.mark.usefixtures("both_ways")
async def test_any_number_of_interim_answers_may_come_at_once() -> None:
    async def handler(peer: Peer, _: Request) -> None:
        await peer.send(b"HTTP/1.1 100 Continue\r\n\r\n" * 5000 + b"HTTP/1.1 103 Early Hints\r\nlink: x\r\n\r\n" + OK)

    async with lane(handler) as it, it.open() as client:
        for _ in range(2):
            answer = await client.ask("POST", CHAT, BODY)
            assert (answer.status, answer.body) == (200, b"{}")


@pytest.mark.usefixtures("both_ways")
async def test_a_worker_that_ends_before_an_answer_does_ends_all_that_belongs_to_it() -> None:
    async with lane(silent, wire=cat.Limits(keep_alive_after=0.3)) as it, it.open() as client:
        await client.send("POST", CHAT, STREAM)
        await it.wait(lambda: it.server.requests)
        await client.head()
        it.lane.abort()
        await until_cut(client)
        await it.wait(lambda: it.link.rows)
        assert it.server.accepts == 1
        await it.wait(lambda: it.server.closes == 1)


# ------------------------------------------------------------------ other protocols through the lane


def sockets_app() -> Any:
    """An application with a WebSocket, which ours has not."""
    app = QuartTrio("sockets")

    @app.websocket("/echo")
    async def echo_back() -> None:
        while True:
            await quart.websocket.send(f"you said {await quart.websocket.receive()!s}")

    return app


@pytest.mark.parametrize("first", [b"", post(BODY), post(BODY) + GET], ids=["fresh", "after the lane", "after both"])
async def test_a_websocket_goes_through_whatever_came_before(first: bytes) -> None:
    async with lane(inner=sockets_app()) as it:
        stream = await it.raw()
        async with stream:
            if first:
                await stream.send_all(first)
                await answers(stream, first.count(b"HTTP/1.1"))
            wire = WSConnection(ConnectionType.CLIENT)
            await stream.send_all(wire.send(Upgrade(host="x", target="/echo")))
            assert isinstance(await next_event(stream, wire), AcceptConnection)
            for text in ("a", "b" * 100_000):
                await stream.send_all(wire.send(TextMessage(text)))
                said = ""
                while len(said) < len(text) + 9:
                    event = await next_event(stream, wire)
                    assert isinstance(event, TextMessage)
                    said += event.data
                assert said == f"you said {text}"
            await stream.send_all(wire.send(CloseConnection(1000)))
            assert isinstance(await next_event(stream, wire), CloseConnection)
        await it.wait(lambda: not it.lane.clients)


async def next_event(stream: trio.abc.Stream, wire: WSConnection) -> Event:
    with trio.fail_after(PATIENCE):
        while True:
            for event in wire.events():
                return event
            wire.receive_data(bytes(await stream.receive_some()))


@pytest.mark.parametrize("first", [b"", post(BODY), post(BODY) + GET], ids=["fresh", "after the lane", "after both"])
async def test_http_2_by_prior_knowledge_goes_through_whatever_came_before(first: bytes) -> None:
    async with lane() as it:
        stream = await it.raw()
        async with stream:
            if first:
                await stream.send_all(first)
                await answers(stream, first.count(b"HTTP/1.1"))
            wire = h2.connection.H2Connection(h2.config.H2Configuration(client_side=True))
            wire.initiate_connection()
            for number in range(20):
                body = json.dumps({"model": "m", "n": number}).encode()
                wire.send_headers(2 * number + 1, [*asked("POST", CHAT), ("content-length", str(len(body)))])
                wire.send_data(2 * number + 1, body, end_stream=True)
            found = await all_streams(stream, wire, 20)
        assert sorted(json.loads(body)["n"] for body in found.values()) == list(range(20))


async def test_http_2_by_upgrade_goes_through() -> None:
    async with lane() as it:
        stream = await it.raw()
        async with stream:
            wire = h2.connection.H2Connection(h2.config.H2Configuration(client_side=True))
            settings = wire.initiate_upgrade_connection() or b""
            await stream.send_all(
                b"GET /health HTTP/1.1\r\nHost: x\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\n"
                b"HTTP2-Settings: " + settings + b"\r\n\r\n"
            )
            received = b""
            with trio.fail_after(PATIENCE):
                while b"\r\n\r\n" not in received:
                    received += bytes(await stream.receive_some())
            head, _, rest = received.partition(b"\r\n\r\n")
            assert head.startswith(b"HTTP/1.1 101")
            wire.send_headers(3, asked("GET", "/health"), end_stream=True)
            found = await all_streams(stream, wire, 2, rest)
        assert found == {1: b"OK", 3: b"OK"}


def asked(method: str, path: str) -> list[tuple[str, str]]:
    return [(":method", method), (":path", path), (":scheme", "http"), (":authority", "x")]


async def all_streams(
    stream: trio.abc.Stream, wire: h2.connection.H2Connection, many: int, data: bytes = b""
) -> dict[int, bytes]:
    """The bodies of so many HTTP/2 streams."""
    bodies: dict[int, bytes] = {}
    ended = 0
    await stream.send_all(wire.data_to_send())
    with trio.fail_after(PATIENCE):
        while ended < many:
            for event in wire.receive_data(data):
                if isinstance(event, h2.events.DataReceived):
                    bodies[event.stream_id] = bodies.get(event.stream_id, b"") + (event.data or b"")
                elif isinstance(event, h2.events.StreamEnded):
                    ended += 1
            await stream.send_all(wire.data_to_send())
            if ended < many:
                data = bytes(await stream.receive_some())
                assert data
    return bodies


async def test_a_lane_request_is_answered_while_another_connection_is_a_websocket() -> None:
    async with lane(inner=sockets_app()) as it, it.open() as other:
        stream = await it.raw()
        async with stream:
            wire = WSConnection(ConnectionType.CLIENT)
            await stream.send_all(wire.send(Upgrade(host="x", target="/echo")))
            assert isinstance(await next_event(stream, wire), AcceptConnection)
            assert (await other.ask("POST", CHAT, BODY)).status == 200
            await stream.send_all(wire.send(TextMessage("still there")))
            assert isinstance(await next_event(stream, wire), TextMessage)

"""TLS in the lane, where it is not what a plain connection does: handshakes, records, ends, and HTTP/2 by ALPN.

What both have in common runs over both in ``test_lane.py``.
"""

import contextlib
import json
import socket
import ssl
from collections.abc import Iterator
from typing import Any

import h2.config
import h2.connection
import h2.events
import pytest
import trio
import trio.testing

from gateway.lane import tls
from gateway.lane.client import MOST_PIPELINED
from gateway.lane.upstream import READ
from protocol import catalogue as cat
from tests.gateway.lane.test_lane import BODY, CHUNKED, GET, STREAM, answers, post, to_end
from tests.support.lane import CHAT, PATIENCE, TLS, Peer, Place, Request, echo, lane
from tests.support.tls import HOST, client_context, open_tls


@pytest.fixture(autouse=True)
def over_tls() -> Iterator[None]:
    """Every lane here speaks TLS."""
    TLS.set(True)
    yield
    TLS.set(False)


class Records:
    """A client that sees its ciphertext: what it sends when, and how it ends, is up to the test."""

    def __init__(self, stream: trio.SocketStream, context: ssl.SSLContext) -> None:
        self.stream = stream
        self.incoming, self.outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.tls = context.wrap_bio(self.incoming, self.outgoing, server_hostname=HOST)

    @classmethod
    async def open(
        cls, it: Place, *, version: ssl.TLSVersion = ssl.TLSVersion.TLSv1_3, slow: bool = False
    ) -> "Records":
        """Connected, with a complete handshake; ``slow``: sent byte by byte."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.maximum_version = version
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        made = cls(await trio.open_tcp_stream(HOST, it.port), context)
        while True:
            try:
                made.tls.do_handshake()
            except ssl.SSLWantReadError:
                await made.send(slow=slow)
                made.incoming.write(await made.more())
            else:
                await made.send(slow=slow)
                return made

    def seal(self, data: bytes) -> bytes:
        """One piece of plaintext, as records."""
        self.tls.write(data)
        return self.outgoing.read()

    async def send(self, data: bytes = b"", *, slow: bool = False) -> None:
        """Ciphertext, or what TLS itself has to say."""
        data = data or self.outgoing.read()
        step = 1 if slow else max(1, len(data))
        for start in range(0, len(data), step):
            await self.stream.send_all(data[start : start + step])

    async def more(self) -> bytes:
        """What comes, encrypted; b"" at the end."""
        with trio.fail_after(PATIENCE):
            return bytes(await self.stream.receive_some(65536))

    async def receive_some(self, most: int = 65536) -> bytes:
        """What comes, decrypted; b"" after close_notify."""
        while True:
            try:
                return self.tls.read(most)
            except ssl.SSLWantReadError:
                data = await self.more()
                if not data:
                    self.incoming.write_eof()
                else:
                    self.incoming.write(data)

    async def answers(self, many: int) -> list[tuple[int, bytes]]:
        """As in ``test_lane.py``."""
        return await answers(self, many)  # type: ignore[arg-type]  # it has what is asked for


VERSIONS = pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3], ids=["1.2", "1.3"])


# ------------------------------------------------------------------ records


@VERSIONS
async def test_ciphertext_may_come_byte_by_byte(version: ssl.TLSVersion) -> None:
    async with lane() as it:
        client = await Records.open(it, version=version, slow=True)
        async with client.stream:
            for request in (post(BODY), GET, CHUNKED, post(BODY)):
                await client.send(client.seal(request), slow=True)
                assert [status for status, _ in await client.answers(1)] == [200]


async def test_many_requests_in_one_record_are_answered_in_order() -> None:
    async with lane() as it:
        client = await Records.open(it)
        async with client.stream:
            sealed = client.seal(b"".join(post({"model": "m", "n": n}) + GET for n in range(50)))
            await client.send(sealed)
            found = await client.answers(100)
        assert [json.loads(body)["n"] for _, body in found[::2]] == list(range(50))
        assert {body for _, body in found[1::2]} == {b"OK"}


async def test_a_request_may_come_in_many_records_and_in_one_piece() -> None:
    async with lane() as it:
        client = await Records.open(it)
        async with client.stream:
            # More than one read takes.
            request = post({"model": "m", "n": 7, "text": "x" * 6000})
            sealed = b"".join(client.seal(request[start : start + 1]) for start in range(len(request)))
            await client.send(sealed)
            ((status, body),) = await client.answers(1)
        assert (status, json.loads(body)["n"]) == (200, 7)


async def test_what_is_sent_ahead_waits_in_the_kernel_and_is_answered_in_order() -> None:
    go = trio.Event()

    async def held(peer: Peer, request: Request) -> None:
        await go.wait()
        await echo(peer, request)

    async with lane(held) as it:
        client = await Records.open(it)
        requests = b"".join(post({"model": "m", "n": n, "text": "x" * 10_000}) for n in range(100))
        async with client.stream, trio.open_nursery() as nursery:
            nursery.start_soon(client.send, client.seal(requests))
            await it.wait(lambda: any(one._unread for one in it.lane.clients))
            (held_back,) = it.lane.clients
            assert len(held_back._buffer) <= MOST_PIPELINED + READ
            turns = it.lane.reactor.turns
            await trio.testing.wait_all_tasks_blocked(0.05)
            assert it.lane.reactor.turns - turns < 20, "it waits and does not spin"
            go.set()
            found = await client.answers(100)
        assert [json.loads(body)["n"] for _, body in found] == list(range(100))


async def test_a_handshake_may_end_in_one_piece_with_a_long_request() -> None:
    async with lane() as it:
        client = Records(await trio.open_tcp_stream(HOST, it.port), client_context())
        async with client.stream:
            with pytest.raises(ssl.SSLWantReadError):
                client.tls.do_handshake()
            await client.send()
            while True:
                client.incoming.write(await client.more())
                with contextlib.suppress(ssl.SSLWantReadError):
                    client.tls.do_handshake()
                    break
            await client.send(client.outgoing.read() + client.seal(post({"model": "m", "text": "x" * 100_000})))
            ((status, body),) = await client.answers(1)
        assert (status, json.loads(body)["size"] > 100_000) == (200, True)


async def test_more_than_one_read_takes_is_not_left_lying_where_the_kernel_does_not_tell_of_it() -> None:
    # All sent ahead, and then nothing: whatever the lane leaves undecrypted would stay so for ever.
    text = "x" * 300_000
    async with lane() as it, it.open() as client:
        for number in range(5):
            answer = await client.ask("POST", CHAT, {"model": "m", "n": number, "text": text})
            assert (answer.json["n"], answer.json["size"] > 300_000) == (number, True)
        answer = await client.ask("POST", "/v1/messages?x=1", {"model": "m", "n": 9, "text": text})
        assert answer.json["n"] == 9


async def test_bodies_of_200_kb_pass_both_ways_beside_requests_of_hypercorns() -> None:
    async def big(peer: Peer, request: Request) -> None:
        await peer.json({"size": len(request.body), "text": "y" * 200_000})

    async with lane(big) as it, it.open() as client:
        for path in (CHAT, f"{CHAT}?x=1") * 5:
            answer = await client.ask("POST", path, {"model": "m", "text": "x" * 200_000})
            assert (answer.json["size"] > 200_000, len(answer.json["text"])) == (True, 200_000)


async def test_a_client_that_reads_nothing_holds_a_bounded_amount_of_ciphertext() -> None:
    sent = 0

    async def flood(peer: Peer, _: Request) -> bool | None:
        nonlocal sent
        await peer.send(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n")
        while True:
            await peer.send(b"10000\r\n" + b"x" * 65536 + b"\r\n")
            sent += 65536

    async with lane(flood) as it:
        slow = await it.raw()
        await slow.send_all(post(STREAM))
        await it.wait(lambda: any(client._out.waiting for client in it.lane.clients))
        (held,) = it.lane.clients
        assert held._out.waiting <= 5 * 65536
        seen, wanted = 0, sent + 5_000_000
        with trio.fail_after(PATIENCE):
            while seen < wanted:
                seen += len(await slow.receive_some(1 << 20))
                assert held._out.waiting <= 5 * 65536
        await trio.aclose_forcefully(slow)


async def test_a_broken_record_ends_the_connection_and_what_belongs_to_it() -> None:
    gone = trio.Event()

    async def silent(peer: Peer, _: Request) -> bool:
        await peer.wait_closed()
        gone.set()
        return False

    async with lane(silent) as it:
        client = await Records.open(it)
        await client.send(client.seal(post(BODY)))
        await it.wait(lambda: it.server.requests)
        await client.send(b"\x17\x03\x03\x00\x20" + b"\0" * 32)
        with trio.fail_after(PATIENCE):
            await gone.wait()
        await it.wait(lambda: not it.lane.clients)
        await client.stream.aclose()


# ------------------------------------------------------------------ ends


async def test_a_client_that_says_its_last_without_closing_has_left() -> None:
    async def silent(peer: Peer, _: Request) -> bool:
        await peer.wait_closed()
        return False

    async with lane(silent) as it:
        client = await Records.open(it)
        await client.send(client.seal(post(BODY)))
        await it.wait(lambda: it.server.requests)
        with pytest.raises(ssl.SSLWantReadError):
            client.tls.unwrap()
        await client.send()
        await it.wait(lambda: not it.lane.clients)
        await it.wait(lambda: it.server.closes == it.server.accepts)
        await client.stream.aclose()


async def test_its_last_may_come_in_one_piece_with_its_request() -> None:
    async with lane() as it:
        client = await Records.open(it)
        sealed = client.seal(post(BODY))
        with pytest.raises(ssl.SSLWantReadError):
            client.tls.unwrap()
        await client.send(sealed + client.outgoing.read())
        await it.wait(lambda: not it.lane.clients)
        await client.stream.aclose()


@pytest.mark.parametrize("more", [b"", post(BODY)], ids=["read", "unread"])
async def test_a_clean_end_is_said(more: bytes) -> None:
    async with lane() as it:
        stream = await it.raw()
        async with stream:
            await stream.send_all(post(BODY, "Connection: close") + more)
            received = await to_end(stream)
        assert received.count(b"HTTP/1.1 200") == 1


async def test_the_end_of_an_idle_connection_is_said() -> None:
    async with lane(wire=cat.Limits(idle=0.5)) as it:
        stream = await open_tls(it.port)
        async with stream:
            await stream.do_handshake()
            with trio.fail_after(PATIENCE):
                assert await stream.receive_some() == b""


async def test_an_answer_that_breaks_off_is_not_said_to_be_complete() -> None:
    async def broken(peer: Peer, _: Request) -> bool:
        await peer.send(b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nnot all")
        return False

    async with lane(broken) as it:
        stream = await it.raw()
        async with stream:
            await stream.send_all(post(BODY))
            with pytest.raises(trio.BrokenResourceError):
                await to_end(stream)


# ------------------------------------------------------------------ handshakes


async def hello(it: Place) -> tuple[trio.SocketStream, bytes]:
    """A connection, and a ClientHello to be sent on it."""
    client = Records(await trio.open_tcp_stream(HOST, it.port), client_context())
    with pytest.raises(ssl.SSLWantReadError):
        client.tls.do_handshake()
    return client.stream, client.outgoing.read()


async def closed(stream: trio.SocketStream) -> bytes:
    """What the lane says before it closes."""
    said = b""
    with trio.fail_after(PATIENCE):
        try:
            while data := await stream.receive_some(65536):
                said += bytes(data)
        except trio.BrokenResourceError:
            pass
    return said


@pytest.mark.parametrize("part", [0, 1, 100, None], ids=["nothing", "a byte", "a part", "hello"])
async def test_a_handshake_that_does_not_go_on_ends_with_the_time_for_a_head(part: int | None) -> None:
    async with lane(wire=cat.Limits(head=0.5, idle=60)) as it:
        stream, said = await hello(it)
        async with stream:
            await stream.send_all(said[:part])
            await closed(stream)
        await it.wait(lambda: not it.lane.clients)


@pytest.mark.parametrize("how", ["close", "reset"])
@pytest.mark.parametrize("part", [0, 100, None], ids=["nothing", "a part", "hello"])
async def test_who_leaves_in_a_handshake_leaves_nothing(part: int | None, how: str) -> None:
    async with lane() as it:
        stream, said = await hello(it)
        await stream.send_all(said[:part])
        await it.wait(lambda: it.lane.clients)
        if how == "reset":
            stream.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\0\0\0\0\0\0\0")
        await stream.aclose()
        await it.wait(lambda: not it.lane.clients)


@pytest.mark.parametrize(
    "said",
    [b"\0" * 100, b"SSH-2.0-x\r\n", b"\x16\x03\x01\0\5hello", b"\x16\x03\x01\xff\xff" + b"\0" * 70_000, b"\xff" * 9999],
    ids=["zeros", "ssh", "no hello", "too long", "noise"],
)  # fmt: skip
async def test_garbage_ends_the_connection_and_nobody_elses(said: bytes) -> None:
    async with lane() as it, it.open() as other:
        stream = await trio.open_tcp_stream(HOST, it.port)
        async with stream:
            with contextlib.suppress(trio.BrokenResourceError):
                await stream.send_all(said)
            await closed(stream)
        assert (await other.ask("POST", CHAT, BODY)).status == 200
        await it.wait(lambda: len(it.lane.clients) == 1)


async def test_a_handshake_without_an_end_is_not_read_for_ever() -> None:
    # A ClientHello of 100,000 bytes, which OpenSSL would wait for, in records of 16 KiB.
    message = b"\1" + (100_000).to_bytes(3, "big") + bytes(tls.MOST_HANDSHAKE)
    async with lane() as it:
        stream = await trio.open_tcp_stream(HOST, it.port)
        async with stream:
            # The lane may close before the last record is on its way: then the rest cannot be sent.
            with contextlib.suppress(trio.BrokenResourceError):
                for start in range(0, len(message), 16384):
                    fragment = message[start : start + 16384]
                    await stream.send_all(b"\x16\3\1" + len(fragment).to_bytes(2, "big") + fragment)
            assert await closed(stream) == b""
        await it.wait(lambda: not it.lane.clients)


@pytest.mark.parametrize("request_", [GET, post({"model": "m", "text": "x" * 100_000})], ids=["get", "post"])
async def test_who_speaks_plain_http_is_told_to_use_https(request_: bytes) -> None:
    async with lane() as it:
        stream = await trio.open_tcp_stream(HOST, it.port)
        async with stream:
            await stream.send_all(request_)
            head, _, body = (await closed(stream)).partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 400 ")
        assert b"connection: close" in head
        assert json.loads(body)["error"]["message"] == "this port speaks TLS: use https://"
        await it.wait(lambda: not it.lane.clients)


async def test_tls_1_1_is_refused_with_an_alert_that_says_so() -> None:
    async with lane() as it:
        stream, said = await hello(it)
        async with stream:
            # The version that a ClientHello without the extension of TLS 1.3 asks for.
            old = said[:9] + b"\x03\x02" + said[11:].replace(b"\x00\x2b", b"\x7a\x7a", 1)
            await stream.send_all(old)
            assert await closed(stream) == b"\x15\x03\x02\x00\x02\x02\x46", "protocol_version (70), fatal"
        await it.wait(lambda: not it.lane.clients)


async def test_many_handshakes_at_once_all_succeed() -> None:
    async with lane() as it:

        async def talk() -> None:
            async with it.open() as client:
                assert (await client.ask("POST", CHAT, BODY)).status == 200

        async with trio.open_nursery() as nursery:
            for _ in range(100):
                nursery.start_soon(talk)


async def test_a_connection_that_waits_for_its_first_request_has_the_time_of_an_idle_one() -> None:
    async with lane(wire=cat.Limits(head=0.3, idle=60)) as it:
        stream = await it.raw()
        assert isinstance(stream, trio.SSLStream)
        async with stream:
            await stream.do_handshake()
            await it.wait(lambda: next(iter(it.lane.clients)).deadline > it.lane.reactor.now + 30)
            await stream.send_all(post(BODY))
            assert [status for status, _ in await answers(stream, 1)] == [200]


# ------------------------------------------------------------------ who speaks what


@pytest.mark.parametrize("alpn", [(), ("http/1.1",)], ids=["none", "http/1.1"])
async def test_http_1_1_finds_its_way_request_by_request(alpn: tuple[str, ...]) -> None:
    async with lane() as it:
        stream = await open_tls(it.port, *alpn)
        async with stream:
            for _ in range(5):
                await stream.send_all(post(BODY) + GET)
                assert [status for status, _ in await answers(stream, 2)] == [200, 200]
            assert stream.selected_alpn_protocol() == (alpn[0] if alpn else None)


class Http2:
    """A client that agreed on HTTP/2."""

    def __init__(self, stream: "trio.SSLStream[trio.SocketStream]") -> None:
        self.stream = stream
        self.wire = h2.connection.H2Connection(h2.config.H2Configuration(client_side=True))
        self.wire.initiate_connection()

    async def ask(self, method: str, path: str, body: bytes = b"") -> tuple[int, bytes]:
        """One request; status and body of its answer."""
        stream = self.wire.get_next_available_stream_id()
        head = [(":method", method), (":path", path), (":scheme", "https"), (":authority", HOST)]
        self.wire.send_headers(stream, head, end_stream=not body)
        if body:
            self.wire.send_data(stream, body, end_stream=True)
        status, received = 0, b""
        with trio.fail_after(PATIENCE):
            while True:
                await self.stream.send_all(self.wire.data_to_send())
                for event in self.wire.receive_data(bytes(await self.stream.receive_some(65536))):
                    match event:
                        case h2.events.ResponseReceived():
                            status = int(dict(event.headers or [])[b":status"])
                        case h2.events.DataReceived():
                            received += event.data or b""
                            self.wire.acknowledge_received_data(event.flow_controlled_length or 0, stream)
                        case h2.events.StreamEnded():
                            return status, received


async def test_who_agrees_on_http_2_has_it_from_the_first_byte_on() -> None:
    async with lane() as it:
        stream = await open_tls(it.port, "h2", "http/1.1")
        async with stream:
            await stream.do_handshake()
            assert stream.selected_alpn_protocol() == "h2"
            client = Http2(stream)
            for number in range(5):
                assert await client.ask("GET", "/health") == (200, b"OK")
                body = json.dumps({"model": "m", "n": number}).encode()
                status, answer = await client.ask("POST", CHAT, body)
                assert (status, json.loads(answer)["n"]) == (200, number)
            assert [client.mode.name for client in it.lane.clients] == ["TUNNEL"]
        await it.wait(lambda: not it.lane.clients)


async def test_hypercorns_side_sees_https() -> None:
    seen: list[tuple[str, str]] = []

    async def application(scope: dict[str, Any], receive: Any, send: Any) -> None:
        seen.append((scope["http_version"], scope["scheme"]))
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"0")]})
        await send({"type": "http.response.body", "body": b""})

    async with lane(inner=application) as it:
        async with it.open() as client:
            assert (await client.ask("GET", "/health")).status == 200
        stream = await open_tls(it.port, "h2")
        async with stream:
            assert (await Http2(stream).ask("GET", "/health"))[0] == 200
    assert seen == [("1.1", "https"), ("2", "https")]

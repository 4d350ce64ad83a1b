"""The client towards model servers: framing, reuse, retries, broken servers; over real sockets."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest
import trio

from gateway.upstream import IDLE, Exchange, Pool, Pools, UpstreamError

Server = Callable[[trio.SocketStream], Awaitable[None]]
BODY = bytes(range(256)) * 40


@asynccontextmanager
async def served(handler: Server) -> AsyncIterator[Pool]:
    """A pool to a server of this handler."""
    (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
    async with listener, trio.open_nursery() as nursery:
        nursery.start_soon(trio.serve_listeners, handler, [listener])
        pool = Pool("127.0.0.1", listener.socket.getsockname()[1], None, "/base", 5.0)
        with trio.fail_after(20):
            yield pool
        await pool.aclose()
        nursery.cancel_scope.cancel()


async def read_request(stream: trio.SocketStream) -> bytes:
    """A request with the body "ask"; b"" at the end of the connection."""
    data = b""
    while not data.endswith(b"\r\n\r\nask"):
        more = await stream.receive_some()
        if not more:
            return b""
        data += more
    return data


def answering(*pieces: bytes, close: bool = False) -> Server:
    """Answers every request with these pieces, each a write of its own."""

    async def handler(stream: trio.SocketStream) -> None:
        async with stream:
            while await read_request(stream):
                for piece in pieces:
                    await stream.send_all(piece)
                    await trio.lowlevel.checkpoint()
                if close:
                    return

    return handler


async def fetch(pool: Pool) -> tuple[int, bytes]:
    """One whole exchange."""
    failure: UpstreamError | None = None
    received = b""
    async with trio.open_nursery() as nursery:
        exchange = Exchange(pool, nursery, "POST", "/x?y=1", headers=[(b"host", b"h")], body=b"ask")
        try:
            await exchange.open()
            while piece := await exchange.piece():
                received += piece
        except UpstreamError as error:
            failure = error
        finally:
            await exchange.aclose()
    if failure is not None:
        raise failure
    return exchange.status, received


LENGTH = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(BODY)
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
CHUNKS = b"%x;ext=1\r\n%s\r\n" % (len(BODY), BODY) + b"0\r\nTrailer: x\r\n\r\n"


@pytest.mark.parametrize(
    ("pieces", "reused"),
    [
        ((LENGTH + BODY,), True),
        ((LENGTH, BODY[:100], BODY[100:]), True),
        ((CHUNKED + CHUNKS,), True),
        (tuple(bytes([byte]) for byte in CHUNKED + CHUNKS), True),
        ((b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n", LENGTH, BODY), True),
        ((LENGTH.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"), BODY), False),
    ],
    ids=["length", "length in pieces", "chunked", "byte by byte", "interim", "close announced"],
)
async def test_bodies_arrive_byte_for_byte_and_connections_are_reused(pieces: tuple[bytes, ...], reused: bool) -> None:
    async with served(answering(*pieces, close=not reused)) as pool:
        for _ in range(3):
            assert await fetch(pool) == (200, BODY)
        assert pool.opened == (1 if reused else 3)


async def test_a_body_that_ends_with_its_connection() -> None:
    async with served(answering(b"HTTP/1.0 200 OK\r\n\r\n", BODY, close=True)) as pool:
        assert await fetch(pool) == (200, BODY)
        assert await fetch(pool) == (200, BODY)
        assert pool.opened == 2


@pytest.mark.parametrize(
    ("pieces", "words"),
    [
        ((), "without an answer"),
        ((b"HTTP/1.1 200 O",), "in the head"),
        ((LENGTH, BODY[:100]), "in the middle"),
        ((CHUNKED, b"5\r\nab"), "in the middle"),
        ((b"SSH-2.0-x\r\n",), "not HTTP"),
        ((CHUNKED, b"zz\r\n"), "not HTTP"),
        ((b"HTTP/1.1 200 OK\r\nX: " + b"x" * 300_000,), "too large"),
    ],
    ids=["nothing", "half a head", "half a body", "half a chunk", "not http", "bad chunk", "endless head"],
)
async def test_a_server_that_breaks_off_is_an_error_that_says_where(pieces: tuple[bytes, ...], words: str) -> None:
    async with served(answering(*pieces, close=True)) as pool:
        with pytest.raises(UpstreamError, match=words):
            await fetch(pool)
        assert not pool.idle


async def test_a_reused_connection_that_was_closed_is_replaced_once() -> None:
    served_once = 0

    async def handler(stream: trio.SocketStream) -> None:
        nonlocal served_once
        async with stream:
            await read_request(stream)
            served_once += 1
            await stream.send_all(LENGTH + BODY)

    async with served(handler) as pool:
        assert await fetch(pool) == (200, BODY)
        assert await fetch(pool) == (200, BODY)
        assert (served_once, pool.opened) == (2, 2)


async def test_a_fresh_connection_that_fails_is_not_tried_again() -> None:
    async with served(answering(close=True)) as pool:
        with pytest.raises(UpstreamError):
            await fetch(pool)
        assert pool.opened == 1


async def test_nobody_listening_is_an_error() -> None:
    async with served(answering()) as pool:
        nobody = Pool(pool.host, 1, None, "", 5.0)
        with pytest.raises(UpstreamError, match="does not accept"):
            await fetch(nobody)


async def test_a_connection_idle_for_too_long_is_not_used() -> None:
    async with served(answering(LENGTH + BODY)) as pool:
        await fetch(pool)
        pool.idle[0].idle_since -= IDLE
        await fetch(pool)
        assert pool.opened == 2


async def test_a_new_generation_gets_a_pool_of_its_own() -> None:
    pools = Pools()
    first = await pools.find("m", 1, "http://127.0.0.1:1/b/", 1.0)
    assert await pools.find("m", 1, "http://127.0.0.1:1/b/", 1.0) is first
    assert first.base == "/b"
    second = await pools.find("m", 2, "http://127.0.0.1:1/b/", 1.0)
    assert second is not first
    assert await pools.find("m", 1, "http://127.0.0.1:1/b/", 1.0) is not second, "a late exchange of the old one"
    assert await pools.find("m", 2, "http://127.0.0.1:1/b/", 1.0) is second


async def test_the_base_path_and_query_are_sent() -> None:
    seen: list[bytes] = []

    async def handler(stream: trio.SocketStream) -> None:
        async with stream:
            seen.append(await read_request(stream))
            await stream.send_all(LENGTH + BODY)

    async with served(handler) as pool:
        await fetch(pool)
    assert seen[0].startswith(b"POST /base/x?y=1 HTTP/1.1\r\nhost: h\r\ncontent-length: 3\r\n\r\n")

"""A stream that comes faster than once a millisecond is read in larger pieces, and nothing of it is late or lost."""

import json
import time
from typing import Any

import pytest
import trio

from gateway.lane import outbox
from tests.gateway.lane.test_lane import BODY, STREAM, post
from tests.support.http import Connection
from tests.support.lane import CHAT, PATIENCE, Peer, Place, Request, echo, lane

HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
MANY = 20_000


def event(number: int) -> bytes:
    return b'data: {"n":%d}\n\n' % number


def chunk(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


async def fast(peer: Peer, request: Request) -> bool | None:
    """As many chunks as are asked for, each in a write of its own; then the end, in one of several ways."""
    body = json.loads(request.body)
    if not body.get("stream"):
        return await echo(peer, request)
    await peer.send(HEAD)
    for number in range(body["chunks"]):
        await peer.send(chunk(event(number)))
    match body.get("end"):
        case "glued":
            await peer.send(chunk(b"data: [DONE]\n\n") + b"0\r\n\r\n")
        case "broken":
            return False
        case "closed":
            await peer.send(b"0\r\n\r\n")
            return False
        case _:
            await peer.send(b"0\r\n\r\n")
    return None


class Counted(outbox.Outbox):
    """Counts the writes of all clients."""

    writes = 0

    def push(self) -> None:
        Counted.writes += 1
        super().push()


async def stream_of(client: Connection, many: int, end: str = "") -> bytes:
    await client.send("POST", CHAT, {**STREAM, "chunks": many, "end": end})
    await client.head()
    with trio.fail_after(PATIENCE * 3):
        return b"".join([piece async for piece in client.chunks()])


async def test_twenty_thousand_chunks_arrive_unchanged_in_far_fewer_writes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gateway.lane.connection.Outbox", Counted)
    Counted.writes = 0
    async with lane(fast) as it, it.open() as client:
        begun = time.monotonic()
        received = await stream_of(client, MANY)
        seconds = time.monotonic() - begun
        assert received == b"".join(map(event, range(MANY)))
        # Two reads of one moment at most: what was there, and what came with it.
        assert Counted.writes < MANY / 4
        assert Counted.writes < 4 * seconds / 0.001
        assert (await client.ask("POST", CHAT, BODY)).status == 200


@pytest.mark.parametrize("many", [1, 2, 3, 100])
@pytest.mark.parametrize("end", ["glued", "apart", "closed"])
async def test_the_end_of_a_fast_stream_arrives_and_the_connection_goes_on(many: int, end: str) -> None:
    async with lane(fast) as it, it.open() as client:
        for _ in range(3):
            received = await stream_of(client, many, end)
            done = b"data: [DONE]\n\n" if end == "glued" else b""
            assert received == b"".join(map(event, range(many))) + done
        assert (await client.ask("POST", CHAT, BODY)).status == 200


async def test_a_fast_stream_that_breaks_off_is_no_clean_end() -> None:
    import h11

    async with lane(fast) as it:
        for many in (1, 2, 50):
            async with it.open() as client:
                with pytest.raises(h11.RemoteProtocolError):
                    await stream_of(client, many, "broken")


async def test_a_lone_chunk_is_passed_on_although_nothing_follows() -> None:
    """After a pause, and right behind another one."""
    go = [trio.Event() for _ in range(20)]

    async def handler(peer: Peer, _: Request) -> None:
        await peer.send(HEAD)
        for number, event_ in enumerate(go):
            await event_.wait()
            await peer.send(chunk(event(number)))
        await peer.send(b"0\r\n\r\n")

    async with lane(handler) as it, it.open() as client:
        await client.send("POST", CHAT, STREAM)
        await client.head()
        with trio.fail_after(PATIENCE):
            for number, event_ in enumerate(go):
                if number % 2:
                    await trio.sleep(0.005)
                event_.set()
                # No event comes before this one has arrived.
                assert await client.chunk() == event(number)
            assert await client.chunk() is None


async def test_a_fast_stream_to_a_client_that_reads_slowly_is_whole() -> None:
    async with lane(fast) as it:
        slow = await it.raw()
        async with slow:
            await slow.send_all(post({**STREAM, "chunks": 5000}))
            received = b""
            with trio.fail_after(PATIENCE * 3):
                while not received.endswith(b"\r\n0\r\n\r\n"):
                    received += bytes(await slow.receive_some(1000))
        assert received.partition(b"\r\n\r\n")[2] == b"".join(chunk(event(n)) for n in range(5000)) + b"0\r\n\r\n"


@pytest.mark.parametrize("reads", [True, False])
async def test_a_client_that_leaves_a_fast_stream_ends_its_connection_to_the_server(reads: bool) -> None:
    async def endless(peer: Peer, _: Request) -> None:
        await peer.send(HEAD)
        while True:
            await peer.send(chunk(event(0)))

    async with lane(endless) as it:
        for turn in range(3):
            stream = await it.raw()
            await stream.send_all(post(STREAM))
            received = 0
            while received < (100_000 if reads else 1):
                received += len(await stream.receive_some(65536))
            await trio.aclose_forcefully(stream)
            await it.wait(lambda: it.server.closes == it.server.accepts)
            assert it.server.accepts == turn + 1
            assert not it.lane.clients


async def test_an_answer_behind_a_fast_stream_on_the_same_connection_is_not_held_back() -> None:
    async with lane(fast) as it, it.open() as client:

        async def alternate(place: Place, one: Any) -> None:
            for number in range(30):
                await stream_of(one, 5, "glued")
                assert (await one.ask("POST", CHAT, {"model": "m", "n": number})).json["n"] == number
            assert place.server.accepts == 1

        with trio.fail_after(PATIENCE):
            await alternate(it, client)

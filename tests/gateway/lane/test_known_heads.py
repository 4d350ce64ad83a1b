"""Heads that are known again, over real sockets: what is only alike is not taken for the same."""

import hashlib
import json
from typing import Any

import pytest
import trio

from protocol import catalogue as cat
from protocol.ids import CallId, ModelId
from protocol.lease_calls import LeaseDone
from tests.gateway.lane.test_lane import BODY, answers, post
from tests.support.lane import PATIENCE, Peer, Place, Request, lane

RIGHT, OTHER = "sesame", "second"


def digest(key: str) -> bytes:
    return hashlib.sha256(key.encode()).digest()


def with_key(key: str, body: Any = BODY) -> bytes:
    return post(body, f"Authorization: Bearer {key}")


def behind(request: bytes, *lines: str) -> bytes:
    """With these header lines behind the length of the body."""
    more = "".join(f"\r\n{line}" for line in lines).encode()
    return request.replace(b"\r\n\r\n", more + b"\r\n\r\n", 1)


async def statuses(stream: trio.abc.Stream, *requests: bytes) -> list[int]:
    """One after the other."""
    found = []
    for request in requests:
        await stream.send_all(request)
        found += [status for status, _ in await answers(stream, 1)]
    return found


# ------------------------------------------------------------------ requests


@pytest.mark.parametrize("is_behind", [False, True])
async def test_a_wrong_key_is_wrong_right_after_a_right_one_of_the_same_length(is_behind: bool) -> None:
    async with lane(keys=(digest(RIGHT),)) as it, await it.raw() as stream:
        right, wrong = with_key(RIGHT), with_key("sesamE")
        if is_behind:
            right, wrong = (
                behind(post(BODY), f"Authorization: Bearer {key}", "Accept: */*") for key in (RIGHT, "sesamE")
            )
        assert len(right) == len(wrong)
        assert await statuses(stream, right, right, wrong, right, wrong, post(BODY), right) == [
            200, 200, 401, 200, 401, 401, 200,
        ]  # fmt: skip
        assert len(it.server.requests) == 4


async def test_a_key_that_a_reload_took_away_fails_on_a_connection_that_had_it() -> None:
    async with lane(keys=(digest(RIGHT),)) as it, await it.raw() as stream, await it.raw() as waiting:
        assert await statuses(stream, with_key(RIGHT), with_key(RIGHT)) == [200, 200]
        # One that is on its way when the keys change has been allowed.
        go = hold(it)
        await waiting.send_all(with_key(RIGHT, {"model": "alias"}))
        await it.wait(lambda: it.link.waiting)
        reload(it, OTHER)
        assert await statuses(stream, with_key(RIGHT), with_key(OTHER), with_key(RIGHT)) == [401, 200, 401]
        go()
        assert [status for status, _ in await answers(waiting, 1)] == [200]
        reload(it, RIGHT)
        assert await statuses(stream, with_key(RIGHT), with_key(OTHER)) == [200, 401]
        reload(it)
        assert await statuses(stream, with_key(OTHER), post(BODY)) == [200, 200]
        # Keys that nobody asks for are the model server's own.
        assert it.server.requests[-2].headers["authorization"] == f"Bearer {OTHER}"
        reload(it, RIGHT)
        assert await statuses(stream, with_key(OTHER), post(BODY), with_key(RIGHT)) == [401, 401, 200]
        assert "authorization" not in it.server.requests[-1].headers


def hold(it: Place) -> Any:
    """Leases of ``alias`` wait until the result is called."""
    request_lease = it.link.request_lease

    def request(name: str, *, caller: str, deadline_in: float | None = None, done: LeaseDone) -> CallId:
        it.link.hold = name == "alias"
        return request_lease(name, caller=caller, deadline_in=deadline_in, done=done)

    it.link.request_lease = request  # type: ignore[method-assign]
    return it.link.answer_all


def reload(it: Place, *keys: str) -> None:
    before = it.link.catalogue
    it.link.catalogue = cat.Catalogue(
        revision=before.revision + 1, models=before.models, limits=before.limits, key_digests=tuple(map(digest, keys))
    )
    it.book.adopt(it.link.catalogue)


async def test_a_head_that_differs_in_one_line_goes_up_with_that_line_or_without_it() -> None:
    async with lane() as it, await it.raw() as stream:
        plain, more = post(BODY, "X-A: 1"), post(BODY, "X-A: 1", "X-B: 2")
        other = post(BODY, "X-A: 2")
        assert set(await statuses(stream, plain, more, plain, other, plain, more)) == {200}
        seen = [(request.headers["x-a"], request.headers.get("x-b")) for request in it.server.requests]
        assert seen == [("1", None), ("1", "2"), ("1", None), ("2", None), ("1", None), ("1", "2")]


async def test_a_head_that_differs_behind_the_length_goes_up_as_it_is() -> None:
    async with lane() as it, await it.raw() as stream:
        lines = [("X-A: 1",), ("X-A: 1", "X-B: 2"), ("X-A: 2",), (), ("X-A: 1",), ("X-B: 2",), ("X-A: 1", "X-B: 2")]
        assert set(await statuses(stream, *(behind(post(BODY), *more) for more in lines))) == {200}
        seen = [
            tuple(f"{name.title()}: {value}" for name, value in request.headers.items() if name in ("x-a", "x-b"))
            for request in it.server.requests
        ]
        assert seen == lines


async def test_bodies_of_all_lengths_behind_one_head() -> None:
    async with lane() as it, await it.raw() as stream:
        for size in [*range(120), 1000, 10, 99_000, 1, 970_000, 5]:
            body = {"model": "m", "n": "x" * size}
            await stream.send_all(post(body))
            ((status, said),) = await answers(stream, 1)
            assert (status, json.loads(said)) == (200, {"size": len(json.dumps(body)), "n": "x" * size, "model": "m"})
        assert it.server.accepts == 1


@pytest.mark.parametrize("digits", ["+14", "-1", "1 4", "0x0e", "", "14, 14", "14\r\nContent-Length: 14", "1" * 16])
async def test_a_known_head_with_an_odd_length_is_refused(digits: str) -> None:
    async with lane() as it, await it.raw() as stream:
        request = post(BODY, "X: 1")
        assert await statuses(stream, request, request) == [200, 200]
        assert b"Content-Length: 14\r\n" in request
        await stream.send_all(request.replace(b"Content-Length: 14", b"Content-Length: " + digits.encode()))
        with trio.fail_after(PATIENCE):
            first = bytes(await stream.receive_some())
        # Two equal lengths, or one of them in words, may be one to hypercorn.
        twice = first.startswith(b"HTTP/1.1 200") and digits.startswith("14")
        assert twice or first[:12] in (b"HTTP/1.1 400", b"HTTP/1.1 413", b"HTTP/1.1 404"), first
        assert len(it.server.requests) == 2 + twice


async def test_the_time_that_a_client_gives_counts_for_its_request_only() -> None:
    asked: list[float | None] = []
    async with lane() as it, await it.raw() as stream:
        it.link.parkable = False
        request_lease = it.link.request_lease

        def request(name: str, *, caller: str, deadline_in: float | None = None, done: LeaseDone) -> CallId:
            asked.append(deadline_in)
            return request_lease(name, caller=caller, deadline_in=deadline_in, done=done)

        it.link.request_lease = request  # type: ignore[method-assign]
        plain, timed, longer = post(BODY), post(BODY, "X-Request-Timeout: 5"), post(BODY, "X-Request-Timeout: 9")
        assert set(await statuses(stream, plain, timed, plain, longer, timed, plain)) == {200}
    assert [None if limit is None else round(limit) for limit in asked] == [None, 5, None, 9, 5, None]


async def test_two_clients_with_alternating_heads_get_their_own() -> None:
    async with lane(keys=(digest(RIGHT), digest(OTHER))) as it, await it.raw() as one, await it.raw() as two:
        for _ in range(5):
            assert await statuses(one, with_key(RIGHT), with_key("nobody")) == [200, 401]
            assert await statuses(two, with_key(OTHER), with_key("nobody"), with_key(RIGHT)) == [200, 401, 200]


# ------------------------------------------------------------------ answers

FIRST = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\nx-kind: first\r\ncontent-length: %d\r\n\r\n%b"
SECOND = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\nx-kind: second\r\ncontent-length: %d\r\n\r\n%b"
LONGER = FIRST.replace(b"\r\n\r\n", b"\r\nx-more: 1\r\n\r\n")
NO_LENGTH = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n%x\r\n%b\r\n0\r\n\r\n"
NO_LENGTH_LONGER = NO_LENGTH.replace(b"\r\n\r\n%x", b"\r\nx-more: 1\r\n\r\n%x")
CLOSES = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\nconnection: close\r\n\r\n%x\r\n%b\r\n0\r\n\r\n"
REFUSES = b"HTTP/1.1 503 Full\r\ncontent-length: %d\r\n\r\n%b"
KINDS = [FIRST, SECOND, LONGER, NO_LENGTH, NO_LENGTH_LONGER, CLOSES, REFUSES]


def answer(kind: int, number: int) -> bytes:
    body = b'{"n":%d,"x":"%b"}' % (number, b"y" * (number % 13))
    return KINDS[kind] % (len(body), body)


async def ask_all(stream: Any, kinds: list[int]) -> None:
    """Answers of these kinds, each whole, with its own head and body."""
    for number, kind in enumerate(kinds):
        text = await stream.ask("POST", "/v1/chat/completions", {"model": "m", "n": number, "kind": kind})
        wanted = answer(kind, number)
        assert text.json["n"] == number
        assert text.body in wanted
        assert text.status == int(wanted[9:12])
        assert text.headers.get("x-kind", "") == wanted.partition(b"x-kind: ")[2].partition(b"\r")[0].decode()
        assert ("x-more" in text.headers) == (b"x-more" in wanted)
        assert "connection" not in text.headers


async def as_asked(peer: Peer, request: Request) -> bool:
    wanted = json.loads(request.body)
    await peer.send(answer(wanted["kind"], wanted["n"]))
    return KINDS[wanted["kind"]] is not CLOSES


async def test_answers_that_alternate_between_heads_keep_their_own() -> None:
    pairs = [kind for one in range(len(KINDS)) for two in range(len(KINDS)) for kind in (one, two, one)]
    async with lane(as_asked) as it, it.open() as client:
        await ask_all(client, pairs)


async def test_a_known_head_may_come_in_two_pieces_cut_anywhere() -> None:
    cut = {"at": 0}

    async def handler(peer: Peer, request: Request) -> None:
        wanted = json.loads(request.body)
        text = answer(wanted["kind"], wanted["n"])
        before = len(it.link.rows)
        await peer.send(text[: cut["at"]])
        if wanted["cut"]:
            # Whatever was said so far has been read before the rest is.
            for _ in range(3):
                assert (await other.ask("GET", "/health")).status == 200
        assert len(it.link.rows) == before
        await peer.send(text[cut["at"] :])

    for kind in (0, 3):
        async with lane(handler) as it, it.open() as client, it.open() as other:
            for at in range(len(answer(kind, 0)) - 1):
                for is_cut in (False, True):
                    cut["at"] = at if is_cut else 0
                    found = await client.ask(
                        "POST", "/v1/chat/completions", {"model": "m", "n": 0, "kind": kind, "cut": is_cut}
                    )
                    assert (found.status, found.body) == (200, b'{"n":0,"x":""}'), at


async def test_interim_answers_before_a_known_head_are_passed_over() -> None:
    async def handler(peer: Peer, request: Request) -> None:
        wanted = json.loads(request.body)
        early = b"HTTP/1.1 103 Early Hints\r\nlink: x\r\n\r\n" * (wanted["n"] % 3)
        await peer.send(early + answer(wanted["kind"], wanted["n"]))

    async with lane(handler) as it, it.open() as client:
        await ask_all(client, [0, 0, 0, 0, 3, 3, 3, 0, 3, 0])


@pytest.mark.parametrize(
    "text",
    [
        b"HTTP/1.1 200 OK\r\ncontent-length: 3\r\ncontent-length: 2\r\n\r\n{}",
        b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\ntransfer-encoding: chunked\r\n\r\n{}",
        b"HTTP/1.1 200 OK\r\ncontent-length: 2x\r\n\r\n{}",
        b"HTTP/1.1 200 OK\r\ncontent-length: +2\r\n\r\n{}",
        b"HTTP/1.1 200 OK\r\ncontent-length: \r\n\r\n{}",
        b"HTTP/1.1 200 OK\r\ncontent-length: 2\nx: y\r\n\r\n{}",
    ],
)
async def test_an_odd_answer_that_begins_like_a_known_one_is_refused(text: bytes) -> None:
    async def handler(peer: Peer, request: Request) -> None:
        odd = json.loads(request.body)["n"]
        await peer.send(text if odd else b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}")

    async with lane(handler) as it, it.open() as client:
        for odd in (0, 0, 1, 0, 1):
            found = await client.ask("POST", "/v1/chat/completions", {"model": "m", "n": odd})
            assert found.status == (502 if odd else 200)


async def test_a_new_generation_is_not_known_by_the_heads_of_the_old_one() -> None:
    async with lane(as_asked, model=cat.CatalogueModel(id=ModelId("m"))) as it, it.open() as client:
        await ask_all(client, [0, 0])
        it.link.recall(it.book)
        it.link.generation += 1
        await ask_all(client, [1, 0, 1])

"""Client, exchange and upstream as machines: scripted sockets, a reactor turned by hand, time that a test moves.

No trio and no kernel: each step is one event, and after each the states are looked at.
"""

import errno
import math
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any

import pytest

from gateway.lane.client import Client
from gateway.lane.connection import LINGER, Mode
from gateway.lane.exchange import Phase
from gateway.lane.lane import Lane
from gateway.lane.outbox import MOST_JOINED, Outbox
from gateway.lane.reactor import FEW, HUNG_UP, READABLE, WRITABLE, Reactor
from gateway.lane.upstream import IDLE, JOINED
from gateway.leases import LeaseBook
from protocol import catalogue as cat
from protocol.ids import CallId, LeaseId, ModelId, Refusal
from protocol.lease_calls import LeaseDone
from protocol.messages import Granted, Outcome, Refused
from tests.gateway.lane.test_lane import BODY, GET, STREAM, post

ANSWER = b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nabcd"
STREAM_HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
ALL = 1 << 30


class Script:
    """A socket: what it ``says`` when read, how much it takes; ``took``: what was sent to it."""

    def __init__(self) -> None:
        self.says: list[bytes | OSError] = []
        self.room = ALL
        self.took = b""
        self.closed = False
        self.reset = False
        self.shut = False
        self.refuses = 0
        self.send_error: OSError | None = None

    def recv(self, size: int) -> bytes:
        if not self.says:
            raise BlockingIOError
        said = self.says.pop(0)
        if isinstance(said, OSError):
            raise said
        if len(said) > size:
            self.says.insert(0, said[size:])
        return said[:size]

    def send(self, data: bytes) -> int:
        assert not self.closed
        if self.send_error is not None:
            raise self.send_error
        if not self.room:
            raise BlockingIOError
        taken = bytes(data[: self.room])
        self.room -= len(taken)
        self.took += taken
        return len(taken)

    def sendmsg(self, pieces: Sequence[bytes]) -> int:
        return self.send(b"".join(pieces))

    def connect_ex(self, _: object) -> int:
        return errno.EINPROGRESS

    def getsockopt(self, *_: int) -> int:
        return self.refuses

    def setsockopt(self, _: int, option: int, value: object) -> None:
        self.reset = self.reset or isinstance(value, bytes)

    def shutdown(self, _: int) -> None:
        self.shut = True

    def setblocking(self, _: bool) -> None:
        """It never does."""

    def close(self) -> None:
        assert not self.closed, "a socket is closed once"
        self.closed = True


class Listener(Script):
    """Who is let in."""

    def __init__(self) -> None:
        super().__init__()
        self.comers: list[Script] = []

    def accept(self) -> tuple[Script, tuple[str, int]]:
        if not self.comers:
            raise BlockingIOError
        return self.comers.pop(0), ("10.0.0.1", 1)


class ByHand(Reactor):
    """Does what it was asked for when ``turn_all`` is called, and tells of events when a test does."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.watched: dict[Any, Callable[[int], None]] = {}
        self.asked: list[Callable[[], object]] = []
        self.opened: list[Script] = []
        self.no_descriptors = False
        self._at_end: list[Callable[[], object]] = []
        self._last: list[Callable[[], object]] = []
        self._kept_for = 0
        self.events_in_a_turn = 1
        self._due = math.inf
        self._turning = False

    def open(self, family: int) -> Any:
        if self.no_descriptors:
            raise OSError(errno.EMFILE, "Too many open files")
        self.opened.append(Script())
        return self.opened[-1]

    def add(self, sock: Any, ready: Callable[[int], None]) -> None:
        self.watched[sock] = lambda mask: self._turn(partial(ready, mask))

    def close(self, sock: Any) -> None:
        del self.watched[sock]
        sock.close()

    def soon(self, call: Callable[[], object]) -> None:
        self.asked.append(call)

    def coalesce(self, sock: Any) -> None:
        assert sock in self.watched

    def single_out(self, sock: Any) -> None:
        assert sock in self.watched

    def _turn(self, work: Callable[[], object]) -> None:
        if self._turning:
            work()
            return
        self._turning = True
        work()
        self._end_turn(self.events_in_a_turn)

    def turn_all(self) -> None:
        """Until nobody asks for anything more."""
        for _ in range(1000):
            if not self.asked:
                return
            self._turn(self.asked.pop(0))
        raise AssertionError("it never comes to rest")


class Link:
    """The supervisor: a test answers."""

    def __init__(self) -> None:
        self.calls: dict[CallId, LeaseDone] = {}
        self.released: list[LeaseId] = []
        self.granted = 0

    def request_lease(self, name: str, *, caller: str, deadline_in: float | None = None, done: LeaseDone) -> CallId:
        call = CallId(f"c{len(self.calls)}")
        self.calls[call] = done
        return call

    def cancel(self, call: CallId) -> None:
        del self.calls[call]

    def release(self, lease: LeaseId, last_used: int | None = None) -> None:
        self.released.append(lease)

    def grant(self, *, parkable: bool = False, upstream: str = "http://127.0.0.1:1", loading: float = 0.0) -> LeaseId:
        ((call, done),) = self.calls.items()
        del self.calls[call]
        self.granted += 1
        lease = LeaseId(f"L{self.granted}")
        done(
            Granted(
                call=call, lease=lease, model=ModelId("m"), generation=1, upstream=upstream, effective_name="m",
                parkable=parkable, revision=1, loading=loading,
            )
        )  # fmt: skip
        return lease

    def refuse(self) -> None:
        ((call, done),) = self.calls.items()
        del self.calls[call]
        done(Refused(call=call, refusal=Refusal.START_FAILED, text="it died"))


class World:
    """A lane with one client, and everything around it in the test's hands."""

    def __init__(self, limits: cat.Limits) -> None:
        self.reactor = ByHand()
        self.link = Link()
        self.book = LeaseBook(self.link)
        self.rows: list[Outcome] = []
        self.emptied: list[bool] = []
        self.listener = Listener()
        model = cat.CatalogueModel(id=ModelId("m"), connect=5.0, first_byte=8.0)
        catalogue = cat.Catalogue(revision=1, models=(model,), limits=limits)
        self.handed: list[Any] = []
        self.lane = Lane(
            self.reactor, self.listener, self.book,  # type: ignore[arg-type]  # it looks like a socket
            catalogue_now=lambda: catalogue, report=self.rows.append, hand=self.handed.append, emptied=self._empty,
        )  # fmt: skip
        self.sock = Script()
        self.listener.comers.append(self.sock)
        self.event(self.listener, READABLE)
        (client,) = self.lane.clients
        assert isinstance(client, Client)
        self.client = client

    def _empty(self) -> None:
        self.emptied.append(True)

    def event(self, sock: Script, mask: int) -> None:
        """The kernel tells of something, and all that follows from it happens."""
        ready = self.reactor.watched.get(sock)
        if ready is not None:
            ready(mask)
        self.reactor.turn_all()

    def in_one_turn(self, *events: Callable[[], None]) -> None:
        """Things that happen between two looks at the kernel."""
        self.reactor._turn(lambda: [event() for event in events])

    def says(self, sock: Script, *pieces: bytes) -> None:
        for piece in pieces:
            sock.says.append(piece)
            self.event(sock, READABLE)

    def ends(self, sock: Script) -> None:
        sock.says.append(b"")
        self.event(sock, READABLE | HUNG_UP)

    def takes(self, sock: Script, room: int) -> None:
        sock.room = room
        self.event(sock, WRITABLE)

    def later(self, seconds: float) -> None:
        """So much time goes by, in ticks."""
        for _ in range(int(seconds * 4)):
            self.reactor.now += 0.25
            self.lane.wheel.advance(self.reactor.now)
            self.reactor.turn_all()

    @property
    def up(self) -> Script:
        """The last connection to a model server."""
        return self.reactor.opened[-1]

    def phase(self) -> Phase | None:
        exchange = self.client._exchange
        return None if exchange is None else exchange._phase

    def state(self) -> tuple[Mode, Phase | None]:
        return self.client.mode, self.phase()

    def to(self, phase: str, request: bytes = b"") -> None:
        """A request, up to this phase."""
        request = request or post(STREAM)
        if phase == "BODY":
            self.says(self.sock, request[:-1])
            return
        self.says(self.sock, request)
        if phase == "QUEUED":
            return
        self.link.grant()
        self.reactor.turn_all()
        if phase == "CONNECTING":
            return
        self.event(self.up, WRITABLE)
        if phase == "RELAYING":
            self.says(self.up, STREAM_HEAD + b"4\r\nabcd\r\n")

    def check_over(self, *, closed: bool) -> None:
        """Nothing of the exchange is left."""
        assert self.phase() is None
        assert not self.link.calls
        assert len(self.link.released) == self.link.granted
        assert not self.book.statistics()["leases"]
        assert (self.client.mode is Mode.CLOSED) == closed == self.sock.closed
        if closed:
            assert not self.lane.clients
            assert not self.lane.wheel


@pytest.fixture
def world() -> Iterator[World]:
    made = World(cat.Limits(keep_alive_after=3.0, idle=10.0, head=4.0, body=6.0))
    yield made
    # A handler that does not hold to it would make the kernel's numbers ours.
    assert set(made.reactor.watched) <= {made.listener, made.sock, *made.reactor.opened}
    assert all(sock in made.reactor.watched or sock.closed for sock in made.reactor.opened)


PHASES = ["BODY", "QUEUED", "CONNECTING", "WAITING", "RELAYING"]


# ------------------------------------------------------------------ one turn


def test_what_a_turn_sends_goes_out_at_its_end_and_the_outcome_is_told_behind_it(world: World) -> None:
    world.to("WAITING", post(BODY))
    told: list[bytes] = []
    world.lane.report = lambda _: told.append(world.sock.took)
    sent: list[bytes] = []
    world.in_one_turn(partial(world.says, world.up, ANSWER), lambda: sent.append(world.sock.took))
    assert (sent, told, world.sock.took) == ([b""], [ANSWER], ANSWER)


def test_an_outcome_has_its_own_times_though_the_next_request_has_the_lease_already(world: World) -> None:
    world.says(world.sock, post(BODY))
    world.link.grant(parkable=True, loading=0.125)
    world.event(world.up, WRITABLE)
    world.in_one_turn(partial(world.says, world.up, ANSWER), partial(world.says, world.sock, post(BODY)))
    assert world.state() == (Mode.BUSY, Phase.WAITING)
    world.says(world.up, ANSWER)
    assert [row.loading for row in world.rows] == [0.125, 0.0]


def test_an_outcome_that_a_busy_worker_has_kept_is_told_when_it_ends(world: World) -> None:
    world.says(world.sock, post(BODY))
    world.link.grant(parkable=True)
    world.event(world.up, WRITABLE)
    world.reactor.events_in_a_turn = FEW
    world.says(world.up, ANSWER)
    assert not world.rows
    world.lane.aclose()
    assert [row.status for row in world.rows] == [200]


def test_a_client_that_leaves_in_the_turn_of_its_answer_gets_it(world: World) -> None:
    world.to("WAITING", post(BODY))
    world.in_one_turn(partial(world.says, world.up, ANSWER), partial(world.ends, world.sock))
    assert world.sock.took == ANSWER
    world.check_over(closed=True)


def test_what_came_in_the_turn_in_which_a_server_breaks_off_goes_out_before_the_reset(world: World) -> None:
    world.to("WAITING")
    piece = STREAM_HEAD + b"9\r\nabcd"
    world.in_one_turn(partial(world.says, world.up, piece), partial(world.ends, world.up))
    assert world.sock.took.endswith(b"9\r\nabcd")
    assert world.sock.reset
    world.check_over(closed=True)


def test_a_request_that_is_cut_in_the_turn_in_which_it_was_to_be_sent_is_not_sent(world: World) -> None:
    world.says(world.sock, post(BODY))
    lease = world.link.grant(parkable=True)
    world.event(world.up, WRITABLE)
    world.says(world.up, ANSWER)
    before = world.up.took
    world.in_one_turn(partial(world.says, world.sock, post(BODY)), partial(world.book.cut, lease))
    assert world.up.took == before
    assert world.up.closed
    world.check_over(closed=False)


@pytest.mark.parametrize("room", [ALL, MOST_JOINED, 7, 0])
def test_pieces_of_one_turn_stay_in_order_and_are_joined_up_to_a_bound(room: int) -> None:
    sock = Script()
    sock.room = room
    outbox = Outbox(sock)  # type: ignore[arg-type]  # it looks like a socket
    pieces = [bytes([number]) * 30_000 for number in range(8)]
    assert [outbox.add(piece) for piece in pieces] == [True] + [False] * 7
    assert len(outbox._fresh) < MOST_JOINED + 30_000
    outbox.push()
    assert outbox.waiting == 240_000 - len(sock.took)
    assert outbox.waiting or room == ALL
    sock.room = ALL
    assert outbox.flush()
    assert (sock.took, outbox.waiting) == (b"".join(pieces), 0)


# ------------------------------------------------------------------ one request


def test_a_request_goes_through_its_states(world: World) -> None:
    assert world.state() == (Mode.IDLE, None)
    request = post(BODY)
    world.says(world.sock, request[:10])
    assert world.state() == (Mode.IDLE, None)
    world.says(world.sock, request[10:-3])
    assert world.state() == (Mode.BODY, None)
    world.says(world.sock, request[-3:])
    assert world.state() == (Mode.BUSY, Phase.QUEUED)
    world.link.grant()
    assert world.state() == (Mode.BUSY, Phase.CONNECTING)
    world.event(world.up, WRITABLE)
    assert world.state() == (Mode.BUSY, Phase.WAITING)
    assert world.up.took.endswith(b"\r\n\r\n" + request.partition(b"\r\n\r\n")[2])
    world.says(world.up, ANSWER[:-2])
    assert world.state() == (Mode.BUSY, Phase.RELAYING)
    world.says(world.up, ANSWER[-2:])
    assert world.state() == (Mode.IDLE, None)
    assert world.sock.took == ANSWER
    world.check_over(closed=False)
    assert [row.status for row in world.rows] == [200]
    assert not world.up.closed


def test_a_parked_lease_and_an_idle_connection_are_used_at_once(world: World) -> None:
    world.says(world.sock, post(BODY))
    world.link.grant(parkable=True)
    world.event(world.up, WRITABLE)
    for _ in range(3):
        world.says(world.up, ANSWER)
        world.says(world.sock, post(BODY))
        assert world.state() == (Mode.BUSY, Phase.WAITING)
    assert (len(world.reactor.opened), world.link.granted) == (1, 1)
    world.says(world.up, ANSWER)
    assert world.book.statistics() == {"leases": 1, "idle": 1}


def test_a_request_of_hypercorn_goes_through_its_states(world: World) -> None:
    world.says(world.sock, GET[:-1])
    assert world.state() == (Mode.IDLE, None)
    world.says(world.sock, GET[-1:] + post(BODY))
    assert world.client.mode is Mode.HANDED
    (stream,) = world.handed
    assert b"".join(stream._inbox) == GET
    stream.answered()
    world.reactor.turn_all()
    assert world.state() == (Mode.BUSY, Phase.QUEUED)
    world.link.refuse()
    assert world.state() == (Mode.IDLE, None)
    assert world.sock.took.startswith(b"HTTP/1.1 503")


def test_requests_sent_ahead_wait_for_their_turn(world: World) -> None:
    world.says(world.sock, post(BODY) * 3)
    for _ in range(3):
        assert world.phase() is Phase.QUEUED
        world.link.refuse()
        world.reactor.turn_all()
    assert world.sock.took.count(b"HTTP/1.1 503") == 3
    assert world.state() == (Mode.IDLE, None)


# ------------------------------------------------------------------ back-pressure


def test_a_client_that_takes_a_byte_at_a_time_gets_all_and_the_server_waits_for_it(world: World) -> None:
    world.sock.room = 0
    world.to("WAITING")
    text = STREAM_HEAD + b"4\r\nabcd\r\n" + b"0\r\n\r\n"
    world.says(world.up, text[:-5])
    world.up.says.append(text[-5:])
    world.event(world.up, READABLE)
    assert world.up.says, "nothing is read for a client that does not read"
    wanted = text.replace(b"\r\n\r\n", b"\r\nx-accel-buffering: no\r\n\r\n", 1)
    for size in range(len(wanted) - 6):
        world.takes(world.sock, 1)
        assert world.sock.took == wanted[: size + 1]
    assert world.phase() is Phase.RELAYING
    world.takes(world.sock, 1)
    assert not world.up.says, "all was taken: the rest is read"
    assert world.state() == (Mode.BUSY, None), "but no further request yet"
    world.says(world.sock, post(BODY))
    assert world.phase() is None
    for _ in range(5):
        world.takes(world.sock, 1)
    assert world.sock.took == wanted
    assert world.phase() is Phase.QUEUED


def test_a_server_that_takes_a_byte_at_a_time_gets_the_whole_request(world: World) -> None:
    world.to("CONNECTING", post(BODY))
    world.up.room = 1
    world.event(world.up, WRITABLE)
    while b'{"model": "m"}' not in world.up.took:
        before = len(world.up.took)
        world.takes(world.up, 1)
        assert len(world.up.took) == before + 1
    world.says(world.up, ANSWER)
    assert world.sock.took == ANSWER
    assert not world.up.closed


def taken(request: bytes, at_first: int) -> bytes:
    """What a server gets that takes so many bytes at first, and then the rest."""
    world = World(cat.Limits())
    world.to("CONNECTING", request)
    world.up.room = at_first
    world.event(world.up, WRITABLE)
    world.takes(world.up, ALL)
    world.says(world.up, ANSWER)
    assert world.sock.took == ANSWER
    assert not world.up.closed
    return world.up.took


@pytest.mark.parametrize("beyond_head", [-1, 0, 1, JOINED])
@pytest.mark.parametrize("size", [JOINED // 2, 3 * JOINED])
def test_a_server_that_takes_a_long_request_in_two_goes_gets_the_whole(size: int, beyond_head: int) -> None:
    request = post({"model": "m", "text": "x" * size})
    body = request[request.index(b"{") :]
    head = taken(request, ALL).removesuffix(body)
    assert head.endswith(b"\r\n\r\n")
    assert taken(request, len(head) + beyond_head) == head + body


def test_an_answer_before_the_request_was_taken_is_passed_on_and_its_connection_ends(world: World) -> None:
    world.to("CONNECTING", post(BODY))
    world.up.room = 1
    world.event(world.up, WRITABLE)
    world.says(world.up, ANSWER)
    assert world.sock.took == ANSWER
    assert world.up.closed
    world.check_over(closed=False)


def test_an_end_that_is_asked_for_waits_for_what_was_kept(world: World) -> None:
    world.sock.room = 0
    world.to("WAITING", post(BODY, "Connection: close"))
    world.says(world.up, ANSWER)
    assert not world.sock.closed
    world.takes(world.sock, 10)
    assert not world.sock.closed
    world.takes(world.sock, ALL)
    assert world.sock.took.endswith(b"abcd")
    world.check_over(closed=True)


# ------------------------------------------------------------------ ends


@pytest.mark.parametrize("how", ["end", "error", "not taken"])
@pytest.mark.parametrize("phase", PHASES)
def test_a_client_that_leaves_ends_everything_at_once(world: World, phase: str, how: str) -> None:
    world.to(phase)
    match how:
        case "end":
            world.ends(world.sock)
        case "error":
            world.sock.says.append(ConnectionResetError())
            world.event(world.sock, READABLE | HUNG_UP)
        case _:
            world.sock.room = 0
            world.client.send(b"x")
            world.sock.send_error = BrokenPipeError()
            world.event(world.sock, WRITABLE)
    world.check_over(closed=True)
    assert all(sock.closed for sock in world.reactor.opened)
    assert [row.error for row in world.rows] == ["the client left"] * (phase not in ("BODY", "QUEUED"))


@pytest.mark.parametrize("phase", PHASES[1:])
def test_a_worker_that_gives_up_ends_everything_at_once(world: World, phase: str) -> None:
    world.to(phase)
    world.lane.drain()
    assert not world.emptied
    world.lane.abort()
    world.check_over(closed=True)
    assert world.sock.reset
    assert len(world.emptied) == 1
    assert all(sock.closed for sock in world.reactor.opened)


@pytest.mark.parametrize("phase", PHASES[2:])
def test_a_lease_that_is_cut_ends_the_exchange(world: World, phase: str) -> None:
    world.to(phase)
    world.book.cut(LeaseId("L1"))
    world.reactor.turn_all()
    world.check_over(closed=phase == "RELAYING")
    assert all(sock.closed for sock in world.reactor.opened)
    assert b"was stopped while it answered" in world.sock.took
    assert [row.error for row in world.rows] == ["the model was stopped while it answered"]


def test_a_cut_within_a_chunk_breaks_the_connection(world: World) -> None:
    world.to("RELAYING")
    world.says(world.up, b"8\r\nabcd")
    world.book.cut(LeaseId("L1"))
    world.check_over(closed=True)
    assert world.sock.reset
    assert world.sock.took.endswith(b"8\r\nabcd")


def test_a_refused_lease_is_an_answer_and_the_connection_goes_on(world: World) -> None:
    world.to("QUEUED")
    world.link.refuse()
    world.check_over(closed=False)
    assert world.sock.took.startswith(b"HTTP/1.1 503")
    world.says(world.sock, post(BODY))
    assert world.phase() is Phase.QUEUED


@pytest.mark.parametrize("phase", ["CONNECTING", "WAITING", "RELAYING"])
def test_a_server_that_fails_ends_the_exchange(world: World, phase: str) -> None:
    world.to(phase)
    if phase == "CONNECTING":
        world.up.refuses = errno.ECONNREFUSED
        world.event(world.up, WRITABLE | READABLE | HUNG_UP)
    else:
        world.ends(world.up)
    world.check_over(closed=phase == "RELAYING")
    assert all(sock.closed for sock in world.reactor.opened)
    assert (b"HTTP/1.1 502" in world.sock.took) == (phase != "RELAYING")
    assert world.rows[0].error


def test_without_a_descriptor_the_request_is_refused_and_the_connection_goes_on(world: World) -> None:
    world.reactor.no_descriptors = True
    world.to("CONNECTING")
    world.check_over(closed=False)
    assert b"Too many open files" in world.sock.took


def test_localhost_is_tried_in_both_families(world: World) -> None:
    world.says(world.sock, post(BODY))
    world.link.grant(upstream="http://localhost:1")
    first = world.up
    first.refuses = errno.ECONNREFUSED
    world.event(first, WRITABLE | READABLE | HUNG_UP)
    assert first.closed
    assert world.phase() is Phase.CONNECTING
    world.event(world.up, WRITABLE)
    world.says(world.up, ANSWER)
    assert world.sock.took == ANSWER


def test_a_used_connection_that_ends_without_a_word_is_replaced_once(world: World) -> None:
    world.says(world.sock, post(BODY))
    world.link.grant(parkable=True)
    world.event(world.up, WRITABLE)
    world.says(world.up, ANSWER)
    world.says(world.sock, post(BODY))
    world.ends(world.up)
    assert len(world.reactor.opened) == 2
    assert world.phase() is Phase.CONNECTING
    world.event(world.up, WRITABLE)
    world.ends(world.up)
    assert len(world.reactor.opened) == 2, "not a third time"
    assert b"HTTP/1.1 502" in world.sock.took
    world.check_over(closed=False)


def test_a_used_connection_that_ends_behind_an_interim_answer_is_not_replaced(world: World) -> None:
    world.says(world.sock, post(BODY))
    world.link.grant(parkable=True)
    world.event(world.up, WRITABLE)
    world.says(world.up, ANSWER)
    world.says(world.sock, post(BODY))
    world.says(world.up, b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n")
    world.ends(world.up)
    assert len(world.reactor.opened) == 1, "the server has got the request"
    assert b"HTTP/1.1 502" in world.sock.took
    world.check_over(closed=False)


@pytest.mark.parametrize("says", [b"", b"HTTP/1.1 408 Too slow\r\n\r\n"])
def test_an_idle_connection_that_ends_or_says_something_is_not_used_again(world: World, says: bytes) -> None:
    world.to("WAITING", post(BODY))
    world.says(world.up, ANSWER)
    first = world.up
    world.says(first, says) if says else world.ends(first)
    assert first.closed
    world.to("CONNECTING", post(BODY))
    assert world.up is not first


# ------------------------------------------------------------------ time


def test_an_idle_connection_to_a_server_is_not_used_for_ever(world: World) -> None:
    world.to("WAITING", post(BODY))
    world.says(world.up, ANSWER)
    first = world.up
    world.later(IDLE)
    world.to("CONNECTING", post(BODY))
    assert first.closed
    assert world.up is not first


@pytest.mark.parametrize(
    ("sent", "limit", "said"),
    [(b"", 10.0, b""), (b"POST /", 4.0, b"HTTP/1.1 408"), (post(BODY)[:-1], 6.0, b"HTTP/1.1 408")],
    ids=["idle", "head", "body"],
)
def test_who_is_too_slow_is_cut_off_in_time_and_not_before(
    world: World, sent: bytes, limit: float, said: bytes
) -> None:
    if sent:
        world.says(world.sock, sent)
    world.later(limit - 0.25)
    assert not world.sock.took
    assert not world.sock.closed
    world.later(0.75)
    assert world.sock.took[:12] == said
    assert world.client.mode is (Mode.LINGER if said else Mode.CLOSED)
    world.later(LINGER + 0.5)
    world.check_over(closed=True)


def test_a_body_that_comes_slowly_has_time_as_long_as_it_comes(world: World) -> None:
    request = post(BODY)
    world.says(world.sock, request[:-4])
    for at in range(len(request) - 4, len(request)):
        world.later(5.0)
        world.says(world.sock, request[at : at + 1])
    assert world.phase() is Phase.QUEUED


def test_a_head_has_its_time_however_steadily_it_comes(world: World) -> None:
    for _ in range(9):
        world.says(world.sock, b"X")
        world.later(0.5)
    assert world.sock.took.startswith(b"HTTP/1.1 408")


def test_a_server_that_does_not_accept_is_given_up_in_time(world: World) -> None:
    world.to("CONNECTING", post(BODY))
    world.later(4.75)
    assert world.phase() is Phase.CONNECTING
    world.later(0.75)
    assert world.sock.took.startswith(b"HTTP/1.1 502")
    assert world.up.closed
    world.check_over(closed=False)


@pytest.mark.parametrize("request_", [post(BODY), post(STREAM)], ids=["whole", "stream"])
def test_a_server_that_does_not_begin_is_given_up_in_time(world: World, request_: bytes) -> None:
    world.to("WAITING", request_)
    world.later(7.75)
    assert world.phase() is Phase.WAITING
    world.later(0.75)
    assert b"did not begin to answer in time" in world.sock.took
    assert world.up.closed
    world.check_over(closed=request_ != post(BODY))


def test_who_waits_for_a_stream_hears_comments_in_time(world: World) -> None:
    world.to("QUEUED")
    world.later(2.75)
    assert not world.sock.took
    world.later(0.5)
    assert world.sock.took.count(b": waiting") == 1
    world.later(6.5)
    assert world.sock.took.count(b": waiting") == 3
    world.link.grant()
    world.event(world.up, WRITABLE)
    world.says(world.up, STREAM_HEAD + b"4\r\nabcd\r\n0\r\n\r\n")
    assert world.sock.took.endswith(b"4\r\nabcd\r\n0\r\n\r\n")
    assert world.sock.took.count(b"HTTP/1.1") == 1
    world.check_over(closed=False)


def test_a_stream_may_take_as_long_as_it_likes_once_it_has_begun(world: World) -> None:
    world.to("RELAYING")
    world.later(300)
    assert world.phase() is Phase.RELAYING
    world.says(world.up, b"0\r\n\r\n")
    world.check_over(closed=False)


@pytest.mark.parametrize("how", ["answer", "last answer", "event"])
def test_a_client_that_never_takes_its_answer_is_not_waited_for_for_ever(world: World, how: str) -> None:
    world.sock.room = 0
    world.to("WAITING", post(BODY, "Connection: close") if how == "last answer" else post(STREAM))
    if how == "event":
        world.says(world.up, STREAM_HEAD + b"4\r\nabcd\r\n")
        world.book.cut(LeaseId("L1"))
    else:
        world.says(world.up, ANSWER)
    assert world.state() == (Mode.BUSY, None)
    world.later(9.75)
    assert not world.sock.closed
    world.later(0.75)
    world.check_over(closed=True)


def test_an_idle_connection_ends_in_time_after_a_request_without_a_limit_too(world: World) -> None:
    world.to("RELAYING")
    world.later(300)
    world.says(world.up, b"0\r\n\r\n")
    world.later(9.75)
    assert not world.sock.closed
    world.later(0.75)
    world.check_over(closed=True)


def test_a_draining_worker_lets_an_answer_that_is_taken_slowly_arrive(world: World) -> None:
    world.sock.room = 0
    world.to("WAITING", post(BODY))
    world.says(world.up, ANSWER)
    world.lane.drain()
    assert not world.sock.closed
    world.takes(world.sock, ALL)
    assert world.sock.took == ANSWER
    world.check_over(closed=True)
    assert len(world.emptied) == 1


def test_a_tick_sets_the_clock_of_a_reactor_that_had_no_turn_for_long(world: World) -> None:
    begun = time.monotonic()
    world.lane.tick()
    assert world.reactor.now >= begun


def test_an_upgrade_is_a_tunnel_to_the_end(world: World) -> None:
    world.says(world.sock, b"GET / HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\n\r\n")
    assert world.client.mode is Mode.TUNNEL
    world.says(world.sock, post(BODY))
    assert world.client.mode is Mode.TUNNEL
    world.later(300)
    world.ends(world.sock)
    world.check_over(closed=True)

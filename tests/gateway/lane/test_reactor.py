"""One turn of the reactor after the other: in which order things happen, what may wait, and for how long."""

import math
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from functools import partial

import pytest

from gateway.lane import coalescing
from gateway.lane.coalescing import CROWD, JUDGED, LONG, MOMENT, MOST, SHORT, Coalescing
from gateway.lane.reactor import FEW, MOST_NOTES, MOST_TURNS, TURN, Reactor

PATIENCE = 5.0
QUARTER = TURN / 4
"""Seconds that a handler takes here: a turn has time for a few."""


@pytest.fixture
def reactor() -> Iterator[Reactor]:
    """One that nobody drives but the test."""
    made = Reactor()
    yield made
    made.aclose()


@contextmanager
def pairs(count: int) -> Iterator[list[tuple[socket.socket, socket.socket]]]:
    """Connected sockets; they block nobody."""
    with ExitStack() as stack:
        made = [socket.socketpair() for _ in range(count)]
        for pair in made:
            for sock in pair:
                sock.setblocking(False)
                stack.enter_context(sock)
        yield made


def spend(seconds: float) -> None:
    """Be busy for so long."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        pass


def within(condition: Callable[[], bool], step: Callable[[], object]) -> None:
    """Step until it holds."""
    limit = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < limit
        step()


# ------------------------------------------------------------------ one turn


def test_what_is_asked_for_the_end_of_a_turn_comes_behind_its_handlers_and_outside_at_once(reactor: Reactor) -> None:
    order: list[str] = []

    def handler(name: str) -> None:
        reactor.at_last(lambda: order.append(f"noted {name}"))
        reactor.at_end(lambda: reactor.at_end(lambda: order.append(f"sent {name}")))
        order.append(name)

    reactor.soon(lambda: handler("a"))
    reactor.soon(lambda: handler("b"))
    reactor.turn()
    assert order == ["a", "b", "sent a", "sent b", "noted a", "noted b"]
    reactor.turn()
    reactor.at_last(lambda: order.append("noted"))
    reactor.at_end(lambda: order.append("sent"))
    assert order[6:] == ["noted", "sent"]


def test_a_long_turn_leaves_the_rest_to_the_next_one(reactor: Reactor) -> None:
    told: list[int] = []
    with pairs(20) as sockets:
        for number, (one, _) in enumerate(sockets):

            def ready(_: int, number: int = number) -> None:
                spend(QUARTER)
                told.append(number)

            reactor.add(one, ready)
        reactor.turn()
        # Whoever takes the processor away for a while ends a turn sooner.
        assert 1 <= len(told) < 20
        within(lambda: len(told) >= 20, reactor.turn)
        assert sorted(told) == list(range(20))


def test_a_call_that_is_due_comes_between_two_others_of_a_turn(reactor: Reactor) -> None:
    order: list[str] = []

    def due() -> None:
        order.append("due")

    def handler(_: int = 0) -> None:
        if not order:
            reactor.call_at(time.monotonic() + TURN / 2, due)
        order.append("handler")
        spend(QUARTER)

    with pairs(20) as sockets:
        for one, _ in sockets:
            reactor.add(one, handler)
        within(lambda: order.count("handler") >= 20, reactor.turn)
    at = order.index("due")
    # Two handlers last as long as it waits; somebody else may have had the processor meanwhile.
    assert 1 <= at <= 3
    del order[:]
    # It comes between what is sent, too.

    def send() -> None:
        for _ in range(20):
            reactor.at_end(handler)

    reactor.soon(send)
    reactor.turn()
    assert 1 <= order.index("due") <= 3
    assert order.count("handler") == 20


def test_calls_are_made_in_the_order_of_their_times_and_waited_for_no_longer_than_that(reactor: Reactor) -> None:
    order: list[str] = []
    now = time.monotonic()
    reactor.call_at(now + 0.004, lambda: order.append("third"))
    reactor.call_at(now + 0.002, lambda: order.append("first"))
    reactor.call_at(now + 0.002, lambda: order.append("second"))
    assert 0.0 <= reactor.patience <= 0.002
    within(lambda: len(order) == 3, lambda: reactor.turn(math.inf))
    assert order == ["first", "second", "third"]
    assert time.monotonic() - now >= 0.004
    assert reactor.patience == math.inf


# ------------------------------------------------------------------ notes


@contextmanager
def events_in_each_turn(reactor: Reactor, count: int) -> Iterator[Callable[[Callable[[], None]], None]]:
    """A turn of so many events, whoever else has the processor; the call is made in the first of them."""
    calls: list[Callable[[], None]] = []
    with pairs(count) as sockets, pytest.MonkeyPatch.context() as patch:
        patch.setattr("gateway.lane.reactor.TURN", PATIENCE)
        for one, _ in sockets:

            def ready(_: int, sock: socket.socket = one) -> None:
                with suppress(BlockingIOError):
                    sock.recv(100)
                while calls:
                    calls.pop()()

            reactor.add(one, ready)
        within(lambda: not reactor.turn(), lambda: None)  # they can be written to

        def turn(call: Callable[[], None]) -> None:
            calls.append(call)
            for _, other in sockets:
                other.send(b"x")
            reactor.turn()
            assert not calls

        yield turn


def test_a_turn_with_few_events_notes_at_once(reactor: Reactor) -> None:
    noted: list[int] = []
    with events_in_each_turn(reactor, FEW - 1) as turn:
        turn(lambda: reactor.at_last(lambda: noted.append(1)))
        assert noted


def test_notes_of_busy_turns_are_kept_until_there_is_rest(reactor: Reactor) -> None:
    noted: list[int] = []
    with events_in_each_turn(reactor, FEW) as turn:
        for number in range(MOST_TURNS - 1):
            turn(lambda: reactor.at_last(partial(noted.append, number)))  # noqa: B023 (called before the next one)
            assert not noted
        assert reactor.patience == 0.0
        begun = time.monotonic()
        assert not reactor.turn(PATIENCE)
        assert time.monotonic() - begun < PATIENCE
        assert noted == list(range(MOST_TURNS - 1))
        assert reactor.patience == math.inf


@pytest.mark.parametrize(("each_turn", "turns"), [(0, MOST_TURNS), (MOST_NOTES // 4, 4)])
def test_notes_are_kept_for_a_bounded_time_and_number(reactor: Reactor, each_turn: int, turns: int) -> None:
    noted: list[int] = []

    def note(count: int) -> None:
        for _ in range(count):
            reactor.at_last(partial(noted.append, 1))

    with events_in_each_turn(reactor, FEW) as turn:
        for number in range(turns):
            assert not noted
            turn(partial(note, each_turn or int(number == 0)))
        assert len(noted) == (each_turn * turns or 1)


# ------------------------------------------------------------------ streams


def judged(streams: Coalescing, sockets: list[socket.socket], speakers: int, wait: float, now: float) -> float:
    """So many of them have said something, each time that they were waited for so long, but for a few times; the time
    when it is judged."""
    for look in range(JUDGED):
        for sock in sockets[:speakers]:
            sock.send(b"x")
        streams.expect(now)
        now += 10.0 if look < JUDGED / 3 else wait
        assert len(streams.take(now)) == speakers
    return now


SELDOM, RARE, OFTEN, ALWAYS = LONG * 1.5, (LONG + SHORT) / 2, SHORT / 2, 0.0


@pytest.mark.parametrize(
    ("looks", "pause"),
    [
        ([(1, SELDOM)], 0.0),
        ([(1, RARE)], 0.0),
        ([(1, OFTEN)], MOMENT),
        ([(CROWD, ALWAYS)], MOMENT),
        ([(1, OFTEN), (1, RARE)], MOMENT),
        ([(1, OFTEN), (1, SELDOM)], 0.0),
        ([(CROWD, ALWAYS), (CROWD, ALWAYS)], 2 * MOMENT),
        ([(CROWD, ALWAYS), (CROWD, ALWAYS), (CROWD - 1, ALWAYS)], MOMENT),
        ([(CROWD, ALWAYS), (CROWD, ALWAYS), (CROWD, SELDOM)], 0.0),
    ],
)
def test_how_long_streams_are_waited_for_decides_how_they_are_told_of(
    looks: list[tuple[int, float]], pause: float
) -> None:
    streams = Coalescing()
    with pairs(CROWD) as sockets:
        for one, _ in sockets:
            streams.add(one)
        now = 1000.0
        for speakers, wait in looks:
            now = judged(streams, [other for _, other in sockets], speakers, wait, now)
        assert streams.pause == pause
    streams.close()


class Heard:
    """Reads what a coalesced socket has to say, and when."""

    def __init__(self, reactor: Reactor, sock: socket.socket) -> None:
        self._reactor, self._sock = reactor, sock
        self.data = b""
        self.turns: list[int] = []
        reactor.add(sock, self.ready)

    def ready(self, _: int) -> None:
        with suppress(BlockingIOError):
            self.data += self._sock.recv(65536)
            self.turns.append(self._reactor.turns)

    def has(self, count: int) -> bool:
        return len(self.data) >= count


def test_streams_that_say_much_are_told_of_together_once_a_moment_and_nothing_is_lost(reactor: Reactor) -> None:
    with pairs(8) as sockets:
        heard = [Heard(reactor, one) for one, _ in sockets]
        for one, _ in sockets:
            reactor.coalesce(one)
        begun = time.monotonic()
        sent = 0
        while sent < 1000:
            for _, other in sockets:
                other.send(b"x")
            sent += 1
            reactor.turn()
        within(lambda: all(one.has(sent) for one in heard), lambda: reactor.turn(MOMENT))
        seconds = time.monotonic() - begun
        assert all(one.data == b"x" * sent for one in heard)
        turns = set[int]().union(*(one.turns for one in heard))
        # It is judged after the first sixteen.
        assert len(turns) < seconds / MOMENT + JUDGED + 4
        assert len(turns) < sent / 2


def test_a_stream_that_says_something_now_and_then_is_told_of_at_once(reactor: Reactor) -> None:
    wait = partial(reactor.turn, PATIENCE)
    with pairs(1) as ((one, other),):
        heard = Heard(reactor, one)
        reactor.coalesce(one)
        for number in range(20):
            other.send(b"x")
            before = reactor.turns
            within(partial(heard.has, number + 1), wait)
            assert reactor.turns == before + 1
            time.sleep(2 * SHORT)


def test_more_streams_than_one_look_takes_are_all_told_of(reactor: Reactor) -> None:
    wait = partial(reactor.turn, PATIENCE)
    with pairs(3 * MOST) as sockets:
        heard = [Heard(reactor, one) for one, _ in sockets]
        for one, _ in sockets:
            reactor.coalesce(one)
        for number in range(10):
            for _, other in sockets:
                other.send(b"x")
            within(lambda: all(one.has(number + 1) for one in heard), wait)  # noqa: B023 (called at once)


def test_what_is_said_while_a_stream_comes_or_goes_is_not_lost(reactor: Reactor) -> None:
    wait = partial(reactor.turn, PATIENCE)
    with pairs(1) as ((one, other),):
        heard = Heard(reactor, one)
        for number in range(10):
            other.send(b"a")
            reactor.coalesce(one)
            within(partial(heard.has, 2 * number + 1), wait)
            other.send(b"b")
            reactor.single_out(one)
            within(partial(heard.has, 2 * number + 2), wait)
        assert heard.data == b"ab" * 10
        reactor.coalesce(one)
        reactor.close(one)
        other.send(b"x")
        reactor.turn(2 * coalescing.MOMENT)
        assert heard.data == b"ab" * 10

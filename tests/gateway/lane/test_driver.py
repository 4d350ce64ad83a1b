"""Both ways of driving the reactor beside trio: whoever waits for whom, nothing is late, lost or left open."""

import os
import socket
import threading
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from itertools import pairwise
from typing import Any

import outcome
import pytest
import trio

from gateway.lane.coalescing import MOMENT
from gateway.lane.driver import run_as_guest, run_with_task
from gateway.lane.reactor import Reactor

Run = Callable[..., None]
PATIENCE = 5.0


@pytest.fixture(params=[run_as_guest, run_with_task])
def run(request: pytest.FixtureRequest) -> Iterator[Run]:
    """One of the two; afterwards as many descriptors are open as before."""
    before = len(os.listdir("/proc/self/fd"))  # noqa: PTH208 (counted, no paths wanted)
    yield request.param
    assert len(os.listdir("/proc/self/fd")) == before  # noqa: PTH208


class Broken(Exception):
    """What only these tests raise."""


@contextmanager
def raises_broken() -> Iterator[None]:
    """``Broken``, in a group or not, and nothing else."""
    seen: list[BaseException] = []
    try:
        yield
    except* Broken as group:
        seen.append(group)
    assert seen


def limited(main: Callable[[Reactor], Awaitable[object]]) -> Callable[[Reactor], Awaitable[object]]:
    async def within(reactor: Reactor) -> None:
        with trio.fail_after(PATIENCE):
            await main(reactor)

    return within


@contextmanager
def always_busy(reactor: Reactor) -> Iterator[None]:
    """Each turn asks for another one."""
    busy = True

    def again() -> None:
        if busy:
            reactor.soon(again)

    reactor.soon(again)
    try:
        yield
    finally:
        busy = False


def test_it_returns_when_main_does_and_gives_it_its_arguments(run: Run) -> None:
    seen: list[Any] = []

    async def main(reactor: Reactor, *arguments: Any) -> None:
        seen.extend([type(reactor), *arguments])

    run(main, 1, "two")
    assert seen == [Reactor, 1, "two"]


@pytest.mark.parametrize("waits", [False, True])
def test_what_main_raises_comes_out(run: Run, waits: bool) -> None:
    async def main(_: Reactor) -> None:
        if waits:
            await trio.sleep(0.01)
        raise Broken

    with raises_broken():
        run(main)
    # And another run is possible.
    run(trio_sleep)


async def trio_sleep(_: Reactor) -> None:
    await trio.sleep(0)


@pytest.mark.parametrize("how", ["soon", "later", "socket"])
def test_what_a_handler_raises_ends_the_run_and_comes_out(run: Run, how: str) -> None:
    ended: list[str] = []

    def handler(*_: object) -> None:
        raise Broken

    async def main(reactor: Reactor) -> None:
        one, other = socket.socketpair()
        with one, other:
            match how:
                case "soon":
                    reactor.soon(handler)
                case "later":
                    reactor.call_at(reactor.now + MOMENT, handler)
                case _:
                    one.setblocking(False)
                    reactor.add(one, handler)
                    other.send(b"x")
            try:
                with trio.move_on_after(PATIENCE):
                    await trio.sleep_forever()
            finally:
                ended.append("main")

    begun = time.monotonic()
    with raises_broken():
        run(main)
    assert ended == ["main"]
    assert time.monotonic() - begun < PATIENCE
    run(trio_sleep)


def test_what_a_task_asks_for_is_done_although_nothing_else_happens(run: Run) -> None:
    async def main(reactor: Reactor) -> None:
        for _ in range(5):
            called = trio.Event()
            reactor.soon(called.set)
            await called.wait()
            await trio.sleep(0.02)

    run(limited(main))


def test_what_a_thread_asks_for_is_done_although_nothing_else_happens(run: Run) -> None:
    async def main(reactor: Reactor) -> None:
        for _ in range(5):
            called = trio.Event()
            thread = threading.Timer(0.02, reactor.soon_threadsafe, [called.set])
            thread.start()
            await called.wait()
            await trio.to_thread.run_sync(thread.join)

    run(limited(main))


@pytest.mark.parametrize("busy", [False, True])
def test_trios_timers_fire_whether_the_reactor_has_work_or_not(run: Run, busy: bool) -> None:
    async def main(reactor: Reactor) -> None:
        if not busy:
            await trio.sleep(0.05)
            return
        with always_busy(reactor):
            for _ in range(5):
                await trio.sleep(0.01)

    begun = time.monotonic()
    run(limited(main))
    assert time.monotonic() - begun >= 0.05


@pytest.mark.parametrize("busy", [False, True])
def test_a_moment_is_about_a_moment_whether_the_reactor_has_work_or_not(run: Run, busy: bool) -> None:
    late: list[float] = []

    async def main(reactor: Reactor) -> None:
        for _ in range(20):
            called = trio.Event()
            begun = time.monotonic()
            reactor.call_at(begun + MOMENT, called.set)
            await called.wait()
            late.append(time.monotonic() - begun)

    async def beside(reactor: Reactor) -> None:
        with always_busy(reactor):
            await main(reactor)

    run(limited(beside if busy else main))
    # From the turn before, which may be long ago: never much late, whoever else has the processor.
    assert sorted(late)[len(late) // 2] < MOMENT + 0.05


def test_moments_follow_each_other_from_within_the_reactor(run: Run) -> None:
    times: list[float] = []

    async def main(reactor: Reactor) -> None:
        done = trio.Event()

        def again() -> None:
            times.append(now := time.monotonic())
            if len(times) == 10:
                done.set()
            else:
                reactor.call_at(now + MOMENT, again)

        reactor.soon(again)
        await done.wait()

    run(limited(main))
    assert all(later - earlier >= MOMENT for earlier, later in pairwise(times))


def test_a_task_that_a_handler_wakes_goes_on(run: Run) -> None:
    async def main(reactor: Reactor) -> None:
        one, other = socket.socketpair()
        with other:
            one.setblocking(False)
            waiting: list[trio.lowlevel.Task] = []

            def ready(_: int) -> None:
                try:
                    data = one.recv(100)
                except BlockingIOError:
                    return
                trio.lowlevel.reschedule(waiting.pop(), outcome.Value(data))

            reactor.add(one, ready)
            for number in range(10):
                timer = threading.Timer(0.01, other.send, [b"%d" % number])
                waiting.append(trio.lowlevel.current_task())
                timer.start()
                got = await trio.lowlevel.wait_task_rescheduled(lambda _: trio.lowlevel.Abort.FAILED)
                assert got == b"%d" % number
                await trio.to_thread.run_sync(timer.join)
            reactor.close(one)

    run(limited(main))


def test_trios_own_sockets_work_beside_the_reactors(run: Run) -> None:
    async def main(reactor: Reactor) -> None:
        (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
        async with listener, trio.open_nursery() as nursery:
            stream = await trio.open_tcp_stream("127.0.0.1", listener.socket.getsockname()[1])
            nursery.start_soon(stream.send_all, b"hello")
            async with await listener.accept() as accepted, stream:
                assert await accepted.receive_some() == b"hello"

    run(limited(main))


class Waits(trio.abc.Instrument):
    """How long trio would have waited, in seconds, each time."""

    def __init__(self) -> None:
        self.seen: list[float] = []

    def before_io_wait(self, timeout: float) -> None:
        self.seen.append(timeout)


def test_as_a_guest_trio_waits_for_nothing_while_the_reactor_does_not_rest() -> None:
    waits = Waits()

    async def main(reactor: Reactor) -> None:
        with always_busy(reactor):
            while len(waits.seen) < 100 or any(waits.seen[-100:]):
                await trio.sleep(0.01)
        del waits.seen[:]
        while not any(waits.seen):
            await trio.sleep(0.01)

    async def watched(reactor: Reactor) -> None:
        trio.lowlevel.add_instrument(waits)
        await main(reactor)

    run_as_guest(limited(watched))

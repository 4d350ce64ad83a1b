"""Who drives the lane's reactor, which shares the worker's thread with trio: two ways, of the same behaviour.

``run_as_guest``: the reactor waits for everything, and trio is its guest, so that a wake-up of the lane costs no pass
of trio's loop. ``run_with_task``: trio waits for everything, and a task drives the reactor. Called by
``gateway/serve.py``, which says which one is the default, and why.
"""

import math
from collections.abc import Awaitable, Callable
from time import monotonic
from typing import Any

import outcome
import trio

from gateway.lane.reactor import Reactor

LOOK = 0.01
"""Seconds between two looks at how busy the lane is."""
IDLE_SHARE = 0.15
"""Whoever waits for less of its time is busy: then trio waits with the lane, not in a thread."""
PACE = 0.0005
"""Seconds between trio's steps then; one costs 8 µs, as much as a tenth of a request, and turns may be short."""


def run_as_guest(main: Callable[..., Awaitable[object]], *arguments: Any) -> None:
    """Like ``trio.run(main, reactor, *arguments)``, with the reactor as the loop below. What a handler raises ends
    ``main``, and comes out when that has ended."""
    reactor = Reactor()
    anchor = Anchor(reactor)
    scope = trio.CancelScope()
    ended: list[outcome.Outcome[object]] = []
    failure: BaseException | None = None
    trio.lowlevel.start_guest_run(
        _within,
        scope,
        main,
        reactor,
        anchor,
        arguments,
        run_sync_soon_threadsafe=reactor.soon_threadsafe,
        run_sync_soon_not_threadsafe=anchor.soon,
        done_callback=ended.append,
    )
    while not ended:
        try:
            reactor.turn(math.inf)
            anchor.look()
        except BaseException as error:  # noqa: BLE001 (raised below, when nothing of trio's is left)
            failure = failure or error
            scope.cancel()
    reactor.aclose()
    if failure is not None:
        raise failure
    ended[0].unwrap()


async def _within(
    scope: trio.CancelScope,
    main: Callable[..., Awaitable[object]],
    reactor: Reactor,
    anchor: "Anchor",
    arguments: tuple[Any, ...],
) -> None:
    with scope:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(anchor.hold)
            await main(reactor, *arguments)
            nursery.cancel_scope.cancel()


class Anchor:
    """Keeps trio from waiting in a thread of its own while the lane is busy: from there it would have to wait for the
    processor, until the kernel's next tick perhaps, and for the interpreter before it could go on. A task that can
    always go on does that; so that it does not cost much, trio then has its steps ``PACE`` apart, in the middle of a
    turn if need be.

    Tasks were late by 4.4 ms at the 99th percentile without it, by 1.4 to 2.0 with it (64 connections).
    """

    def __init__(self, reactor: Reactor) -> None:
        self._reactor = reactor
        self._needed = trio.Event()
        self._due = 0.0
        self._is_busy = False
        self._looked = reactor.now
        self._waited = 0.0

    def soon(self, step: Callable[[], object]) -> None:
        """Trio's next step."""
        if self._is_busy:
            self._due = max(monotonic(), self._due + PACE)
            self._reactor.call_at(self._due, step)
        else:
            self._reactor.soon(step)

    def look(self) -> None:
        """After a turn: how busy has the lane been?"""
        reactor = self._reactor
        if reactor.now - self._looked < LOOK:
            return
        self._is_busy = reactor.waited - self._waited < IDLE_SHARE * (reactor.now - self._looked)
        self._looked, self._waited = reactor.now, reactor.waited
        if self._is_busy:
            self._needed.set()

    async def hold(self) -> None:
        """For ever."""
        while True:
            await self._needed.wait()
            while self._is_busy:
                await trio.lowlevel.checkpoint()
            self._needed = trio.Event()


def run_with_task(main: Callable[..., Awaitable[object]], *arguments: Any) -> None:
    """The same, with the reactor driven by a task; what is raised comes out in a group."""
    trio.run(_beside_drive, main, arguments)


async def _beside_drive(main: Callable[..., Awaitable[object]], arguments: tuple[Any, ...]) -> None:
    reactor = Reactor()
    try:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(drive, reactor)
            await main(reactor, *arguments)
            nursery.cancel_scope.cancel()
    finally:
        reactor.aclose()


async def drive(reactor: Reactor) -> None:
    """From a task of trio's, until cancelled."""
    while True:
        with trio.move_on_after(reactor.patience):
            await trio.lowlevel.wait_readable(reactor.fileno())
        while reactor.turn() or not reactor.patience:
            await trio.lowlevel.checkpoint()

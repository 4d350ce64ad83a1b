"""Who drives the lane's reactor, which shares the worker's thread with trio: two ways, of the same behaviour.

``run_as_guest``: the reactor waits for everything, and trio is its guest, so that a wake-up of the lane costs no pass
of trio's loop. ``run_with_task``: trio waits for everything, and a task drives the reactor. Called by
``gateway/serve.py``, which says which one is the default, and why.
"""

from collections.abc import Awaitable, Callable
from typing import Any

import outcome
import trio

from gateway.lane.reactor import Reactor


def run_as_guest(main: Callable[..., Awaitable[object]], *arguments: Any) -> None:
    """Like ``trio.run(main, reactor, *arguments)``, with the reactor as the loop below. What a handler raises ends
    ``main``, and comes out when that has ended."""
    reactor = Reactor()
    scope = trio.CancelScope()
    ended: list[outcome.Outcome[object]] = []
    failure: BaseException | None = None
    trio.lowlevel.start_guest_run(
        _within,
        scope,
        main,
        reactor,
        arguments,
        run_sync_soon_threadsafe=reactor.soon_threadsafe,
        run_sync_soon_not_threadsafe=reactor.soon,
        done_callback=ended.append,
    )
    while not ended:
        try:
            reactor.turn(timeout=None)
        except BaseException as error:  # noqa: BLE001 (raised below, when nothing of trio's is left)
            failure = failure or error
            scope.cancel()
    reactor.aclose()
    if failure is not None:
        raise failure
    ended[0].unwrap()


async def _within(
    scope: trio.CancelScope, main: Callable[..., Awaitable[object]], reactor: Reactor, arguments: tuple[Any, ...]
) -> None:
    with scope:
        await main(reactor, *arguments)


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

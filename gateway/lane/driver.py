"""Who drives the lane's reactor: a trio task, which shares the thread with everything else of the worker.

The task does a bounded turn and lets the others have theirs; between turns it waits for the reactor's epoll.
Called by ``gateway/serve.py``.
"""

import trio

from gateway.lane.lane import Lane
from gateway.lane.wheel import TICK


async def drive(lane: Lane) -> None:
    """Until cancelled."""
    reactor = lane.reactor
    while True:
        await trio.lowlevel.wait_readable(reactor.fileno())
        while reactor.turn() or reactor.has_more:
            await trio.lowlevel.checkpoint()


async def tick(lane: Lane) -> None:
    """Time limits, until cancelled."""
    while True:
        await trio.sleep(TICK)
        lane.tick()

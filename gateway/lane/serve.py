"""The lane as a worker runs it: made, served, drained. Needs epoll; elsewhere ``gateway/stock.py`` serves.

Called by ``gateway/serve.py``.
"""

import socket
import ssl
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import trio
from hypercorn.config import Config

from gateway.lane.handover import Hypercorn
from gateway.lane.lane import Lane
from gateway.lane.reactor import Reactor
from gateway.lane.wheel import TICK
from gateway.leases import LeaseBook
from gateway.routing import ROUTES, Route
from protocol.catalogue import Catalogue
from protocol.messages import Outcome

BACKLOG = 1024


async def serve_lane(
    app: Any,
    reactor: Reactor,
    listener: socket.socket,
    leases: LeaseBook,
    config: Config,
    *,
    catalogue_now: Callable[[], Catalogue],
    report: Callable[[Outcome], None],
    wait_drain: Callable[[], Awaitable[float]],
    routes: Mapping[str, Route] | None = None,
    tls: ssl.SSLContext | None = None,
) -> None:
    """Until ``wait_drain`` returns, and then for as many seconds as it returned, or until all answers have ended.

    ``routes``: what the lane takes; all inference routes unless it is given. ``tls``: what clients must speak, as
    ``tls_context`` makes it of ``config``.
    """
    hypercorn = Hypercorn(app, config)
    emptied = trio.Event()
    async with trio.open_nursery() as nursery:
        await nursery.start(hypercorn.run)
        listener.listen(BACKLOG)
        lane = Lane(
            reactor,
            listener,
            leases,
            catalogue_now=catalogue_now,
            report=report,
            hand=hypercorn.hand,
            emptied=emptied.set,
            routes=ROUTES if routes is None else routes,
            tls=tls,
        )
        nursery.start_soon(tick, lane)
        grace = await wait_drain()
        lane.drain()
        await hypercorn.drain()
        with trio.move_on_after(grace):
            await emptied.wait()
        lane.abort()
        nursery.cancel_scope.cancel()
    lane.aclose()


async def tick(lane: Lane) -> None:
    """Time limits, until cancelled; what the log has kept then is written."""
    try:
        while True:
            await trio.sleep(TICK)
            lane.tick()
    finally:
        lane.aclose()

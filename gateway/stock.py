"""hypercorn's own server, for systems without epoll: every request takes the way over ASGI, and TLS is hypercorn's.

Called by ``gateway/serve.py`` where the lane cannot be.
"""

import socket
from collections.abc import Awaitable, Callable
from typing import Any

import trio
from hypercorn.config import Config
from hypercorn.trio import serve as hypercorn_serve

from gateway.leases import LeaseBook

SWEEP_EVERY = 0.25


async def serve_stock(
    app: Any, listener: socket.socket, leases: LeaseBook, config: Config, *, wait_drain: Callable[[], Awaitable[float]]
) -> None:
    """Until ``wait_drain`` returns, and then for as many seconds as it returned, or until all answers have ended."""
    config.bind = [f"fd://{listener.fileno()}"]
    config.backlog = 1024  # it calls listen again on the inherited socket

    async def drained() -> None:
        config.graceful_timeout = await wait_drain()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(_sweep, leases)
        await hypercorn_serve(app, config, shutdown_trigger=drained, mode="asgi")
        nursery.cancel_scope.cancel()


async def _sweep(leases: LeaseBook) -> None:
    while True:
        await trio.sleep(SWEEP_EVERY)
        leases.sweep()

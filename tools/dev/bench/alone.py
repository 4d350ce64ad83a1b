"""The lane without a supervisor, for ``instructions.py``: ``python -m tools.dev.bench.alone UPSTREAM [CERT KEY]``.

Leases are granted at once; everything else is as in a worker, with keys, limits, outcomes and the access log. Says
where it listens, and at SIGTERM how many exchanges there were.
"""

import hashlib
import itertools
import logging
import math
import signal
import socket
import sys
from typing import Any

import msgspec
import trio

from gateway.lane import driver
from gateway.lane import reactor as turns
from gateway.lane.handover import tls_context
from gateway.lane.reactor import Reactor
from gateway.lane.serve import serve_lane
from gateway.leases import LeaseBook
from gateway.serve import Certificate, hypercorn_config
from protocol.catalogue import Catalogue, CatalogueModel
from protocol.ids import CallId, LeaseId, ModelId
from protocol.lease_calls import LeaseDone
from protocol.messages import FromWorker, Granted, Report
from protocol.reports import Reports
from tools.dev.bench.load import KEY, MODEL

LISTENING = "listening "
EXCHANGES = "exchanges "
KEYS = ("sk-other-1", "sk-other-2", KEY)


class Granting:
    """Grants every lease soon."""

    def __init__(self, upstream: str) -> None:
        self._upstream = upstream
        self._numbers = itertools.count(1)

    def request_lease(self, name: str, *, done: LeaseDone, **_: Any) -> CallId:
        """As ``LeaseSource`` says."""
        number = next(self._numbers)
        call = CallId(f"alone/{number}")
        granted = Granted(
            call=call,
            lease=LeaseId(f"alone/L{number}"),
            model=ModelId(MODEL),
            generation=1,
            upstream=self._upstream,
            effective_name=name,
            parkable=True,
            revision=1,
        )
        trio.lowlevel.current_trio_token().run_sync_soon(done, granted)
        return call

    def cancel(self, call: CallId) -> None:
        """Its answer is on its way."""

    def release(self, lease: LeaseId, last_used: int | None = None) -> None:
        """Nobody counts them."""


class Counted:
    """Reports are written as for the supervisor, and counted instead of sent."""

    def __init__(self) -> None:
        self.count = 0
        self._encode = msgspec.msgpack.Encoder().encode
        self.reports = Reports(self._send)

    def _send(self, message: FromWorker) -> int:
        self._encode(message)
        assert isinstance(message, Report)
        self.count += message.count
        self.reports.acknowledged(self.count)
        return self.count


async def nothing_else(scope: dict[str, Any], receive: Any, send: Any) -> None:
    """What hypercorn serves: its lifespan alone."""
    assert scope["type"] == "lifespan"
    while True:
        message = await receive()
        await send({"type": f"{message['type']}.complete"})
        if message["type"] == "lifespan.shutdown":
            return


async def serve(reactor: Reactor, upstream: str, *files: str) -> None:
    """Until SIGTERM; with the files of a certificate and its key, TLS."""
    config = hypercorn_config(Certificate(*files) if files else None)
    digests = tuple(hashlib.sha256(key.encode()).digest() for key in KEYS)
    catalogue = Catalogue(revision=1, models=(CatalogueModel(id=ModelId(MODEL)),), key_digests=digests)
    counted = Counted()
    leases = LeaseBook(Granting(upstream))
    leases.adopt(catalogue)

    async def wait_end() -> float:
        with trio.open_signal_receiver(signal.SIGTERM) as signals:
            print(f"{LISTENING}{listener.getsockname()[1]}", flush=True)
            async for _ in signals:
                break
        return 1.0

    with socket.create_server(("127.0.0.1", 0)) as listener:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(counted.reports.run)
            await serve_lane(
                nothing_else,
                reactor,
                listener,
                leases,
                config,
                catalogue_now=lambda: catalogue,
                report=counted.reports.add,
                wait_drain=wait_end,
                tls=tls_context(config),
            )
            nursery.cancel_scope.cancel()
    counted.reports.flush()
    print(f"{EXCHANGES}{counted.count}", flush=True)


if __name__ == "__main__":
    # Under valgrind time goes by fifty times as fast: trio's steps would come between any two requests, and a turn
    # would end with its first event.
    driver.IDLE_SHARE = -math.inf
    turns.TURN = math.inf
    logging.basicConfig(level=logging.INFO)
    logging.getLogger("swapyard.http").setLevel(logging.WARNING)
    driver.run_as_guest(serve, *sys.argv[1:])

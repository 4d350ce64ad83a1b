"""One gateway worker: the link to the supervisor, the lane with hypercorn behind it, and an orderly end.

Ends when told to drain, when its lifeline breaks (the supervisor is gone), or when the conversation fails.
Called by ``__main__.py``; its nursery tree is the whole worker.
"""

import logging
import select
import socket
import ssl
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import trio
from hypercorn.config import Config

from gateway.app import Draining, make_app
from gateway.asgi import Dispatch
from gateway.lane.handover import tls_context
from gateway.leases import LeaseBook
from gateway.relay import Relay
from protocol.errors import ConversationEnded, PeerError
from protocol.worker_link import WorkerLink

if TYPE_CHECKING:
    from gateway.lane.reactor import Reactor

log = logging.getLogger("swapyard.worker")

KEEP_ALIVE = 75.0
"""Seconds that an idle client connection stays open."""
HEAD_LIMIT = 64 * 1024
DRIVERS = ("guest", "task")
"""Who drives the lane. The guest is the default, by measurement of whole swapyards under load (CPU µs of everything
for a request or chunk, medians, guest / task): 1 connection 105 / 136, 16 connections 75 / 78, 64 streams of 50
chunks/s 65 / 109, 256 of them 33 / 61. ``SWAPYARD_LANE_DRIVER=task`` is for measuring the other one."""


@dataclass(frozen=True, slots=True)
class Certificate:
    """Files in PEM format: the certificate with those that certify it, and its key."""

    cert_file: str
    key_file: str


@dataclass(frozen=True, slots=True)
class Place:
    """What the supervisor gave this worker: its slot, descriptors and addresses, and what makes it speak TLS."""

    slot: int
    fd: int
    workers_endpoint: str
    events_endpoint: str
    lifeline: int
    certificate: Certificate | None = None


@dataclass(frozen=True, slots=True)
class Http:
    """How this worker serves: hypercorn's settings, and the context of TLS that they make, if any."""

    config: Config
    tls: ssl.SSLContext | None


class Drain:
    """That this worker shall end, and how many seconds its answers have left."""

    def __init__(self) -> None:
        self._asked = trio.Event()
        self._grace = 0.0

    def ask(self, grace: float) -> None:
        """End within ``grace`` seconds."""
        self._grace = grace
        self._asked.set()

    async def wait_asked(self) -> float:
        """Until it is asked for."""
        await self._asked.wait()
        return self._grace


async def run_worker(reactor: "Reactor | None", place: Place, http: Http) -> None:
    """The whole life of a worker. ``reactor``: driven by the caller; None: there is no epoll here."""
    draining, drain = Draining(), Drain()
    # The link tells the book, and the book asks the link: each call below comes when both are there.

    def on_drain(deadline_in: float) -> None:
        draining.now = True
        leases.drain()
        drain.ask(deadline_in)

    link = WorkerLink(
        place.workers_endpoint,
        slot=place.slot,
        on_cut=lambda lease: leases.cut(lease),  # noqa: PLW0108 (made below)
        on_drain=on_drain,
        on_recall=lambda recall: leases.recall(recall),  # noqa: PLW0108 (made below)
        on_catalogue=lambda catalogue: leases.adopt(catalogue),  # noqa: PLW0108 (made below)
    )
    leases = LeaseBook(link)
    relay = Relay(link, leases)
    app = make_app(link, relay, place.events_endpoint, draining)
    app.asgi_app = Dispatch(relay, app.asgi_app)  # type: ignore[method-assign, assignment]
    async with trio.open_nursery() as nursery:
        nursery.start_soon(_end_with_lifeline, place.lifeline, nursery.cancel_scope)
        await nursery.start(_converse, link)
        nursery.start_soon(_follow_log_level, link)
        with socket.socket(fileno=place.fd) as listener:
            await _serve(app, reactor, listener, link, leases, http=http, wait_drain=drain.wait_asked)
        await relay.aclose()
        nursery.cancel_scope.cancel()


async def _serve(
    app: Any,
    reactor: "Reactor | None",
    listener: socket.socket,
    link: WorkerLink,
    leases: LeaseBook,
    *,
    http: Http,
    wait_drain: Callable[[], Awaitable[float]],
) -> None:
    if reactor is None:
        from gateway.stock import serve_stock

        await serve_stock(app, listener, leases, http.config, wait_drain=wait_drain)
        return
    from gateway.lane.serve import serve_lane

    await serve_lane(
        app,
        reactor,
        listener,
        leases,
        http.config,
        catalogue_now=lambda: link.catalogue,
        report=link.report,
        wait_drain=wait_drain,
        tls=http.tls,
    )


async def _converse(link: WorkerLink, *, task_status: trio.TaskStatus[None]) -> None:
    await link.run(task_status=task_status)


async def _follow_log_level(link: WorkerLink) -> None:
    """As the catalogue says, now and after each reload."""
    while True:
        logging.getLogger().setLevel(link.catalogue.log_level.upper())
        await link.wait_revision(link.catalogue.revision + 1)


async def _end_with_lifeline(lifeline: int, scope: trio.CancelScope) -> None:
    """Without a supervisor there is nothing to do here: it takes a moment to notice, and none to end."""
    async with trio.lowlevel.FdStream(lifeline) as pipe:
        while await pipe.receive_some(64):
            pass
    log.warning("the supervisor has gone; this worker ends")
    scope.cancel()


def hypercorn_config(certificate: Certificate | None = None) -> Config:
    """hypercorn's defaults are for other programs: see each line."""
    config = Config()
    config.keep_alive_timeout = KEEP_ALIVE  # where the lane does not look: HTTP/2 and WebSockets
    config.keep_alive_max_requests = 2**31  # clients keep a connection for days
    config.h11_max_incomplete_size = HEAD_LIMIT  # of a head; bodies have a limit of their own
    config.include_server_header = False
    config.include_date_header = False
    config.accesslog = None  # ours is in asgi.py
    config.errorlog = logging.getLogger("swapyard.http")
    config.loglevel = "WARNING"
    if certificate is not None:
        config.certfile = certificate.cert_file
        config.keyfile = certificate.key_file
        config.keyfile_password = ""  # an error for an encrypted key: without one OpenSSL asks the terminal
    return config


def run(place: Place, driver: str = "guest") -> int:
    """Run a worker to its end; the exit status. ``driver``: one of ``DRIVERS``."""
    config = hypercorn_config(place.certificate)
    try:
        http = Http(config, tls_context(config))
    except OSError as error:
        log.error("%s and %s cannot be used for TLS: %s", config.certfile, config.keyfile, error)  # noqa: TRY400 (a line says it)
        return 1
    status = 0
    try:
        if hasattr(select, "epoll"):
            from gateway.lane.driver import run_as_guest, run_with_task

            (run_as_guest if driver == "guest" else run_with_task)(run_worker, place, http)
        else:
            trio.run(run_worker, None, place, http)
    except* (ConversationEnded, PeerError) as group:
        log.error("%s", _first(group))  # noqa: TRY400 (a line says it)
        status = 1
    return status


def _first(group: BaseExceptionGroup[Any]) -> BaseException:
    found: BaseException = group
    while isinstance(found, BaseExceptionGroup):
        found = found.exceptions[0]
    return found

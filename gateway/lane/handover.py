"""hypercorn's side of a connection: everything that we rely on of hypercorn's inside is in this file.

A connection of the lane looks to hypercorn like a trio stream that brings one request after the other; the lane
learns through ``protocol_send`` when a request has been answered. Relied on (a test fails when a version changes
it): ``TCPServer(app, config, context, state, stream)`` and its ``run``, which reads through
``stream.receive_some`` and writes through ``send_all``, ``send_eof`` and ``aclose``; ``stream.socket`` for
addresses; ``protocol_send(event)`` with ``Updated(idle=True)`` behind each complete answer and ``Closed``;
``idle_task`` with ``restart`` and ``stop``; ``Lifespan``, ``WorkerContext``, ``wrap_app``. Of TLS:
``Config.create_ssl_context`` (TLS 1.2 and newer, its ciphers, ALPN with h2 and http/1.1); a stream is one of TLS, and
its requests have the scheme https, if it has ``do_handshake``, ``selected_alpn_protocol`` and
``transport_stream.socket``; one that agreed on h2 is HTTP/2 from the first byte on.
"""

import ssl
from collections import deque
from typing import TYPE_CHECKING, Any

import outcome
import trio
from hypercorn.config import Config
from hypercorn.events import Closed, Event, Updated
from hypercorn.trio.lifespan import Lifespan
from hypercorn.trio.tcp_server import TCPServer
from hypercorn.trio.worker_context import TrioSingleTask, WorkerContext
from hypercorn.typing import ConnectionState
from hypercorn.utils import wrap_app

if TYPE_CHECKING:
    from gateway.lane.client import Client


class HandedStream:
    """What hypercorn takes for its socket. ``waiting``: bytes that it has not read; ``complete``: all of a request
    has been given to it; ``for_good``: everything on this connection is its own."""

    def __init__(self, client: "Client", *, for_good: bool) -> None:
        self._client = client
        self._inbox: deque[bytes] = deque()
        self._ended = False
        self._reader: trio.lowlevel.Task | None = None
        self.waiting = 0
        self.complete = False
        self.for_good = for_good
        self.closed = False

    # ------------------------------------------------------------ the lane's side

    def push(self, data: bytes) -> None:
        """More for hypercorn to read."""
        self._inbox.append(data)
        self.waiting += len(data)
        self._wake()

    def push_end(self) -> None:
        """The client has left."""
        self._ended = True
        self._wake()

    def _wake(self) -> None:
        reader, self._reader = self._reader, None
        if reader is not None:
            trio.lowlevel.reschedule(reader, outcome.Value(None))

    def answered(self) -> None:
        """hypercorn has no more to say to the request that it got."""
        self._client.handed_over()

    # ------------------------------------------------------------ hypercorn's side

    @property
    def socket(self) -> Any:
        """For the addresses of both ends."""
        return self._client.sock

    async def receive_some(self, _: int) -> bytes:
        """The next piece; b"" when the client has left."""
        await trio.lowlevel.checkpoint()
        while not self._inbox:
            if self._ended or self.closed:
                return b""
            self._reader = trio.lowlevel.current_task()

            def abort(_: trio.lowlevel.RaiseCancelT) -> trio.lowlevel.Abort:
                self._reader = None
                return trio.lowlevel.Abort.SUCCEEDED

            await trio.lowlevel.wait_task_rescheduled(abort)
        piece = self._inbox.popleft()
        self.waiting -= len(piece)
        self._client.read_on()
        return piece

    async def send_all(self, data: bytes) -> None:
        """Sent, or kept by a client that will take it; ``BrokenResourceError`` if there is none."""
        if self._ended or self.closed:
            raise trio.BrokenResourceError
        if self._client.send(data):
            await trio.lowlevel.checkpoint()
            return
        sent = trio.Event()
        self._client.when_sent(sent.set)
        await sent.wait()
        if self._ended:
            raise trio.BrokenResourceError

    async def send_eof(self) -> None:
        """Nothing more to say; ``aclose`` follows."""
        await trio.lowlevel.checkpoint()

    async def aclose(self) -> None:
        """hypercorn ends the connection."""
        if not self.closed:
            self.closed = True
            self._client.close_when_sent()
            self._wake()
        await trio.lowlevel.checkpoint()


class HandedTlsStream(HandedStream):
    """The same of a connection with TLS, which the lane has undone: nothing is left to do."""

    async def do_handshake(self) -> None:
        """It was done."""
        await trio.lowlevel.checkpoint()

    def selected_alpn_protocol(self) -> str | None:
        """What the client agreed on."""
        return self._client.alpn

    @property
    def transport_stream(self) -> HandedStream:
        """What has a ``socket``."""
        return self


def tls_context(config: Config) -> ssl.SSLContext | None:
    """Of hypercorn's making, with the files of ``config``, read now; None if it names none. ``OSError`` (``SSLError``
    too) if they cannot be used."""
    context: ssl.SSLContext | None = config.create_ssl_context()
    if context is not None:
        context.options |= ssl.OP_NO_RENEGOTIATION  # a client of TLS 1.2 could have us sign as often as it likes
    return context


class _IdleTask(TrioSingleTask):
    """hypercorn's own time limit only where the lane has none."""

    def __init__(self, stream: HandedStream) -> None:
        super().__init__()
        self._stream = stream

    async def restart(self, task_group: Any, action: Any) -> None:
        """As in ``TrioSingleTask``."""
        if self._stream.for_good:
            await super().restart(task_group, action)


class _Server(TCPServer):
    """hypercorn's connection, which tells when a request has been answered."""

    stream: Any

    def __init__(self, app: Any, config: Config, context: WorkerContext, state: Any, stream: HandedStream) -> None:
        super().__init__(app, config, context, state, stream)  # type: ignore[arg-type]  # it looks like one
        self._handed = stream
        self.idle_task = _IdleTask(stream)

    async def protocol_send(self, event: Event) -> None:
        """Before the first ``await``: hypercorn may call this from a task that is being cancelled."""
        if isinstance(event, Updated) and event.idle:
            self._handed.answered()
        elif isinstance(event, Closed):
            with trio.CancelScope(shield=True):
                await self._handed.aclose()
        await super().protocol_send(event)


class Hypercorn:
    """Serves handed streams with an application, as hypercorn's own server would."""

    def __init__(self, app: Any, config: Config) -> None:
        self._app = wrap_app(app, config.wsgi_max_body_size, "asgi")
        self._config = config
        self._context = WorkerContext(None)
        self._state: Any = {}
        self._nursery: trio.Nursery | None = None

    def hand(self, stream: HandedStream) -> None:
        """Serve this stream from now on."""
        assert self._nursery is not None
        server = _Server(self._app, self._config, self._context, ConnectionState(dict(self._state)), stream)
        self._nursery.start_soon(server.run)

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """The application's lifespan, with connections in it; ends after ``drain`` when all have ended."""
        lifespan = Lifespan(self._app, self._config, self._state)
        async with trio.open_nursery() as nursery:
            await nursery.start(lifespan.handle_lifespan)
            await lifespan.wait_for_startup()
            async with trio.open_nursery() as self._nursery:
                task_status.started()
                await self._context.terminated.wait()
            await lifespan.wait_for_shutdown()
            nursery.cancel_scope.cancel()

    async def drain(self) -> None:
        """No further request is expected."""
        await self._context.terminated.set()

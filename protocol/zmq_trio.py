"""ZeroMQ sockets on trio. The one file that imports zmq.

A ZeroMQ descriptor is edge-triggered, and any operation, a send too, may eat the edge. So one pump task
(``run``) waits on it and nobody else; it drains until nothing is left, a bounded number of messages a turn;
and every send looks at the socket's events afterwards and wakes the pump if something has come.
Sends never block: high-water marks are off, and who sends bounds what is outstanding.
"""

from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Self

import trio
import zmq  # noqa: TID251 (this is the one file)

from protocol.errors import LocalProtocolError, PeerGone

MOST_BYTES = 16 * 1024 * 1024
_TURN = 256

Frames = list[bytes]


class Socket:
    """One ZeroMQ socket. Use as a context manager; ``run`` delivers what arrives."""

    def __init__(self, kind: int) -> None:
        self._context: zmq.Context[zmq.Socket[bytes]] = zmq.Context.instance()
        self._zmq = self._context.socket(kind)
        self._zmq.setsockopt(zmq.LINGER, 0)
        self._zmq.setsockopt(zmq.MAXMSGSIZE, MOST_BYTES)
        self._zmq.setsockopt(zmq.SNDHWM, 0)
        self._zmq.setsockopt(zmq.RCVHWM, 0)
        self._parked: trio.CancelScope | None = None
        self._again = False

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Drop everything that has not been sent."""
        self._zmq.close(linger=0)

    def bind(self, endpoint: str) -> None:
        """Listen; the caller holds the lock of the runtime directory, because a second bind would steal it."""
        try:
            self._zmq.bind(endpoint)
        except zmq.ZMQError as error:
            raise LocalProtocolError(f"cannot listen on {endpoint}: {error.strerror}") from None

    def connect(self, endpoint: str) -> None:
        """Connect, now or whenever somebody listens there."""
        self._zmq.connect(endpoint)

    def send(self, frames: Sequence[bytes]) -> None:
        """Send one message at once; ``PeerGone`` if it is addressed to nobody we know."""
        try:
            self._zmq.send_multipart(frames, zmq.NOBLOCK)
        except zmq.ZMQError as error:
            if error.errno in (zmq.EHOSTUNREACH, zmq.EAGAIN):
                raise PeerGone(str(error)) from None
            raise
        finally:
            if not self._zmq.closed and self._has_input():
                self._wake()

    def _has_input(self) -> bool:
        return bool(int(self._zmq.getsockopt(zmq.EVENTS)) & zmq.POLLIN)

    def _wake(self) -> None:
        self._again = True
        if self._parked is not None:
            self._parked.cancel()

    async def run(
        self, handle: Callable[[Frames], None], *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED
    ) -> None:
        """The pump: ``handle`` each message, in order, for ever."""
        task_status.started()
        fd = int(self._zmq.getsockopt(zmq.FD))
        while True:
            self._again = False
            if self._drain(handle):
                await trio.lowlevel.checkpoint()
                continue
            if self._again:
                continue
            with trio.CancelScope() as self._parked:
                await trio.lowlevel.wait_readable(fd)
            self._parked = None

    def _drain(self, handle: Callable[[Frames], None]) -> bool:
        """Deliver up to one turn's messages; True if there may be more."""
        for _ in range(_TURN):
            try:
                frames = self._zmq.recv_multipart(zmq.NOBLOCK)
            except zmq.Again:
                return False
            handle(frames)
        return True


def router() -> Socket:
    """Many peers by identity; a send to an unknown one is an error instead of silence."""
    made = Socket(zmq.ROUTER)
    made._zmq.setsockopt(zmq.ROUTER_MANDATORY, 1)  # noqa: SLF001 (same file)
    return made


def dealer(identity: bytes) -> Socket:
    """One peer, under this identity."""
    made = Socket(zmq.DEALER)
    made._zmq.setsockopt(zmq.IDENTITY, identity)  # noqa: SLF001 (same file)
    return made


def publisher(high_water: int) -> Socket:
    """Publishes to who subscribed; drops for a follower that is ``high_water`` messages behind.

    ``run`` delivers each subscription, as one frame: ``b"\x01"`` and the topic (``b"\x00"`` when it ends).
    """
    made = Socket(zmq.XPUB)
    made._zmq.setsockopt(zmq.SNDHWM, high_water)  # noqa: SLF001 (same file)
    made._zmq.setsockopt(zmq.XPUB_VERBOSE, 1)  # noqa: SLF001 (same file)
    return made


def subscriber(topics: Sequence[bytes], high_water: int) -> Socket:
    """Follows these topics (prefixes)."""
    made = Socket(zmq.SUB)
    made._zmq.setsockopt(zmq.RCVHWM, high_water)  # noqa: SLF001 (same file)
    for topic in topics:
        made._zmq.setsockopt(zmq.SUBSCRIBE, topic)  # noqa: SLF001 (same file)
    return made

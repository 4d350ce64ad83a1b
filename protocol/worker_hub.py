"""The supervisor's end of the worker socket: who is connected, what arrives in order, what is outstanding.

Knows nothing of models. Messages are numbered each way and acknowledged with every frame; a gap, a peer that
does not read, or one that falls silent is a *fault*, which is reported and judged elsewhere: a worker is lost
when its process has exited, never sooner. Mirror: ``worker_link.py``; owner: ``supervisor/app.py``.
"""

import logging
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

import trio

from protocol import messages as wire
from protocol.catalogue import Catalogue
from protocol.codec import FrameCodec
from protocol.errors import PeerError, PeerGone
from protocol.ids import CallId, LeaseId, WorkerId, instance_of
from protocol.zmq_trio import Frames, Socket, router

log = logging.getLogger("swapyard.workers")

MOST_UNACKNOWLEDGED = 10_000
"""Messages that a peer may leave unread before it counts as hanging."""
BEAT_EVERY = 1.0
SILENT_AFTER = 30.0
"""Seconds of the supervisor's own running time without a sign of life."""


@dataclass(slots=True)
class Peer:
    """One worker that said a good ``Hello``."""

    worker: WorkerId
    pid: int
    received: int
    sent: int = 0
    acknowledged: int = 0
    silent_for: float = 0.0
    faulty: bool = False


class WorkerHub:
    """All callbacks run on the trio thread and must not block."""

    def __init__(
        self,
        endpoint: str,
        instance: str,
        *,
        welcome: Callable[[], Catalogue],
        on_message: Callable[[WorkerId, wire.FromWorker], None],
        on_hello: Callable[[WorkerId, int, int], None],
        on_fault: Callable[[WorkerId, int, str], None],
        make_socket: Callable[[], Socket] = router,
    ) -> None:
        self._endpoint = endpoint
        self._instance = instance
        self._welcome = welcome
        self._on_message = on_message
        self._on_hello = on_hello
        self._on_fault = on_fault
        self._codec: FrameCodec[wire.FromWorker] = FrameCodec(wire.FromWorker)
        self._peers: dict[WorkerId, Peer] = {}
        self._socket = make_socket()
        self.counts: Counter[str] = Counter()
        """What was dropped, by reason."""

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Serve until cancelled."""
        with self._socket:
            self._socket.bind(self._endpoint)
            async with trio.open_nursery() as nursery:
                await nursery.start(lambda task_status: self._socket.run(self._arrived, task_status=task_status))
                nursery.start_soon(self._beat)
                task_status.started()

    def send(self, worker: WorkerId, message: wire.FromSupervisor) -> None:
        """Send to a worker; to one that is gone, nothing happens (its leases end with its process)."""
        peer = self._peers.get(worker)
        if peer is None:
            self.counts["to_nobody"] += 1
            return
        if peer.sent - peer.acknowledged >= MOST_UNACKNOWLEDGED:
            if not isinstance(message, wire.Progress):
                self._fault(peer, f"has not read {MOST_UNACKNOWLEDGED} messages")
            self.counts["not_read"] += 1
            return
        peer.sent += 1
        self._put(peer.worker, self._codec.encode(peer.sent, peer.received, message))

    def broadcast(self, message: wire.FromSupervisor) -> None:
        """Send to every worker that has said ``Hello``."""
        for worker in list(self._peers):
            self.send(worker, message)

    @property
    def workers(self) -> tuple[WorkerId, ...]:
        """Those that have said ``Hello`` and have not exited."""
        return tuple(self._peers)

    def received(self, worker: WorkerId) -> int:
        """How many messages of a worker have arrived."""
        peer = self._peers.get(worker)
        return peer.received if peer is not None else 0

    def forget(self, worker: WorkerId) -> None:
        """Its process has exited."""
        self._peers.pop(worker, None)

    def statistics(self) -> dict[str, int]:
        """Peers, and what was dropped."""
        return {"peers": len(self._peers), **self.counts}

    def _put(self, worker: WorkerId, frame: bytes) -> None:
        try:
            self._socket.send([worker.encode(), frame])
        except PeerGone:
            self.counts["to_nobody"] += 1

    def _arrived(self, frames: Frames) -> None:
        try:
            self._take(WorkerId(frames[0].decode()), frames[-1])
        except (PeerError, UnicodeDecodeError) as error:
            self.counts["malformed"] += 1
            log.warning("dropped a frame of %r: %s", frames[0], error)

    def _take(self, worker: WorkerId, frame: bytes) -> None:
        peer = self._peers.get(worker)
        if peer is None:
            self._greet(worker, frame)
            return
        number, acknowledged = self._codec.header(frame)
        peer.silent_for = 0.0
        peer.acknowledged = max(peer.acknowledged, min(acknowledged, peer.sent))
        if number != peer.received + 1:
            self._fault(peer, f"message {number} came after {peer.received}")
            return
        peer.received = number
        _, _, message = self._codec.decode(frame)
        if self._foreign(message):
            self.counts["foreign"] += 1
        elif not isinstance(message, wire.Beat):
            self._on_message(worker, message)

    def _greet(self, worker: WorkerId, frame: bytes) -> None:
        """Only a ``Hello`` makes a peer; what a worker of a former supervisor had queued is dropped."""
        number, _, message = self._codec.decode(frame)
        if not isinstance(message, wire.Hello):
            self.counts["before_hello"] += 1
            return
        if message.version != wire.VERSION:
            text = f"the supervisor speaks version {wire.VERSION}, this worker {message.version}"
            self._put(worker, self._codec.encode(1, number, wire.Rejected(text=text)))
            return
        self._peers[worker] = Peer(worker, message.pid, received=number)
        self.send(worker, wire.Welcome(instance=self._instance, catalogue=self._welcome()))
        self._on_hello(worker, message.slot, message.pid)

    def _foreign(self, message: wire.FromWorker) -> bool:
        match message:
            case wire.Acquire(call=name) | wire.Cancel(call=name) | wire.Ask(call=name) | wire.Release(lease=name):
                named: CallId | LeaseId = name
                return instance_of(named) != self._instance
            case _:
                return False

    def _fault(self, peer: Peer, why: str) -> None:
        if not peer.faulty:
            peer.faulty = True
            self._on_fault(peer.worker, peer.pid, why)

    async def _beat(self) -> None:
        """Beats to everybody; silence counts only while we ourselves run and have read what there is."""
        while True:
            begun = time.monotonic()
            await trio.sleep(BEAT_EVERY)
            on_time = time.monotonic() - begun < 2 * BEAT_EVERY
            for peer in list(self._peers.values()):
                if on_time:
                    peer.silent_for += BEAT_EVERY
                if peer.silent_for > SILENT_AFTER:
                    self._fault(peer, f"silent for {peer.silent_for:.0f} s")
                else:
                    self.send(peer.worker, wire.Beat())

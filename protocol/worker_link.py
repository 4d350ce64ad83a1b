"""A worker's end of the conversation with the supervisor: leases, reports, questions, the catalogue.

Leases are asked for with a callback (``request_lease``), or with ``acquire`` built on it; cancelling either at
any moment leaves no lease behind. Knows nothing of HTTP. Mirror: ``worker_hub.py``; owner: ``gateway/serve.py``.
"""

import os
import secrets
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

import outcome
import trio

from protocol import messages as wire
from protocol.catalogue import Catalogue
from protocol.codec import FrameCodec
from protocol.control import Reply, Verb
from protocol.errors import ConversationEnded, PeerError, PeerGone
from protocol.ids import CallId, LeaseId, Refusal, WorkerId, call_id
from protocol.lease_calls import LeaseCalls, LeaseDone
from protocol.reports import Reports
from protocol.zmq_trio import Frames, Socket, dealer

T = TypeVar("T")

MOST_CALLS = 10_000
"""Calls that may be open at once; one more is refused."""
BEAT_EVERY = 1.0


class AcquireRefused(Exception):
    """The scheduler gave no lease. ``retry_after`` in seconds."""

    def __init__(self, refusal: Refusal, text: str, retry_after: float | None = None) -> None:
        super().__init__(text)
        self.refusal = refusal
        self.text = text
        self.retry_after = retry_after


async def answer_to(ask: Callable[[Callable[[T], None]], CallId], cancel: Callable[[CallId], object]) -> T:
    """Await what ``ask`` tells its callback, which it must not call before it returns; ``cancel`` if cancelled."""
    task = trio.lowlevel.current_task()
    call = ask(lambda answer: trio.lowlevel.reschedule(task, outcome.Value(answer)))

    def abort(_: trio.lowlevel.RaiseCancelT) -> trio.lowlevel.Abort:
        cancel(call)
        return trio.lowlevel.Abort.SUCCEEDED

    answer: T = await trio.lowlevel.wait_task_rescheduled(abort)
    return answer


class WorkerLink:
    """The callbacks run on the trio thread. ``on_catalogue``: a new one is in force, not yet acknowledged."""

    def __init__(
        self,
        endpoint: str,
        *,
        slot: int,
        on_cut: Callable[[LeaseId], None],
        on_drain: Callable[[float], None],
        on_recall: Callable[[wire.Recall], None],
        on_catalogue: Callable[[Catalogue], None] = lambda _: None,
        make_socket: Callable[[bytes], Socket] = dealer,
    ) -> None:
        self._endpoint = endpoint
        self._slot = slot
        self._on_cut = on_cut
        self._on_drain = on_drain
        self._on_recall = on_recall
        self._on_catalogue = on_catalogue
        self.worker = WorkerId(f"{slot}.{os.getpid()}.{secrets.token_hex(4)}")
        self._socket = make_socket(self.worker.encode())
        self._codec: FrameCodec[wire.FromSupervisor] = FrameCodec(wire.FromSupervisor)
        self._sent = 0
        self._received = 0
        self._calls = 0
        self._leases = LeaseCalls(self._send, self.release)
        self._questions: dict[CallId, Callable[[wire.Answer | None], None]] = {}
        self._reports = Reports(self._send)
        self._catalogue: Catalogue | None = None
        self._instance = ""
        self._welcomed = trio.Event()
        self._adopted = trio.Event()
        self._ended: str | None = None
        self._over = False

    @property
    def catalogue(self) -> Catalogue:
        """What to answer from; replaced as a whole by a reload."""
        if self._catalogue is None:
            raise ConversationEnded("the supervisor has not sent a catalogue yet")
        return self._catalogue

    @property
    def instance(self) -> str:
        """The supervisor that we talk to."""
        return self._instance

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Say ``Hello``, then serve until cancelled; ``ConversationEnded`` if the supervisor refuses us."""
        with self._socket, self._told_of_the_end():
            self._socket.connect(self._endpoint)
            self._send(wire.Hello(version=wire.VERSION, slot=self._slot, pid=os.getpid()))
            async with trio.open_nursery() as nursery:
                await nursery.start(lambda task_status: self._socket.run(self._arrived, task_status=task_status))
                await self._welcomed.wait()
                if self._ended is not None:
                    raise ConversationEnded(self._ended)
                nursery.start_soon(self._beat)
                nursery.start_soon(self._reports.run)
                task_status.started()

    def request_lease(
        self, name: str, *, caller: str, deadline_in: float | None = None, done: LeaseDone, wants_progress: bool = False
    ) -> CallId:
        """Ask for a lease on the model that ``name`` means; ``done`` gets the answer, on the trio thread.

        Called once, never before this returns, and not after ``cancel``. Raises ``AcquireRefused`` or
        ``ConversationEnded`` if there is no asking; then ``done`` is not called.
        """
        call = self._new_call()
        question = wire.Acquire(
            call=call, name=name, caller=caller, deadline_in=deadline_in, wants_progress=wants_progress
        )
        self._leases.ask(question, done)
        return call

    def cancel(self, call: CallId) -> None:
        """Nobody waits for this lease any more. After the answer it does nothing."""
        self._leases.cancel(call)

    async def acquire(
        self, name: str, *, caller: str, deadline_in: float | None = None, wants_progress: bool = False
    ) -> wire.Granted:
        """Wait for a lease on the model that ``name`` means; ``AcquireRefused`` if there is none."""

        def ask(done: LeaseDone) -> CallId:
            return self.request_lease(
                name, caller=caller, deadline_in=deadline_in, done=done, wants_progress=wants_progress
            )

        match await answer_to(ask, self.cancel):
            case wire.Granted() as granted:
                return granted
            case wire.Refused(refusal=refusal, text=text, retry_after=retry_after):
                raise AcquireRefused(refusal, text, retry_after)
            case None:
                raise ConversationEnded("the conversation ended")

    async def ask(self, verb: Verb) -> Reply:
        """A control question on behalf of an HTTP client."""

        def ask(done: Callable[[wire.Answer | None], None]) -> CallId:
            call = self._new_call()
            self._send(wire.Ask(call=call, verb=verb))
            self._questions[call] = done
            return call

        answer = await answer_to(ask, lambda call: self._questions.pop(call, None))
        if answer is None:
            raise ConversationEnded("the conversation ended")
        return answer.reply

    def release(self, lease: LeaseId, last_used: int | None = None) -> None:
        """A lease ends. ``last_used``: a ``time.monotonic_ns()`` reading; None: now."""
        self._send(wire.Release(lease=lease, last_used=time.monotonic_ns() if last_used is None else last_used))

    def report(self, row: wire.Outcome) -> None:
        """Queue one outcome; it goes out with others, within 250 ms."""
        self._reports.add(row)

    async def wait_revision(self, revision: int) -> None:
        """Until the catalogue is at least this revision."""
        while self.catalogue.revision < revision:
            await self._adopted.wait()

    def statistics(self) -> dict[str, int]:
        """What is open, and how many messages went each way."""
        return {
            "open": len(self._leases) + len(self._questions),
            "rows": len(self._reports),
            "sent": self._sent,
            "received": self._received,
        }

    def _new_call(self) -> CallId:
        if self._over:
            raise ConversationEnded("the conversation ended")
        if len(self._leases) + len(self._questions) >= MOST_CALLS:
            raise AcquireRefused(Refusal.OVERLOADED, f"{MOST_CALLS} requests wait in this worker", 1.0)
        self._calls += 1
        return call_id(self._instance, self.worker, self._calls)

    @contextmanager
    def _told_of_the_end(self) -> Iterator[None]:
        """Whoever waits for an answer learns that none will come."""
        try:
            yield
        finally:
            self._over = True
            self._leases.end()
            while self._questions:
                _, done = self._questions.popitem()
                done(None)

    def _send(self, message: wire.FromWorker) -> int:
        """The message's number. After the end nothing is sent: whatever this worker had ends with its process."""
        if self._over:
            return self._sent
        self._sent += 1
        try:
            self._socket.send([self._codec.encode(self._sent, self._received, message)])
        except PeerGone as error:
            raise ConversationEnded(f"the supervisor does not read: {error}") from None
        return self._sent

    def _arrived(self, frames: Frames) -> None:
        number, acknowledged, message = self._codec.decode(frames[-1])
        if number != self._received + 1:
            raise PeerError(f"message {number} of the supervisor came after {self._received}")
        self._received = number
        self._reports.acknowledged(acknowledged)
        match message:
            case wire.Granted() | wire.Refused():
                self._leases.answered(message, self.catalogue.revision)
            case wire.Answer(call=call):
                done = self._questions.pop(call, None)
                if done is not None:
                    done(message)
            case _:
                self._told(message)

    def _told(self, message: wire.FromSupervisor) -> None:
        """What answers no question."""
        match message:
            case wire.Welcome(instance=instance, catalogue=catalogue):
                self._instance = instance
                self._adopt(catalogue)
                self._welcomed.set()
            case wire.Rejected(text=text):
                self._ended = text
                self._welcomed.set()
            case wire.CatalogueChanged(catalogue=catalogue):
                self._adopt(catalogue)
            case wire.Cut(lease=lease):
                self._on_cut(lease)
            case wire.Drain(deadline_in=deadline_in):
                self._on_drain(deadline_in)
            case wire.Recall():
                self._leases.recalled(message)
                self._on_recall(message)
            case _:
                pass

    def _adopt(self, catalogue: Catalogue) -> None:
        self._catalogue = catalogue
        self._on_catalogue(catalogue)
        self._send(wire.CatalogueAdopted(revision=catalogue.revision))
        self._leases.adopted(catalogue.revision)
        self._adopted.set()
        self._adopted = trio.Event()

    async def _beat(self) -> None:
        while True:
            self._send(wire.Beat())
            await trio.sleep(BEAT_EVERY)

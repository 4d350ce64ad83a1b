"""A worker's end of the conversation with the supervisor: leases, reports, questions, the catalogue.

Cancelling ``acquire`` at any moment leaves no lease behind: a grant that crossed the cancellation is given
back at once. Knows nothing of HTTP. Mirror: ``worker_hub.py``; owner: ``gateway/serve.py``.
"""

import os
import secrets
import time
from collections.abc import Callable

import outcome
import trio

from protocol import messages as wire
from protocol.catalogue import Catalogue
from protocol.codec import FrameCodec
from protocol.control import Reply, Verb
from protocol.errors import ConversationEnded, PeerError, PeerGone
from protocol.ids import CallId, LeaseId, Refusal, WorkerId, call_id
from protocol.zmq_trio import Frames, dealer

MOST_CALLS = 10_000
"""Calls that may be open at once; one more is refused."""
BEAT_EVERY = 1.0
REPORT_WITHIN = 0.25
REPORT_ROWS = 64


class AcquireRefused(Exception):
    """The scheduler gave no lease. ``retry_after`` in seconds."""

    def __init__(self, refusal: Refusal, text: str, retry_after: float | None = None) -> None:
        super().__init__(text)
        self.refusal = refusal
        self.text = text
        self.retry_after = retry_after


class _Waiting:
    """One open call: the task that waits, and where its answer goes."""

    __slots__ = ("answer", "task")

    def __init__(self) -> None:
        self.task: trio.lowlevel.Task | None = None
        self.answer: wire.Granted | wire.Refused | wire.Answer | None = None


class WorkerLink:
    """``on_cut(lease)``, ``on_drain(deadline_in)`` and ``on_recall(message)`` run on the trio thread."""

    def __init__(
        self,
        endpoint: str,
        *,
        slot: int,
        on_cut: Callable[[LeaseId], None],
        on_drain: Callable[[float], None],
        on_recall: Callable[[wire.Recall], None],
    ) -> None:
        self._endpoint = endpoint
        self._slot = slot
        self._on_cut = on_cut
        self._on_drain = on_drain
        self._on_recall = on_recall
        self.worker = WorkerId(f"{slot}.{os.getpid()}.{secrets.token_hex(4)}")
        self._socket = dealer(self.worker.encode())
        self._codec: FrameCodec[wire.FromSupervisor] = FrameCodec(wire.FromSupervisor)
        self._sent = 0
        self._received = 0
        self._calls = 0
        self._open: dict[CallId, _Waiting] = {}
        self._rows: list[wire.Outcome] = []
        self._catalogue: Catalogue | None = None
        self._instance = ""
        self._welcomed = trio.Event()
        self._adopted = trio.Event()
        self._report_due = trio.Event()
        self._ended: str | None = None

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
        with self._socket:
            self._socket.connect(self._endpoint)
            self._send(wire.Hello(version=wire.VERSION, slot=self._slot, pid=os.getpid()))
            async with trio.open_nursery() as nursery:
                await nursery.start(lambda task_status: self._socket.run(self._arrived, task_status=task_status))
                await self._welcomed.wait()
                if self._ended is not None:
                    raise ConversationEnded(self._ended)
                nursery.start_soon(self._beat)
                nursery.start_soon(self._flush_reports)
                task_status.started()

    async def acquire(
        self, name: str, *, caller: str, deadline_in: float | None = None, wants_progress: bool = False
    ) -> wire.Granted:
        """Wait for a lease on the model that ``name`` means; ``AcquireRefused`` if there is none."""
        call = self._new_call()
        self._send(
            wire.Acquire(call=call, name=name, caller=caller, deadline_in=deadline_in, wants_progress=wants_progress)
        )
        match await self._wait(call, cancel=True):
            case wire.Granted() as granted:
                await self._wait_or_release(granted)
                return granted
            case wire.Refused(refusal=refusal, text=text, retry_after=retry_after):
                raise AcquireRefused(refusal, text, retry_after)
            case answer:
                raise PeerError(f"{type(answer).__name__} does not answer Acquire")

    async def _wait_or_release(self, granted: wire.Granted) -> None:
        """The grant may be ahead of the catalogue it was decided under."""
        try:
            await self.wait_revision(granted.revision)
        except trio.Cancelled:
            self.release(granted.lease)
            raise

    async def ask(self, verb: Verb) -> Reply:
        """A control question on behalf of an HTTP client."""
        call = self._new_call()
        self._send(wire.Ask(call=call, verb=verb))
        answer = await self._wait(call, cancel=False)
        if not isinstance(answer, wire.Answer):
            raise PeerError(f"{type(answer).__name__} does not answer Ask")
        return answer.reply

    def release(self, lease: LeaseId) -> None:
        """The exchange has ended, now."""
        self._send(wire.Release(lease=lease, last_used=time.monotonic_ns()))

    def report(self, row: wire.Outcome) -> None:
        """Queue one outcome; it goes out with others, within 250 ms."""
        self._rows.append(row)
        self._report_due.set()
        if len(self._rows) >= REPORT_ROWS:
            self._send_report()

    async def wait_revision(self, revision: int) -> None:
        """Until the catalogue is at least this revision."""
        while self.catalogue.revision < revision:
            await self._adopted.wait()

    def statistics(self) -> dict[str, int]:
        """What is open."""
        return {"open": len(self._open), "rows": len(self._rows)}

    def _new_call(self) -> CallId:
        if len(self._open) >= MOST_CALLS:
            raise AcquireRefused(Refusal.OVERLOADED, f"{MOST_CALLS} requests wait in this worker", 1.0)
        self._calls += 1
        return call_id(self._instance, self.worker, self._calls)

    async def _wait(self, call: CallId, *, cancel: bool) -> wire.Granted | wire.Refused | wire.Answer:
        waiting = self._open[call] = _Waiting()

        def abort(_: trio.lowlevel.RaiseCancelT) -> trio.lowlevel.Abort:
            del self._open[call]
            if cancel:
                self._send(wire.Cancel(call=call))
            return trio.lowlevel.Abort.SUCCEEDED

        waiting.task = trio.lowlevel.current_task()
        await trio.lowlevel.wait_task_rescheduled(abort)
        if waiting.answer is None:
            raise ConversationEnded("the conversation ended")
        return waiting.answer

    def _send(self, message: wire.FromWorker) -> None:
        self._sent += 1
        try:
            self._socket.send([self._codec.encode(self._sent, self._received, message)])
        except PeerGone as error:
            raise ConversationEnded(f"the supervisor does not read: {error}") from None

    def _arrived(self, frames: Frames) -> None:
        number, _, message = self._codec.decode(frames[-1])
        if number != self._received + 1:
            raise PeerError(f"message {number} of the supervisor came after {self._received}")
        self._received = number
        match message:
            case wire.Granted() | wire.Refused() | wire.Answer():
                self._answered(message)
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
                self._on_recall(message)
            case wire.Progress() | wire.Beat():
                pass

    def _adopt(self, catalogue: Catalogue) -> None:
        self._catalogue = catalogue
        self._send(wire.CatalogueAdopted(revision=catalogue.revision))
        self._adopted.set()
        self._adopted = trio.Event()

    def _answered(self, message: wire.Granted | wire.Refused | wire.Answer) -> None:
        waiting = self._open.pop(message.call, None)
        if waiting is not None and waiting.task is not None:
            waiting.answer = message
            trio.lowlevel.reschedule(waiting.task, outcome.Value(None))
        elif isinstance(message, wire.Granted):
            # It crossed our Cancel. The supervisor ends it by the call as well; a lease ends once.
            self.release(message.lease)

    def _send_report(self) -> None:
        rows, self._rows = self._rows, []
        if rows:
            self._send(wire.Report(rows=tuple(rows)))

    async def _flush_reports(self) -> None:
        while True:
            await self._report_due.wait()
            self._report_due = trio.Event()
            await trio.sleep(REPORT_WITHIN)
            self._send_report()

    async def _beat(self) -> None:
        while True:
            self._send(wire.Beat())
            await trio.sleep(BEAT_EVERY)

"""Both ends of both sockets over real ipc: order, cancellation, faults, restarts (design.md section 3)."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import msgspec
import pytest
import trio
import trio.testing

from protocol import messages as wire
from protocol import runtime_dir, worker_hub
from protocol.catalogue import Catalogue
from protocol.codec import FrameCodec
from protocol.control import CONTROL_VERSION, Done, Failed, LogLines, LogsReply, Reply, Status, Unload, Verb, log_topic
from protocol.control_hub import ControlHub
from protocol.control_link import open_control
from protocol.errors import ConversationEnded, LocalProtocolError, PeerError
from protocol.events_link import EventPublisher, Gap, follow_log
from protocol.ids import CallId, ModelId, Refusal, WorkerId, lease_id
from protocol.reports import MOST_ROWS, outcomes
from protocol.worker_hub import WorkerHub
from protocol.worker_link import AcquireRefused, WorkerLink
from protocol.zmq_trio import dealer

LIMIT = 30.0


class Desk:
    """The supervisor's side of a test: grants every call by default, and keeps what it saw."""

    def __init__(self, directory: Path, instance: str = "i") -> None:
        self.seen: list[wire.FromWorker] = []
        self.faults: list[str] = []
        self.leases = 0
        self.grants = True
        self.fault = trio.Event()
        self.arrived = trio.Event()
        self.hub = WorkerHub(
            runtime_dir.endpoint(directory, "workers"),
            instance,
            welcome=lambda: Catalogue(revision=1),
            on_message=self.received,
            on_hello=lambda worker, slot, pid: None,
            on_fault=self.faulty,
        )

    def faulty(self, worker: WorkerId, pid: int, why: str) -> None:
        self.faults.append(why)
        self.fault.set()

    def received(self, worker: WorkerId, message: wire.FromWorker) -> None:
        self.seen.append(message)
        self.arrived.set()
        self.arrived = trio.Event()
        if isinstance(message, wire.Acquire) and self.grants:
            self.grant(worker, message.call)

    def grant(self, worker: WorkerId, call: CallId, revision: int = 1) -> None:
        self.leases += 1
        self.hub.send(
            worker,
            wire.Granted(
                call=call,
                lease=lease_id("i", self.leases),
                model=ModelId("a"),
                generation=1,
                upstream="http://127.0.0.1:1",
                effective_name="a",
                parkable=False,
                revision=revision,
            ),
        )

    async def wait_seen(self, condition: Callable[[wire.FromWorker], bool]) -> wire.FromWorker:
        with trio.fail_after(LIMIT):
            while True:
                for message in self.seen:
                    if condition(message):
                        return message
                await self.arrived.wait()


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    return runtime_dir.prepare(tmp_path / "r")


def make_link(directory: Path, slot: int = 0) -> WorkerLink:
    return WorkerLink(
        runtime_dir.endpoint(directory, "workers"),
        slot=slot,
        on_cut=lambda lease: None,
        on_drain=lambda deadline: None,
        on_recall=lambda recall: None,
    )


@asynccontextmanager
async def conversation(directory: Path) -> AsyncIterator[tuple[Desk, WorkerLink]]:
    desk, link = Desk(directory), make_link(directory)
    async with trio.open_nursery() as nursery:
        await nursery.start(desk.hub.run)
        await nursery.start(link.run)
        yield desk, link
        nursery.cancel_scope.cancel()


async def test_sixty_four_callers_make_two_thousand_round_trips_each_without_a_stall(directory: Path) -> None:
    async with conversation(directory) as (desk, link):

        async def caller() -> None:
            for _ in range(2000):
                granted = await link.acquire("a", caller="x")
                link.release(granted.lease)

        with trio.fail_after(120), trio.CancelScope():
            async with trio.open_nursery() as nursery:
                for _ in range(64):
                    nursery.start_soon(caller)
        assert desk.leases == 64 * 2000
        assert not desk.faults
        assert link.statistics()["open"] == 0


async def test_a_cancelled_callers_late_grant_is_released(directory: Path) -> None:
    async with conversation(directory) as (desk, link):
        desk.grants = False
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_acquire_and_forget, link)
            acquire = await desk.wait_seen(lambda message: isinstance(message, wire.Acquire))
            nursery.cancel_scope.cancel()
        assert isinstance(acquire, wire.Acquire)
        desk.grant(link.worker, acquire.call)
        cancel = await desk.wait_seen(lambda message: isinstance(message, wire.Cancel))
        release = await desk.wait_seen(lambda message: isinstance(message, wire.Release))
        assert isinstance(cancel, wire.Cancel)
        assert cancel.call == acquire.call
        assert isinstance(release, wire.Release)
        assert release.lease == lease_id("i", 1)
        assert link.statistics()["open"] == 0


async def _acquire_and_forget(link: WorkerLink) -> None:
    await link.acquire("a", caller="x")


async def test_a_grant_waits_for_the_catalogue_it_was_decided_under(directory: Path) -> None:
    async with conversation(directory) as (desk, link):
        desk.grants = False
        done = trio.Event()

        async def ask() -> None:
            await link.acquire("a", caller="x")
            assert link.catalogue.revision == 2
            done.set()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(ask)
            acquire = await desk.wait_seen(lambda message: isinstance(message, wire.Acquire))
            assert isinstance(acquire, wire.Acquire)
            desk.grant(link.worker, acquire.call, revision=2)
            desk.hub.send(link.worker, wire.CatalogueChanged(catalogue=Catalogue(revision=2)))
            with trio.fail_after(LIMIT):
                await done.wait()
        await desk.wait_seen(lambda message: message == wire.CatalogueAdopted(revision=2))


async def test_a_refusal_carries_its_reason(directory: Path) -> None:
    async with conversation(directory) as (desk, link):
        desk.grants = False
        async with trio.open_nursery() as nursery:

            async def ask() -> None:
                with pytest.raises(AcquireRefused) as caught:
                    await link.acquire("a", caller="x")
                assert (caught.value.refusal, caught.value.retry_after) == (Refusal.BACKING_OFF, 4.0)

            nursery.start_soon(ask)
            acquire = await desk.wait_seen(lambda message: isinstance(message, wire.Acquire))
            assert isinstance(acquire, wire.Acquire)
            refused = wire.Refused(call=acquire.call, refusal=Refusal.BACKING_OFF, text="no", retry_after=4.0)
            desk.hub.send(link.worker, refused)


async def test_reports_go_out_in_batches(directory: Path) -> None:
    async with conversation(directory) as (desk, link):
        for number in range(MOST_ROWS + 100):
            link.report(wire.Outcome(lease=None, model=None, caller="", path="", status=number))
        last = MOST_ROWS + 99
        await desk.wait_seen(lambda message: isinstance(message, wire.Report) and outcomes(message)[-1].status == last)
        reports = [message for message in desk.seen if isinstance(message, wire.Report)]
        assert [report.count for report in reports] == [MOST_ROWS, 100]


async def test_a_peer_that_stops_reading_is_a_fault(directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(worker_hub, "MOST_UNACKNOWLEDGED", 50)
    desk = Desk(directory)
    hello = FrameCodec[wire.FromSupervisor](wire.FromSupervisor).encode(
        1, 0, wire.Hello(version=wire.VERSION, slot=0, pid=7)
    )
    async with trio.open_nursery() as nursery:
        await nursery.start(desk.hub.run)
        with dealer(b"0.7.x") as silent:
            silent.connect(runtime_dir.endpoint(directory, "workers"))
            silent.send([hello])
            with trio.fail_after(LIMIT):
                while desk.hub.statistics()["peers"] == 0:
                    await trio.sleep(0.01)
            for _ in range(100):
                desk.hub.send(
                    WorkerId("0.7.x"), wire.Progress(call=CallId("i/x/1"), phase="", position=1, estimate=None)
                )
            assert not desk.faults, "progress is dropped, not a fault"
            desk.hub.send(WorkerId("0.7.x"), wire.Beat())
            desk.hub.send(WorkerId("0.7.x"), wire.Beat())
            assert desk.faults == ["has not read 50 messages"]
        nursery.cancel_scope.cancel()


async def test_a_gap_in_the_numbers_is_a_fault(directory: Path) -> None:
    desk = Desk(directory)
    codec: FrameCodec[wire.FromSupervisor] = FrameCodec(wire.FromSupervisor)
    async with trio.open_nursery() as nursery:
        await nursery.start(desk.hub.run)
        with dealer(b"0.7.x") as peer:
            peer.connect(runtime_dir.endpoint(directory, "workers"))
            peer.send([codec.encode(1, 0, wire.Hello(version=wire.VERSION, slot=0, pid=7))])
            peer.send([codec.encode(3, 0, wire.Beat())])
            with trio.fail_after(LIMIT):
                await desk.fault.wait()
        assert desk.faults == ["message 3 came after 1"]
        nursery.cancel_scope.cancel()


async def test_malformed_frames_are_counted_and_end_nothing(directory: Path) -> None:
    async with conversation(directory) as (desk, link):
        with dealer(b"\xff\xfe") as stranger:
            stranger.connect(runtime_dir.endpoint(directory, "workers"))
            for frame in (b"", b"x", bytes(16) + b"\xc1", b"y" * 100):
                stranger.send([frame])
            with trio.fail_after(LIMIT):
                while desk.hub.counts["malformed"] < 4:
                    await trio.sleep(0.01)
        assert (await link.acquire("a", caller="x")).model == "a"


async def test_a_second_peer_with_the_same_identity_changes_nothing_for_the_first(directory: Path) -> None:
    async with conversation(directory) as (desk, link):
        with dealer(link.worker.encode()) as twin:
            twin.connect(runtime_dir.endpoint(directory, "workers"))
            twin.send([FrameCodec(wire.FromSupervisor).encode(1, 0, wire.Hello(version=wire.VERSION, slot=0, pid=7))])
            for _ in range(20):
                assert (await link.acquire("a", caller="x")).model == "a"
        assert not desk.faults


async def test_messages_queued_for_a_former_supervisor_are_dropped_by_the_next(directory: Path) -> None:
    codec: FrameCodec[wire.FromSupervisor] = FrameCodec(wire.FromSupervisor)
    with dealer(b"0.7.x") as survivor:
        survivor.connect(runtime_dir.endpoint(directory, "workers"))
        survivor.send([codec.encode(5, 0, wire.Release(lease=lease_id("old", 1), last_used=1))])
        survivor.send([codec.encode(6, 0, wire.Cancel(call=CallId("old/0.7.x/1")))])
        survivor.send([codec.encode(7, 0, wire.Hello(version=wire.VERSION, slot=0, pid=7))])
        survivor.send([codec.encode(8, 0, wire.Release(lease=lease_id("old", 2), last_used=1))])
        survivor.send([codec.encode(9, 0, wire.CatalogueAdopted(revision=1))])
        desk = Desk(directory, instance="new")
        async with trio.open_nursery() as nursery:
            await nursery.start(desk.hub.run)
            await desk.wait_seen(lambda message: isinstance(message, wire.CatalogueAdopted))
            nursery.cancel_scope.cancel()
    assert desk.seen == [wire.CatalogueAdopted(revision=1)]
    assert (desk.hub.counts["before_hello"], desk.hub.counts["foreign"]) == (2, 1)


async def test_a_worker_of_another_version_is_told_so(directory: Path) -> None:
    desk = Desk(directory)
    codec: FrameCodec[wire.FromSupervisor] = FrameCodec(wire.FromSupervisor)
    said: list[wire.FromSupervisor] = []
    came = trio.Event()

    def arrived(frames: list[bytes]) -> None:
        said.append(codec.decode(frames[-1])[2])
        came.set()

    async with trio.open_nursery() as nursery:
        await nursery.start(desk.hub.run)
        with dealer(b"0.7.x") as stranger:
            stranger.connect(runtime_dir.endpoint(directory, "workers"))
            nursery.start_soon(stranger.run, arrived)
            stranger.send([codec.encode(1, 0, wire.Hello(version=99, slot=0, pid=7))])
            with trio.fail_after(LIMIT):
                await came.wait()
            assert isinstance(said[0], wire.Rejected)
            assert "this worker 99" in said[0].text
            assert desk.hub.statistics()["peers"] == 0
            nursery.cancel_scope.cancel()


async def test_a_control_client_gets_its_replies_and_words_for_what_is_not_understood(directory: Path) -> None:
    held: list[Callable[[Reply], None]] = []

    def asked(verb: Verb, answer: Callable[[Reply], None]) -> None:
        if isinstance(verb, Unload):
            held.append(answer)
        else:
            answer(Done(text=type(verb).__name__))

    hub = ControlHub(runtime_dir.endpoint(directory, "control"), on_question=asked)
    async with trio.open_nursery() as nursery:
        await nursery.start(hub.run)
        async with open_control(directory) as link:
            assert await link.ask(Status()) == Done(text="Status")
            with pytest.raises(ConversationEnded, match="no answer from"):
                await link.ask(Unload(), timeout=0.01)
            with dealer(b"later") as later:
                later.connect(runtime_dir.endpoint(directory, "control"))
                replies: list[bytes] = []
                came = trio.Event()

                def arrived(frames: list[bytes]) -> None:
                    replies.append(frames[-1])
                    came.set()

                nursery.start_soon(later.run, arrived)
                later.send([b"nonsense"])
                later.send(
                    [msgspec.msgpack.encode({"version": CONTROL_VERSION + 1, "call": "x", "verb": {"type": "Sing"}})]
                )
                with trio.fail_after(LIMIT):
                    await came.wait()
                reply = msgspec.msgpack.decode(replies[0])["reply"]
                assert (reply["type"], reply["code"]) == ("Failed", "unknown_verb")
                assert hub.counts["malformed"] == 1
                nursery.cancel_scope.cancel()


async def test_one_client_may_not_have_too_many_open_questions(directory: Path) -> None:
    hub = ControlHub(runtime_dir.endpoint(directory, "control"), on_question=lambda verb, answer: None)
    async with trio.open_nursery() as nursery:
        await nursery.start(hub.run)
        async with open_control(directory) as link, trio.open_nursery() as askers:
            for _ in range(100):
                askers.start_soon(link.ask, Status())
            await trio.testing.wait_all_tasks_blocked(0.01)
            reply = await link.ask(Status())
            assert isinstance(reply, Failed)
            assert reply.code == "busy"
            askers.cancel_scope.cancel()
        nursery.cancel_scope.cancel()


async def test_a_follower_gets_what_was_kept_then_what_comes_each_line_once(directory: Path) -> None:
    model = ModelId("m")
    publisher = EventPublisher(runtime_dir.endpoint(directory, "events"))
    kept = [f"line {number}" for number in range(1, 6)]

    def publish(text: str) -> None:
        kept.append(text)
        publisher.publish(log_topic(model), LogLines(model=model, first=len(kept), lines=(text,)))

    async def snapshot() -> LogsReply:
        reply = LogsReply(model=model, first=1, lines=tuple(kept))
        publish("between")  # arrives after the snapshot was taken
        return reply

    async with trio.open_nursery() as nursery:
        await nursery.start(publisher.run)
        with trio.fail_after(LIMIT):
            async with follow_log(runtime_dir.endpoint(directory, "events"), model, snapshot) as batches:
                assert await anext(batches) == tuple(f"line {number}" for number in range(1, 6))
                assert await anext(batches) == ("between",)
                publish("next")
                assert await anext(batches) == ("next",)
                kept.extend(["unseen 1", "unseen 2"])
                publish("after the gap")
                assert await anext(batches) == Gap(2)
                assert await anext(batches) == ("after the gap",)
        nursery.cancel_scope.cancel()


async def test_a_socket_that_cannot_be_bound_is_an_error_with_its_address(tmp_path: Path) -> None:
    hub = ControlHub(f"ipc://{tmp_path}/missing/control", on_question=lambda verb, answer: None)
    with pytest.raises(LocalProtocolError, match="cannot listen on ipc://"):
        await hub.run()


async def test_a_supervisor_that_skips_a_number_ends_the_worker(directory: Path) -> None:
    desk, link = Desk(directory), make_link(directory)
    ended = trio.Event()

    async def run(task_status: trio.TaskStatus[None]) -> None:
        try:
            await link.run(task_status=task_status)
        except* PeerError:
            ended.set()

    async with trio.open_nursery() as nursery:
        await nursery.start(desk.hub.run)
        await nursery.start(run)
        desk.hub._peers[link.worker].sent += 1
        desk.hub.send(link.worker, wire.Beat())
        with trio.fail_after(LIMIT):
            await ended.wait()
        nursery.cancel_scope.cancel()

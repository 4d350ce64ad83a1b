"""Recording a real core into real files: limits, a disk that fails or lags, hidden names, who may be in the way."""

import os
import resource
import stat
import statistics
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import trio

from config.check import load_text
from config.scheduling import scheduling
from config.types import Settings
from protocol import messages as wire
from protocol.control import Failed, Record, RecordReply, Reply
from protocol.ids import CallId, ModelId, WorkerId
from protocol.recording import Recording
from supervisor.loop import Loop
from supervisor.questions import Questions
from supervisor.recording.recorder import MOST_BEHIND, Recorder
from supervisor.scheduler import effects as do
from supervisor.scheduler import events as ev
from supervisor.scheduler.configured import rules_of
from supervisor.scheduler.core import Core
from supervisor.scheduler.registry import POLICIES
from supervisor.worker_socket import WorkerSocket
from tools.simulate.replay import replay

WORKER = WorkerId("0.1.w")
SECRET = "peter-mueller"
NAMED = f"""
models:
  {SECRET}-chat: {{cmd: x, proxy: 'http://127.0.0.1:1', aliases: [{SECRET}-alias]}}
  {SECRET}-embed: {{cmd: x, proxy: 'http://127.0.0.1:2'}}
  {SECRET}-image: {{cmd: x, proxy: 'http://127.0.0.1:3'}}
  fifo: {{cmd: x, proxy: 'http://127.0.0.1:4'}}
"""
ROUTINGS = [
    *(
        f"routing: {{scheduler: {{use: {name}, settings: {{{name}: {{priority: {{{SECRET}-alias: 3}}}}}}}}}}\n"
        for name in POLICIES
    ),
    f"routing: {{scheduler: {{use: window, settings: {{window: {{weights: {{{SECRET}-caller: 3}}}}}}}}}}\n",
    f"groups: {{{SECRET}-chat: {{swap: false, members: [{SECRET}-chat, {SECRET}-embed]}}}}\n",
    f"matrix: {{vars: {{x{SECRET}: {SECRET}-chat}}, "
    f"sets: {{{SECRET}-chat: 'x{SECRET} & {SECRET}-embed', two: '+{SECRET}-chat | {SECRET}-image'}}}}\n",
]


@dataclass
class Shell:
    """A core in its loop, with processes that are ready at once and exit when they are told to."""

    settings: Settings
    loop: Loop
    recorder: Recorder
    calls: int = 0

    async def ask(self, verb: Record) -> Reply:
        send, receive = trio.open_memory_channel[Reply](1)
        self.recorder.ask(verb, send.send_nowait)
        with trio.fail_after(20):
            return await receive.receive()

    async def start(self, path: Path, **more: object) -> RecordReply:
        reply = await self.ask(Record(action="start", path=str(path), **more))  # type: ignore[arg-type]
        assert isinstance(reply, RecordReply), reply
        return reply

    async def stop(self) -> RecordReply:
        reply = await self.ask(Record(action="stop"))
        assert isinstance(reply, RecordReply), reply
        return reply

    async def status(self) -> RecordReply:
        reply = await self.ask(Record(action="status"))
        assert isinstance(reply, RecordReply), reply
        return reply

    async def ended(self) -> RecordReply:
        with trio.fail_after(20):
            while (found := await self.status()).active or self.recorder._now is not None:
                await trio.sleep(0.01)
        return found

    def request(self, model: str, caller: str = "") -> None:
        """One request, and its end as soon as it has a lease."""
        self.calls += 1
        self.loop.post(ev.RequestArrived(CallId(f"c{self.calls}"), ModelId(model), WORKER, caller))

    def perform(self, effect: do.Effect) -> None:
        match effect:
            case do.StartModel(model, generation):
                self.loop.post(ev.ModelReady(model, generation))
            case do.StopModel(model, generation):
                self.loop.post(ev.ModelExited(model, generation, f"told {SECRET} to go"))
            case do.Grant(lease=lease):
                self.loop.post(ev.LeaseReleased(lease, 0.0))
            case _:
                pass


@asynccontextmanager
async def shell(config: str) -> AsyncIterator[Shell]:
    settings = load_text(config).settings
    assert settings is not None
    core = Core(rules_of(settings), "i")
    loop = Loop(core)
    async with trio.open_nursery() as nursery:
        recorder = Recorder(
            "i", loop=loop, snapshot=core.snapshot, config=lambda: scheduling(settings), nursery=nursery
        )
        it = Shell(settings, loop, recorder)
        loop.perform = it.perform
        yield it
        await recorder.finish(5.0)
        nursery.cancel_scope.cancel()


MODELS = [f"{SECRET}-{name}" for name in ("chat", "embed", "image")]
PLAIN = "models: {a: {cmd: x, proxy: 'http://127.0.0.1:1'}, b: {cmd: x, proxy: 'http://127.0.0.1:2'}}\n"


async def test_a_recording_says_how_it_stands_and_replays(tmp_path: Path) -> None:
    file = tmp_path / "recording"
    async with shell(PLAIN) as it:
        assert (await it.status()) == RecordReply(active=False)
        it.request("a")
        assert (await it.start(file)).active
        for model in "abab":
            it.request(model)
        under_way = await it.status()
        assert under_way.active
        assert under_way.path == str(file)
        reply = await it.stop()
        assert (reply.active, reply.failed, reply.text) == (False, False, "as asked")
        assert reply.events == under_way.events > 12
        assert reply.bytes == file.stat().st_size
        assert await it.status() == reply
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    found = replay(file)
    assert (found.difference, found.events, found.notes) == (None, reply.events, ())


async def test_what_the_phase_table_forbids_is_recorded_as_ignored(tmp_path: Path) -> None:
    file = tmp_path / "recording"
    async with shell(PLAIN) as it:
        it.request("a")
        await it.start(file)
        it.loop.post(ev.ModelReady(ModelId("a"), 1))
        await it.stop()
    with Recording(file) as recording:
        (row,) = [row for _, row in recording.events()]
    assert row.ignored
    assert replay(file).difference is None


@pytest.mark.parametrize("routing", ROUTINGS)
async def test_hashed_names_are_nowhere_and_the_recording_replays(tmp_path: Path, routing: str) -> None:
    one, other = tmp_path / "one", tmp_path / "other"
    async with shell(NAMED + routing) as it:
        for file in (one, other):
            it.request(MODELS[0], f"{SECRET}-caller")
            await it.start(file, hash_names=True)
            for number in range(9):
                it.request(MODELS[number % 3], f"{SECRET}-caller")
            it.loop.post(ev.UnloadAsked(CallId("u"), (ModelId(MODELS[0]),)))
            it.loop.post(ev.RulesChanged(rules_of(it.settings), frozenset({ModelId(MODELS[1])})))
            it.request(MODELS[1])
            await it.stop()
    for file in (one, other):
        assert SECRET.encode() not in file.read_bytes()
        found = replay(file)
        assert found.difference is None, found.told()
        assert found.events > 20
    models = [list(recorded_config(file)["models"]) for file in (one, other)]
    assert not set(models[0]) & set(models[1]), "the same names have the same hashes in two recordings"


def recorded_config(file: Path) -> dict[str, dict[str, object]]:
    with Recording(file) as recording:
        return recording.begun.config


async def test_the_callers_of_one_recording_stay_apart(tmp_path: Path) -> None:
    file = tmp_path / "recording"
    async with shell(PLAIN) as it:
        await it.start(file, hash_names=True)
        for caller in ("x", "y", "x", ""):
            it.request("a", caller)
        await it.stop()
    with Recording(file) as recording:
        callers = [row.fields["caller"] for _, row in recording.events() if row.event == "RequestArrived"]
    assert callers[0] == callers[2] != callers[1]
    assert callers[3] == ""


async def test_a_recording_ends_at_its_limit_and_says_so(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    file = tmp_path / "recording"
    async with shell(PLAIN) as it:
        await it.start(file, most=100_000)
        for number in range(500):
            it.request("ab"[number % 2])
        found = await it.ended()
        assert (found.active, found.failed) == (False, True)
        assert found.text == "it reached its limit of 100000 bytes"
        assert 90_000 < file.stat().st_size <= 100_000
        assert f"the recording to {file} ended after {found.events} events: it reached its limit" in caplog.text
        it.request("a")
        reply = await it.ask(Record(action="stop"))
        assert isinstance(reply, Failed)
        assert "nothing is recorded; the last recording" in reply.text
        assert reply.code == "not_recording"
    replayed = replay(file)
    assert replayed.difference is None
    assert replayed.events == found.events
    assert replayed.notes == ("the recording ended by itself: it reached its limit of 100000 bytes",)


async def test_a_disk_that_lags_ends_the_recording_and_not_the_scheduler(tmp_path: Path) -> None:
    file = tmp_path / "recording"
    async with shell(PLAIN) as it:
        await it.start(file)
        # Without a checkpoint no thread gets to write: as if the disk hung.
        while it.loop.record is not None:
            it.request("a", "c" * 100_000)
        it.request("a")
        found = await it.ended()
        assert "the disk is too slow" in found.text
        assert MOST_BEHIND * 0.9 < file.stat().st_size < MOST_BEHIND * 1.1
    assert replay(file).difference is None


async def test_a_full_disk_ends_the_recording_and_not_the_scheduler(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    file = tmp_path / "recording"
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    async with shell(PLAIN) as it:
        await it.start(file)
        resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, hard))
        try:
            for number in range(1000):
                it.request("ab"[number % 2])
            found = await it.ended()
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        assert found.failed
        assert found.text == "it cannot be written: File too large"
        assert f"the recording to {file} ended after" in caplog.text
        it.request("a")
        assert (await it.start(tmp_path / "next")).active
    replayed = replay(file)
    assert replayed.difference is None
    assert "is cut off" in replayed.notes[0]


async def test_one_recording_at_a_time(tmp_path: Path) -> None:
    async with shell(PLAIN) as it:
        await it.start(tmp_path / "one")
        reply = await it.ask(Record(action="start", path=str(tmp_path / "two")))
        assert reply == Failed(
            code="busy", text=f"a recording to {tmp_path / 'one'} is under way; 'swapctl record stop' ends it"
        )
        assert not (tmp_path / "two").exists()
        await it.stop()
        await it.start(tmp_path / "two")


async def test_while_the_last_lines_are_written_nothing_else_begins(tmp_path: Path) -> None:
    async with shell(PLAIN) as it:
        await it.start(tmp_path / "one")
        replies: list[Reply] = []
        for verb in (Record(action="stop"), Record(action="stop"), Record(action="start", path=str(tmp_path / "two"))):
            it.recorder.ask(verb, replies.append)
        text = f"the recording to {tmp_path / 'one'} has ended (as asked), and its last lines are being written"
        assert replies == [Failed(code="busy", text=text)] * 2
        await it.ended()
        assert isinstance(replies[2], RecordReply)


async def test_accounts_that_cannot_be_written_end_no_supervisor(tmp_path: Path) -> None:
    async with shell(PLAIN) as it:
        await it.start(tmp_path / "one")
        it.loop.post(ev.RequestArrived(CallId("c"), ModelId("a"), WORKER, "a\ud800b"))
        found = await it.ended()
        assert "an event cannot be written: UnicodeEncodeError" in found.text
        assert found.failed
        it.request("a")
    assert replay(tmp_path / "one").difference is None


async def test_a_path_that_cannot_be_used_is_refused_and_left_alone(tmp_path: Path) -> None:
    there = tmp_path / "there"
    there.write_text("mine")
    (tmp_path / "link").symlink_to(tmp_path / "elsewhere")
    os.mkfifo(tmp_path / "pipe")
    cases = [
        (there, {}, f"cannot write {there}: it exists; name another one, or say --overwrite"),
        (tmp_path, {"overwrite": True}, f"cannot write {tmp_path}: Is a directory"),
        (tmp_path / "no" / "x", {}, f"cannot write {tmp_path / 'no' / 'x'}: No such file or directory"),
        (tmp_path / "link", {"overwrite": True}, "Too many levels of symbolic links"),
        (tmp_path / "pipe", {"overwrite": True}, "No such device or address"),
        (Path("/dev/full"), {"overwrite": True}, "cannot write /dev/full: it is no ordinary file"),
        (Path("relative"), {}, "the path 'relative' is not absolute"),
        (Path("/tmp/\0"), {}, "'/tmp/\\x00' is no path"),
        (tmp_path / "small", {"most": 1000}, "a recording needs at least 64 KiB, not 1000 bytes"),
    ]
    async with shell(PLAIN) as it:
        for path, more, words in cases:
            reply = await it.ask(Record(action="start", path=str(path), **more))  # type: ignore[arg-type]
            assert isinstance(reply, Failed), path
            assert reply.code == "cannot_record"
            assert words in reply.text
            assert not (await it.status()).active
        assert it.loop.record is None
    assert there.read_text() == "mine"
    assert not (tmp_path / "elsewhere").exists()
    assert not (tmp_path / "small").exists()


async def test_a_file_is_replaced_if_that_was_said_and_is_private_then(tmp_path: Path) -> None:
    there = tmp_path / "there"
    there.write_text("x" * 10_000)
    there.chmod(0o644)
    async with shell(PLAIN) as it:
        await it.start(there, overwrite=True)
        await it.stop()
    assert replay(there).events == 0
    assert stat.S_IMODE(there.stat().st_mode) == 0o600


async def test_a_state_that_is_larger_than_the_limit_leaves_no_file(tmp_path: Path) -> None:
    async with shell(PLAIN) as it:
        it.loop.perform = lambda effect: None
        for number in range(400):
            it.request("a", f"caller {number}" + "x" * 100)
        reply = await it.ask(Record(action="start", path=str(tmp_path / "small"), most=70_000))
        assert isinstance(reply, Failed)
        assert "the state of the scheduler alone takes" in reply.text
        assert not (tmp_path / "small").exists()
        assert (await it.start(tmp_path / "large")).active


async def test_the_end_of_the_supervisor_ends_the_recording(tmp_path: Path) -> None:
    file = tmp_path / "recording"
    async with shell(PLAIN) as it:
        await it.start(file)
        it.request("a")
    found = replay(file)
    assert found.difference is None
    assert found.events == 3
    assert found.notes == ("the recording ended by itself: swapyard was stopped",)


def test_a_worker_cannot_make_the_supervisor_write_a_file() -> None:
    """Whoever takes over a worker must not get at more than a worker needs."""
    sent: list[wire.FromSupervisor] = []

    def never(*_: Any, **__: Any) -> Any:
        raise AssertionError("that is no question for anybody")

    questions = Questions(
        "i", post=never, resolve=never, status=never, logs=never, queue=never, explain=never, reload=never, record=never
    )
    socket = WorkerSocket(
        post=never,
        resolve=never,
        upstream=never,
        loading=never,
        adopted=never,
        questions=questions,
        revision=never,
    )
    socket.send = lambda _, message: sent.append(message)
    socket.received(WORKER, wire.Ask(call=CallId("c"), verb=Record(action="start", path="/tmp/x")))
    refused = Failed(code="cannot_record", text="recordings are made over the control socket")
    assert sent == [wire.Answer(call=CallId("c"), reply=refused)]


async def test_recording_costs_less_than_what_is_recorded(tmp_path: Path, tell: Callable[[str], None]) -> None:
    ratios = []
    async with shell(PLAIN) as it:
        for number in range(7):
            without = seconds_for(it, 1000)
            await it.start(tmp_path / str(number))
            ratios.append(seconds_for(it, 1000) / without)
            reply = await it.stop()
    middle = statistics.median(ratios)
    tell(f"an event that is recorded takes {middle:.2f} times as long, and {reply.bytes / reply.events:.0f} bytes")
    assert middle < 2.5
    assert reply.bytes / reply.events < 400


def seconds_for(it: Shell, requests: int) -> float:
    began = time.perf_counter()
    for _ in range(requests):
        it.request("a", "10.0.0.1")
    return time.perf_counter() - began

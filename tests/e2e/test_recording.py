"""Recording over the whole program: begun in mid-life, through a reload and the death of a worker, and replayed."""

import json
import os
import resource
import signal
import sys
from pathlib import Path

import trio

from protocol.control import Failed, Record, RecordReply, Reload, ReloadReply, Unload
from protocol.recording import Recording
from tests.support.yard import PATIENCE, Yard, fake, yard
from tools.simulate.replay import replay

LONG = f"  long: {{cmd: '{fake('--name long --chunks 2000 --chunk-interval 0.05')}'}}\n"
GROUPS = "groups: {both: {swap: false, members: [a, b, long]}}\n"


def config(*, limit: int = 3, more: str = "") -> str:
    """a, b and long run beside each other, c alone; an exchange takes a tenth of a second, of long two minutes."""
    slow = "--chunks 2 --chunk-interval 0.05"
    rows = [f"  {name}: {{cmd: '{fake(f'--name {name}', slow)}', concurrencyLimit: {limit}}}\n" for name in "abc"]
    return (
        "models:\n"
        + "".join(rows).replace(f"Limit: {limit}", f"Limit: {limit}, queueLimit: 100")
        + LONG
        + GROUPS
        + more
    )


async def clients(it: Yard, model: str, requests: int) -> None:
    for _ in range(requests):
        await it.chat(model, stream=True)


async def load(it: Yard, requests: int) -> None:
    async with trio.open_nursery() as nursery:
        for model in "aaaabbc":
            nursery.start_soon(clients, it, model, requests)


async def mid_life(it: Yard) -> bool:
    """Is there a lease that will not end, and somebody who waits for that?"""
    rows = {str(row.id): row for row in (await it.status()).models}
    return bool(rows["long"].leases and rows["c"].waiting)


async def ctl(it: Yard, *arguments: str) -> tuple[int, str, str]:
    """The real command: exit status, stdout, stderr."""
    done = await trio.run_process(  # noqa: TID251 (tests start the program as a user does)
        [sys.executable, "-P", "-m", "tools.ctl", *arguments, "--runtime-dir", str(it.directory)],
        capture_stdout=True,
        capture_stderr=True,
        check=False,
        cwd=it.directory,
    )
    return done.returncode, done.stdout.decode(), done.stderr.decode()


async def test_a_recording_begun_in_mid_life_replays_through_a_reload_and_the_death_of_a_worker(tmp_path: Path) -> None:
    file = tmp_path / "recording"
    async with yard(config(), "--workers", "2") as it:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(load, it, 1000)
            nursery.start_soon(clients, it, "long", 1)
            with trio.fail_after(PATIENCE):
                while not await mid_life(it):
                    await trio.sleep(0.01)
            status, told, _ = await ctl(it, "record", "start", str(file))
            assert status == 0
            assert told.startswith(f"recording to {file}: ")
            with trio.fail_after(PATIENCE):
                while b"Grant" not in file.read_bytes():
                    await trio.sleep(0.02)
            nursery.cancel_scope.cancel()  # all clients leave
        it.rewrite(config(limit=2))
        assert isinstance(await it.control(Reload()), ReloadReply)
        await load(it, 1)
        worker = next(row for row in (await it.status()).workers if row.pid)
        assert worker.pid is not None
        os.kill(worker.pid, signal.SIGKILL)  # noqa: TID251 (a worker that dies)
        with trio.fail_after(PATIENCE):
            while (await it.status()).workers[worker.slot].pid in (worker.pid, None):
                await trio.sleep(0.02)
        await load(it, 1)
        await it.control(Unload())
        status, told, _ = await ctl(it, "record", "stop", "-o", "json")
        assert status == 0
        assert json.loads(told)["active"] is False
    found = replay(file)
    assert found.difference is None, found.told()
    assert found.events == json.loads(told)["events"] > 60
    with Recording(file) as recording:
        assert recording.begun.snapshot["leases"]
        assert recording.begun.snapshot["waiters"]
        kinds = {row.event for _, row in recording.events()}
    assert {
        "RequestAbandoned",
        "RulesChanged",
        "WorkerLost",
        "UnloadAsked",
        "RequestArrived",
        "LeaseReleased",
        "ModelExited",
    } <= kinds


async def test_the_traffic_of_a_hot_model_is_in_the_recording(tmp_path: Path) -> None:
    file = tmp_path / "recording"
    async with yard(config()) as it:
        await it.chat("a")
        assert isinstance(await it.control(Record(action="start", path=str(file))), RecordReply)
        for _ in range(30):
            await it.chat("a")
        with trio.fail_after(PATIENCE):
            while (await it.model("a")).leases:
                await trio.sleep(0.02)
        await it.control(Record(action="stop"))
    with Recording(file) as recording:
        rows = [row for _, row in recording.events()]
    exchanges = sum(row.fields["count"] for row in rows if row.event == "ExchangesReported")
    leases = [effect for row in rows for name, effect in row.effects if name == "Grant" and not effect["parkable"]]
    assert exchanges + len(leases) >= 30
    assert sum(row.event == "RequestArrived" for row in rows) < 30, "no lease was parked"
    assert replay(file).difference is None


async def test_a_supervisor_that_is_stopped_or_killed_leaves_a_recording_that_replays(tmp_path: Path) -> None:
    stopped, killed = tmp_path / "stopped", tmp_path / "killed"
    async with yard(config()) as it:
        await it.control(Record(action="start", path=str(stopped)))
        await it.chat("a")
    found = replay(stopped)
    assert found.difference is None
    assert found.notes == ("the recording ended by itself: swapyard was stopped",)
    async with yard(config(), exit_status=None) as it:
        await it.control(Record(action="start", path=str(killed)))
        await it.chat("a")
        with trio.fail_after(PATIENCE):
            while b"Grant" not in killed.read_bytes():
                await trio.sleep(0.02)
        os.kill(it.supervisor_pid(), signal.SIGKILL)  # noqa: TID251 (what a crash leaves)
        with trio.fail_after(PATIENCE):
            await it.process.wait()
    found = replay(killed)
    assert found.difference is None
    assert found.events > 0
    assert "the recording has no end" in found.notes[-1]


async def test_mistakes_get_one_clear_line_and_serving_goes_on(tmp_path: Path) -> None:
    there = tmp_path / "there"
    there.write_text("mine")
    async with yard(config()) as it:
        assert await ctl(it, "record", "status") == (0, "nothing is recorded\n", "")
        assert await ctl(it, "record", "stop") == (1, "", "swapctl: nothing is recorded\n")
        for arguments, words in (
            ((str(there),), f"cannot write {there}: it exists; name another one, or say --overwrite"),
            ((str(tmp_path / "no" / "x"),), "No such file or directory"),
            (("/dev/full", "--overwrite"), "cannot write /dev/full: it is no ordinary file"),
        ):
            status, told, error = await ctl(it, "record", "start", *arguments)
            assert (status, told, error.count("\n")) == (1, "", 1)
            assert words in error
        for line in ("x --most none", "x --most -1", ""):
            status, _, error = await ctl(it, "record", "start", *line.split())
            assert status == 2
            assert "Traceback" not in error
        status, told, _ = await ctl(it, "record", "start", "mine", "--hash-names")
        assert told.startswith(f"recording to {it.directory / 'mine'}: ")
        status, _, error = await ctl(it, "record", "start", "other")
        assert (status, error) == (
            1,
            f"swapctl: a recording to {it.directory / 'mine'} is under way; 'swapctl record stop' ends it\n",
        )
        assert "names hashed" in (await ctl(it, "record", "status"))[1]
    assert there.read_text() == "mine"


async def test_a_disk_that_is_full_ends_the_recording_and_nothing_else(tmp_path: Path) -> None:
    file = tmp_path / "recording"
    async with yard(config()) as it:
        supervisor = it.supervisor_pid()
        soft, hard = resource.prlimit(supervisor, resource.RLIMIT_FSIZE)
        await it.control(Record(action="start", path=str(file)))
        # Its log is a file, too, and grows more slowly.
        resource.prlimit(supervisor, resource.RLIMIT_FSIZE, (25_000, hard))
        with trio.fail_after(PATIENCE):
            while (reply := await it.control(Record(action="status"))).active:  # type: ignore[union-attr]
                assert [(await it.chat(model)).status for model in "bc"] == [200, 200]
        resource.prlimit(supervisor, resource.RLIMIT_FSIZE, (soft, hard))
        assert isinstance(reply, RecordReply)
        assert (reply.failed, reply.text) == (True, "it cannot be written: File too large")
        assert f"the recording to {file} ended after" in it.log()
        assert (await it.chat("a")).status == 200
        assert isinstance(await it.control(Record(action="stop")), Failed)
    assert replay(file).difference is None

"""Worker slots, with real gateway processes that have nobody to talk to."""

import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trio

from protocol.ids import WorkerId
from supervisor.listen import listening
from supervisor.process import stop
from supervisor.workers import Workers, WorkersDoNotStart

W = WorkerId("0.1.x")
LIMIT = 30.0


class Around:
    """What a slot tells the rest of the supervisor."""

    def __init__(self) -> None:
        self.forgotten: list[WorkerId] = []
        self.lost: list[WorkerId] = []


@asynccontextmanager
async def one_slot(directory: Path) -> AsyncIterator[tuple[Workers, Around]]:
    around = Around()
    with listening("127.0.0.1", 0, 1, 60.0) as sockets:
        workers = Workers(
            sockets,
            endpoints=(f"ipc://{directory}/workers", f"ipc://{directory}/events"),
            log_level="warning",
            send=lambda worker, message: None,
            forget=around.forgotten.append,
            lost=around.lost.append,
        )
        async with trio.open_nursery() as nursery:
            nursery.start_soon(workers.run)
            yield workers, around
            workers.drain(0.0)
            workers.kill()
            with trio.fail_after(LIMIT):
                await workers.wait_ended()


async def wait_pid(workers: Workers, other_than: int | None = None) -> int:
    with trio.fail_after(LIMIT):
        while (pid := workers.statuses()[0].pid) in (None, other_than):
            await trio.sleep(0.01)
    assert pid is not None
    return pid


async def test_a_worker_that_ends_is_lost_and_its_slot_is_filled_again(tmp_path: Path) -> None:
    async with one_slot(tmp_path) as (workers, around):
        pid = await wait_pid(workers)
        workers.greeted(W, 0, pid)
        stop.signal_all([pid], signal.SIGKILL)
        await wait_pid(workers, other_than=pid)
        assert (around.forgotten, around.lost) == ([W], [W])
        assert workers.statuses()[0].restarts == 1


async def test_a_worker_that_hangs_is_killed_even_if_it_cannot_say_where(tmp_path: Path) -> None:
    async with one_slot(tmp_path) as (workers, around):
        pid = await wait_pid(workers)
        workers.greeted(W, 0, pid)
        stop.signal_all([pid], signal.SIGSTOP)
        workers.faulty(W, pid, "silent for 30 s")
        await wait_pid(workers, other_than=pid)
        assert around.lost == [W]


async def test_a_stranger_that_claims_a_slot_is_not_believed(tmp_path: Path) -> None:
    async with one_slot(tmp_path) as (workers, _):
        pid = await wait_pid(workers)
        workers.greeted(W, 0, pid + 1)
        workers.greeted(W, 7, pid)
        assert workers.identity(0) is None


async def test_workers_that_never_get_up_are_an_error_of_the_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Workers, "_command", lambda *_: ["false"])
    with trio.fail_after(LIMIT), pytest.RaisesGroup(WorkersDoNotStart, flatten_subgroups=True):
        async with one_slot(tmp_path):
            await trio.sleep_forever()

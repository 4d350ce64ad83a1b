"""Inside a worker that is watched: how late its trio tasks run, and how many control messages it exchanges.

Loaded by ``probe/sitecustomize.py``, so that the program itself knows nothing of it. The readings go to a file of
64-bit numbers that ``lateness.py`` has mapped too: messages sent, messages received, number of readings, then the
last of them, in nanoseconds. A watched worker does more work: its CPU time is not measured.
"""

import mmap
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

SENT, RECEIVED, COUNT, FIRST = range(4)
RING = 1 << 17
"""Readings that are kept: two minutes of one each millisecond."""
SIZE = (FIRST + RING) * 8
NAP = 0.001


def ring(path: Path) -> memoryview:
    """The numbers of one worker."""
    with path.open("r+b") as file:
        return memoryview(mmap.mmap(file.fileno(), SIZE)).cast("Q")


def watch(directory: str) -> None:
    """From now on, in this process."""
    import os

    import trio

    path = Path(directory) / str(os.getpid())
    path.write_bytes(bytes(SIZE))
    numbers = ring(path)
    _count_messages(numbers)

    async def nap() -> None:
        while True:
            began = time.perf_counter()
            await trio.sleep(NAP)
            late = time.perf_counter() - began - NAP
            numbers[FIRST + numbers[COUNT] % RING] = max(0, int(late * 1e9))
            numbers[COUNT] += 1

    def beside(run: Callable[..., Any]) -> Callable[..., Any]:
        def start(main: Callable[..., Awaitable[Any]], *arguments: Any, **options: Any) -> Any:
            async def both(*given: Any) -> Any:
                trio.lowlevel.spawn_system_task(nap)
                return await main(*given)

            return run(both, *arguments, **options)

        return start

    # A worker is started by one of these two.
    trio.run = beside(trio.run)  # type: ignore[assignment]
    trio.lowlevel.start_guest_run = beside(trio.lowlevel.start_guest_run)


def _count_messages(numbers: memoryview) -> None:
    import zmq  # noqa: TID251 (counts calls, opens nothing)

    def counted(call: Callable[..., Any], place: int) -> Callable[..., Any]:
        def count(*arguments: Any, **options: Any) -> Any:
            done = call(*arguments, **options)
            numbers[place] += 1
            return done

        return count

    zmq.Socket.send_multipart = counted(zmq.Socket.send_multipart, SENT)  # type: ignore[method-assign]
    zmq.Socket.recv_multipart = counted(zmq.Socket.recv_multipart, RECEIVED)  # type: ignore[method-assign]

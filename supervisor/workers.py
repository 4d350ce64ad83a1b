"""Worker slots: each keeps one gateway process running on its listening socket, and replaces it when it ends.

A worker is lost when its process has exited, never sooner; one that hangs is made to dump its stacks and is
killed. Restarts of a slot that dies young are spaced out, at most ``LONGEST_PAUSE`` seconds. Called by
``app.py``; the processes are started and ended by ``process/``.
"""

import logging
import os
import socket
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import trio

from protocol import messages as wire
from protocol.control import WorkerStatus
from protocol.ids import WorkerId
from supervisor import clock
from supervisor.process import stop
from supervisor.process.spawn import spawn_worker

log = logging.getLogger("swapyard.workers")

SETTLED = 10.0
LONGEST_PAUSE = 5.0
MOST_FAILED_STARTS = 3
LAST_WORDS = 1.0


class WorkersDoNotStart(Exception):
    """No worker of a slot lived to say ``Hello``; one line for people."""


@dataclass(slots=True)
class Slot:
    """One place for a worker. Times in seconds of the supervisor's clock."""

    number: int
    socket: socket.socket
    worker: WorkerId | None = None
    pid: int | None = None
    since: float = 0.0
    restarts: int = 0
    greeted: trio.Event = field(default_factory=trio.Event)
    condemned: trio.Event = field(default_factory=trio.Event)
    """Its present worker hangs, and is to be ended."""


class Workers:
    """``endpoints``: the ipc addresses of the worker and event sockets, as arguments for the processes.
    ``certificate``: files of a certificate and its key, which each process reads when it starts."""

    def __init__(
        self,
        sockets: list[socket.socket],
        *,
        endpoints: tuple[str, str],
        log_level: str,
        certificate: tuple[Path, Path] | None = None,
        send: Callable[[WorkerId, wire.FromSupervisor], None],
        forget: Callable[[WorkerId], None],
        lost: Callable[[WorkerId], None],
    ) -> None:
        self._slots = [Slot(number, sock) for number, sock in enumerate(sockets)]
        self._endpoints = endpoints
        self._log_level = log_level
        self._certificate = certificate
        self._send = send
        self._forget = forget
        self._lost = lost
        self._draining = False
        self._ended = trio.Event()

    async def run(self) -> None:
        """Keep every slot filled until ``drain``; returns when the last worker has ended."""
        async with trio.open_nursery() as nursery:
            for slot in self._slots:
                nursery.start_soon(self._keep, slot)
        self._ended.set()

    async def wait_ended(self) -> None:
        """Until the last worker has ended after ``drain``."""
        await self._ended.wait()

    async def wait_greeted(self) -> None:
        """Until each slot has had a worker that said ``Hello``."""
        for slot in self._slots:
            await slot.greeted.wait()

    def greeted(self, worker: WorkerId, number: int, pid: int) -> None:
        """A worker said a good ``Hello``."""
        slot = self._slots[number] if 0 <= number < len(self._slots) else None
        if slot is None or slot.pid != pid:
            log.warning("worker %s is not one of ours", worker)
            return
        slot.worker = worker
        slot.greeted.set()

    def faulty(self, worker: WorkerId, pid: int, why: str) -> None:
        """A worker hangs or breaks the protocol: its stacks go to the log, then it is killed; its slot is refilled."""
        log.error("worker %s (pid %d): %s; it is replaced", worker, pid, why)
        for slot in self._slots:
            if slot.pid == pid:
                slot.condemned.set()

    def drain(self, deadline_in: float) -> None:
        """Workers stop accepting and end within ``deadline_in`` seconds; slots are not refilled."""
        self._draining = True
        for slot in self._slots:
            slot.socket.close()
            if slot.worker is not None:
                self._send(slot.worker, wire.Drain(deadline_in=deadline_in))

    def kill(self) -> None:
        """End what is left, at once."""
        for slot in self._slots:
            if slot.pid is not None:
                stop.kill_group(slot.pid)

    def statuses(self) -> list[WorkerStatus]:
        """One row for each slot; the counts are filled in by ``status.py``."""
        now = clock.now()
        return [
            WorkerStatus(
                slot=slot.number,
                pid=slot.pid,
                uptime=now - slot.since if slot.pid is not None else 0.0,
                restarts=slot.restarts,
            )
            for slot in self._slots
        ]

    def identity(self, number: int) -> WorkerId | None:
        """The worker that fills a slot now."""
        return self._slots[number].worker

    async def _keep(self, slot: Slot) -> None:
        pause = 0.1
        while not self._draining:
            slot.since = clock.now()
            status = await self._run_one(slot)
            if self._draining:
                return
            slot.restarts += 1
            if not slot.greeted.is_set() and slot.restarts >= MOST_FAILED_STARTS:
                raise WorkersDoNotStart(f"gateway worker {slot.number} ended {slot.restarts} times before it was up")
            pause = 0.1 if clock.now() - slot.since > SETTLED else min(LONGEST_PAUSE, pause * 2)
            log.warning("worker %d ended (%s); the next one starts in %.1f s", slot.number, status, pause)
            await trio.sleep(pause)

    async def _run_one(self, slot: Slot) -> int:
        """One process in a slot, from its start to its exit; the exit status."""
        reading, writing = os.pipe()
        try:
            process = await spawn_worker(self._command(slot, reading), pass_fds=(slot.socket.fileno(), reading))
        finally:
            os.close(reading)
        slot.pid = process.pid
        slot.condemned = trio.Event()
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(_execute, slot.condemned, process.pid)
                status = await process.wait()
                nursery.cancel_scope.cancel()
            return status
        finally:
            os.close(writing)
            self._emptied(slot)

    def _command(self, slot: Slot, lifeline: int) -> list[str]:
        options: dict[str, object] = {
            "--slot": slot.number,
            "--fd": slot.socket.fileno(),
            "--workers-endpoint": self._endpoints[0],
            "--events-endpoint": self._endpoints[1],
            "--lifeline": lifeline,
            "--log-level": self._log_level,
        }
        if self._certificate is not None:
            options |= {"--tls-cert-file": self._certificate[0], "--tls-key-file": self._certificate[1]}
        arguments = [str(part) for pair in options.items() for part in pair]
        return [sys.executable, "-P", "-m", "gateway", *arguments]

    def _emptied(self, slot: Slot) -> None:
        slot.pid = None
        worker, slot.worker = slot.worker, None
        if worker is not None:
            self._forget(worker)
            self._lost(worker)


async def _execute(condemned: trio.Event, pid: int) -> None:
    """When a worker is condemned: its stacks go to the log, and a second later it is killed for good."""
    await condemned.wait()
    stop.abort_worker(pid)
    await trio.sleep(LAST_WORDS)
    stop.kill_group(pid)

"""One generation of one model server, from its spawn to its exit, as one task.

Up is not ready: ready is a successful probe while our child lives. Whatever happens, the last thing it says
is one ``ModelExited``, after nothing of the process group is left. Decides nothing about who runs; started
and stopped by ``supervisor/processes.py``.
"""

import logging
import os
import signal
from collections.abc import Callable
from dataclasses import dataclass

import trio

from protocol.ids import ModelId
from supervisor.guardian_link import GuardianLink
from supervisor.process import stop
from supervisor.process.output import OutputRing
from supervisor.process.ready import Target, interval, port_holder, probe
from supervisor.process.spawn import model_environment, spawn_model, why_not
from supervisor.scheduler.events import Event, ModelExited, ModelReady, ModelStartFailed, StopOverdue

log = logging.getLogger("swapyard.models")

AFTER_KILL = 5.0
"""Seconds after SIGKILL before a process counts as stuck."""
LAST_WORD = 1.0
"""Seconds for SIGTERM after a stop command that used up the grace."""
DRAIN = 1.0
"""Seconds to read what an ended process left in its pipe, if somebody still holds the other end."""


@dataclass(frozen=True, slots=True)
class LaunchSpec:
    """What it takes to start, probe and stop one generation. Times in seconds."""

    model: ModelId
    generation: int
    argv: tuple[str, ...]
    env: tuple[tuple[str, str], ...]
    cmd_stop: tuple[str, ...] | None
    upstream: str
    check_endpoint: str | None
    start_timeout: float
    stop_grace: float


class ModelProcess:
    """``post`` takes the events; ``output`` the lines; ``guardian`` is told what to clean up after us."""

    def __init__(
        self,
        spec: LaunchSpec,
        *,
        post: Callable[[Event], None],
        output: OutputRing,
        guardian: GuardianLink | None,
    ) -> None:
        self.spec = spec
        self._post = post
        self._output = output
        self._guardian = guardian
        self._stop_asked = trio.Event()
        self._process: trio.Process | None = None
        self._stopper: trio.Process | None = None
        self._failed = False
        self._was_ready = False

    @property
    def pid(self) -> int | None:
        """The process id while there is one."""
        return self._process.pid if self._process is not None else None

    @property
    def left_to_stop_command(self) -> set[int]:
        """Its process and its stop command, if it has one: nobody else needs to end them."""
        if self.spec.cmd_stop is None:
            return set()
        return {process.pid for process in (self._process, self._stopper) if process is not None}

    def stop(self) -> None:
        """Ask it to end; at any moment, any number of times."""
        self._stop_asked.set()

    async def run(self) -> None:
        """The whole life. Posts ``ModelReady`` or ``ModelStartFailed``, and at last ``ModelExited``."""
        spec = self.spec
        reason = "was not started"
        if self._guardian is not None:
            self._guardian.announce(spec.model, spec.generation, spec.cmd_stop, spec.env, spec.stop_grace)
        try:
            reason = await self._live()
        except trio.Cancelled:
            reason = "was cancelled"
            raise
        finally:
            self._process = None
            if self._guardian is not None:
                self._guardian.ended(spec.model, spec.generation)
            self._post(ModelExited(spec.model, spec.generation, reason))

    async def _live(self) -> str:
        """From the spawn to the exit; the reason of the exit."""
        why = await self._cannot_start()
        if why is not None or self._stop_asked.is_set():
            return why or "was stopped before it was started"
        reading, writing = os.pipe()
        try:
            process = await self._spawn(writing)
        finally:
            os.close(writing)
        if isinstance(process, str):
            os.close(reading)
            return process
        self._process = process
        if self._guardian is not None:
            self._guardian.started(self.spec.model, self.spec.generation, process.pid)
        async with trio.lowlevel.FdStream(reading) as pipe, trio.open_nursery() as nursery:
            nursery.start_soon(self._drain_output, pipe)
            try:
                await self._watch(process)
            finally:
                with trio.CancelScope(shield=True):
                    await self._end(process)
                nursery.cancel_scope.deadline = trio.current_time() + DRAIN
        self._output.note(f"--- {self.spec.model}: {exit_text(process.returncode)}")
        early = "" if self._was_ready or self._stop_asked.is_set() else " before it was ready"
        return exit_text(process.returncode) + early

    async def _cannot_start(self) -> str | None:
        """Something else on our port would answer the probes in our name."""
        target = Target.of(self.spec.upstream, self.spec.check_endpoint or "/")
        holder = await port_holder(target)
        if holder is None:
            return None
        return self._fail(f"port {target.port} is already taken ({holder})")

    async def _spawn(self, output: int) -> trio.Process | str:
        spec = self.spec
        self._output.note(f"--- {spec.model}: start {spec.generation}")
        try:
            return await spawn_model(spec.argv, env=model_environment(spec.env), output=output)
        except OSError as error:
            return self._fail(why_not(error, spec.argv))

    def _fail(self, reason: str) -> str:
        self._failed = True
        self._post(ModelStartFailed(self.spec.model, self.spec.generation, reason))
        return reason

    async def _watch(self, process: trio.Process) -> None:
        """Until it exits, fails to become ready, or is to stop."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_cancel_after, process.wait, nursery.cancel_scope)
            nursery.start_soon(_cancel_after, self._stop_asked.wait, nursery.cancel_scope)
            if await self._becomes_ready():
                self._was_ready = True
                self._post(ModelReady(self.spec.model, self.spec.generation))
                await trio.sleep_forever()
            nursery.cancel_scope.cancel()

    async def _becomes_ready(self) -> bool:
        spec = self.spec
        if spec.check_endpoint is None:
            return True
        target = Target.of(spec.upstream, spec.check_endpoint)
        begun = trio.current_time()
        with trio.move_on_after(spec.start_timeout):
            while not await probe(target):  # noqa: ASYNC110 (nobody tells when a server is ready)
                await trio.sleep(interval(trio.current_time() - begun))
            return True
        self._fail(f"did not answer GET {target.url} with 200 within {spec.start_timeout:g} s")
        return False

    async def _end(self, process: trio.Process) -> None:
        """Bring the whole group to its end; bounded but for a process that not even SIGKILL ends."""
        if process.returncode is None:
            await self._ask_to_end(process)
        stop.kill_group(process.pid)
        if process.returncode is None:
            with trio.move_on_after(AFTER_KILL):
                await process.wait()
        if process.returncode is None:
            self._post(StopOverdue(self.spec.model, self.spec.generation, process.pid))
            await process.wait()

    async def _ask_to_end(self, process: trio.Process) -> None:
        """The stop command, and if that does not do it SIGTERM, within the grace and ``LAST_WORD``."""
        deadline = trio.current_time() + self.spec.stop_grace
        if self.spec.cmd_stop is not None:
            with trio.CancelScope(deadline=deadline):
                if await self._run_cmd_stop(self.spec.cmd_stop, process):
                    await process.wait()
        if process.returncode is None:
            stop.terminate_group(process.pid)
            least = LAST_WORD if self.spec.cmd_stop is not None else 0.0
            with trio.CancelScope(deadline=max(deadline, trio.current_time() + least)):
                await process.wait()

    async def _run_cmd_stop(self, command: tuple[str, ...], process: trio.Process) -> bool:
        """True if it ran and said that it worked. Cut off with the grace that it is part of."""
        argv = [word.replace("${PID}", str(process.pid)) for word in command]
        null = os.open(os.devnull, os.O_WRONLY)
        try:
            stopper = await spawn_model(argv, env=model_environment(self.spec.env), output=null)
        except OSError as error:
            log.warning("%s: cmdStop: %s", self.spec.model, why_not(error, argv))
            return False
        finally:
            os.close(null)
        self._stopper = stopper
        try:
            status = await stopper.wait()
        finally:
            if stopper.returncode is None:
                stop.kill_group(stopper.pid)
                with trio.CancelScope(shield=True), trio.move_on_after(AFTER_KILL):
                    await stopper.wait()
        if status:
            log.warning("%s: cmdStop %s; falling back to SIGTERM", self.spec.model, exit_text(status))
        return status == 0

    async def _drain_output(self, pipe: trio.lowlevel.FdStream) -> None:
        while data := await pipe.receive_some(65536):
            self._output.append(bytes(data))


async def _cancel_after(wait: Callable[[], object], scope: trio.CancelScope) -> None:
    await wait()  # type: ignore[misc]
    scope.cancel()


def exit_text(status: int | None) -> str:
    """One phrase for people: ``exited with status 3``, ``was killed by SIGKILL``."""
    if status is None:
        return "did not end"
    if status >= 0:
        return f"exited with status {status}"
    try:
        return f"was killed by {signal.Signals(-status).name}"
    except ValueError:
        return f"was killed by signal {-status}"

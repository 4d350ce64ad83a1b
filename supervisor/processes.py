"""The model processes that the core has asked for, one task each, and the kept output of each model.

Carries out ``StartModel`` and ``StopModel``; reports back through ``post``. Never decides. Called by
``perform.py``; what one process does is ``process/model.py``.
"""

import logging
from collections.abc import Callable

import trio

from protocol.control import LogsReply
from protocol.ids import ModelId
from supervisor.guardian_link import GuardianLink
from supervisor.process.model import LaunchSpec, ModelProcess
from supervisor.process.output import OutputRing
from supervisor.scheduler.effects import StopReason
from supervisor.scheduler.events import Event

log = logging.getLogger("swapyard.models")


class Processes:
    """``spec`` gives the launch data of a generation; ``on_lines`` publishes new output."""

    def __init__(
        self,
        nursery: trio.Nursery,
        *,
        post: Callable[[Event], None],
        spec: Callable[[ModelId, int], LaunchSpec],
        on_lines: Callable[[ModelId, int, tuple[str, ...]], None],
        guardian: GuardianLink | None,
    ) -> None:
        self._nursery = nursery
        self._post = post
        self._spec = spec
        self._on_lines = on_lines
        self._guardian = guardian
        self._live: dict[tuple[ModelId, int], ModelProcess] = {}
        self._output: dict[ModelId, OutputRing] = {}

    def start(self, model: ModelId, generation: int) -> None:
        """Begin a generation; its end is one ``ModelExited``."""
        spec = self._spec(model, generation)
        process = ModelProcess(spec, post=self._post, output=self.output(model), guardian=self._guardian)
        self._live[model, generation] = process
        self._nursery.start_soon(self._run, model, generation, process)

    async def _run(self, model: ModelId, generation: int, process: ModelProcess) -> None:
        try:
            await process.run()
        finally:
            self._live.pop((model, generation), None)

    def stop(self, model: ModelId, generation: int, reason: StopReason) -> None:
        """Ask a generation to end."""
        log.debug("stopping %s (generation %d): %s", model, generation, reason)
        process = self._live.get((model, generation))
        if process is not None:
            process.stop()

    def left_to_stop_commands(self) -> set[int]:
        """Processes that a stop command of their own is to end, and those commands."""
        return {pid for process in self._live.values() for pid in process.left_to_stop_command}

    def pid(self, model: ModelId, generation: int) -> int | None:
        """The process id of a generation, None when it has no process."""
        process = self._live.get((model, generation))
        return process.pid if process is not None else None

    def upstream(self, model: ModelId, generation: int) -> str:
        """The address of the server that this generation started, whatever the configuration says by now."""
        process = self._live.get((model, generation))
        return process.spec.upstream if process is not None else ""

    def output(self, model: ModelId) -> OutputRing:
        """The kept output of a model, over all its generations."""
        if model not in self._output:
            self._output[model] = OutputRing(lambda first, lines: self._on_lines(model, first, tuple(lines)))
        return self._output[model]

    def logs(self, model: ModelId) -> LogsReply:
        """Its kept lines, for a control reply."""
        first, lines = self.output(model).snapshot()
        return LogsReply(model=model, first=first, lines=tuple(lines))

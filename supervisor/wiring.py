"""The parts of the supervisor, and who knows whom. Built once at start; nothing here decides.

Made by ``app.py``, whose nursery runs what has to run.
"""

import logging
import os
import secrets
import socket
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path

import trio

from config.scheduling import scheduling
from config.types import Settings
from protocol import runtime_dir
from protocol.control import StatusReply
from protocol.control_hub import ControlHub
from protocol.events_link import EventPublisher
from protocol.ids import ModelId, WorkerId
from protocol.messages import CatalogueChanged
from protocol.worker_hub import WorkerHub
from supervisor import clock, rules, status
from supervisor.events_out import EventsOut
from supervisor.guardian_link import GuardianLink
from supervisor.listen import set_stall_timeout
from supervisor.loop import Loop, Observer
from supervisor.options import Options
from supervisor.perform import Performer
from supervisor.processes import Processes
from supervisor.questions import Questions
from supervisor.recording.recorder import Recorder
from supervisor.reload import Reload
from supervisor.scheduler import explain, invariants
from supervisor.scheduler.board import Board
from supervisor.scheduler.configured import rules_of
from supervisor.scheduler.core import Core
from supervisor.scheduler.events import RulesChanged
from supervisor.scheduler.phases import Phase
from supervisor.worker_socket import WorkerSocket
from supervisor.workers import Workers

log = logging.getLogger("swapyard")


class App:
    """The parts, and who knows whom. Built once; nothing here decides."""

    def __init__(
        self,
        options: Options,
        settings: Settings,
        *,
        directory: Path,
        sockets: list[socket.socket],
        nursery: trio.Nursery,
        guardian: GuardianLink | None,
    ) -> None:
        self.instance = secrets.token_hex(4)
        self.settings = settings
        self.revision = 1
        self._adopted: dict[WorkerId, int] = {}
        self._adoption = trio.Event()
        self._sockets = sockets
        self._log_level = options.log_level
        self.started = clock.now()
        self.address = _url(sockets[0], "http" if options.certificate is None else "https")
        self._directory = directory
        self._names = rules.names_of(settings)
        core = Core(rules_of(settings), self.instance)
        self.board = core.board
        self.publisher = EventPublisher(self._endpoint("events"))
        events = EventsOut(self.board, self.publisher.publish)
        self.loop = Loop(core, _observers(self.board, events))
        self.processes = Processes(
            nursery,
            post=self.loop.post,
            spec=lambda model, generation: rules.launch_spec(self.settings.models[model], generation),
            on_lines=events.lines,
            guardian=guardian,
        )
        self.reload = Reload(options.sources, self)
        self.recorder = self._recorder(core, nursery)
        self.questions = self._questions()
        self.worker_socket = self._worker_socket()
        self.hub = self._worker_hub()
        self.worker_socket.send = self.hub.send
        self.control = ControlHub(self._endpoint("control"), on_question=self.questions.ask)
        self.workers = self._workers(sockets, options.log_level or settings.log_level, options.certificate)
        self.loop.perform = Performer(self.processes, self.worker_socket, self.questions)

    def _questions(self) -> Questions:
        return Questions(
            self.instance,
            post=self.loop.post,
            resolve=self._resolve,
            status=self.status,
            logs=self.processes.logs,
            queue=lambda: status.queue(self.board),
            explain=lambda call: status.explained(self.board, call),
            reload=self.reload.ask,
            record=self.recorder.ask,
        )

    def _recorder(self, core: Core, nursery: trio.Nursery) -> Recorder:
        return Recorder(
            self.instance,
            loop=self.loop,
            snapshot=core.snapshot,
            config=lambda: scheduling(self.settings),
            nursery=nursery,
        )

    def _worker_socket(self) -> WorkerSocket:
        return WorkerSocket(
            post=self.loop.post,
            resolve=self._resolve,
            upstream=self.processes.upstream,
            loading=lambda model, since: explain.loading(self.board.models[model], since),
            adopted=self._has_adopted,
            questions=self.questions,
            revision=lambda: self.revision,
        )

    def _worker_hub(self) -> WorkerHub:
        return WorkerHub(
            self._endpoint("workers"),
            self.instance,
            welcome=lambda: rules.catalogue_of(self.settings, self.revision, self._log_level),
            on_message=self.worker_socket.received,
            # The workers are made right after the hub; nothing arrives before the sockets run.
            on_hello=lambda worker, slot, pid: self.workers.greeted(worker, slot, pid),  # noqa: PLW0108
            on_fault=lambda worker, pid, why: self.workers.faulty(worker, pid, why),  # noqa: PLW0108
        )

    def _workers(self, sockets: list[socket.socket], log_level: str, certificate: tuple[Path, Path] | None) -> Workers:
        return Workers(
            sockets,
            endpoints=(self._endpoint("workers"), self._endpoint("events")),
            log_level=log_level,
            certificate=certificate,
            send=self.hub.send,
            forget=self.hub.forget,
            lost=self._lost,
        )

    def _endpoint(self, name: str) -> str:
        return runtime_dir.endpoint(self._directory, name)

    def _resolve(self, name: str) -> ModelId | None:
        return self._names.get(name)

    def phase(self, model: ModelId) -> str:
        """Where a model stands."""
        known = self.board.models.get(model)
        return str(known.phase) if known is not None else str(Phase.STOPPED)

    def take_over(self, settings: Settings, event: RulesChanged) -> None:
        """Make these the settings: for the scheduler, for the workers, and for what is asked of us."""
        self.settings = settings
        self._names = rules.names_of(settings)
        self.revision += 1
        catalogue = rules.catalogue_of(settings, self.revision, self._log_level)
        self.hub.broadcast(CatalogueChanged(catalogue=catalogue))
        if self._log_level is None:
            logging.getLogger().setLevel(settings.log_level.upper())
        set_stall_timeout(self._sockets, settings.gateway.client_stall_timeout)
        self.loop.post(event)

    async def wait_adopted(self) -> None:
        """Until every worker answers from the present catalogue."""
        while any(self._adopted.get(worker, 0) < self.revision for worker in self.hub.workers):
            await self._adoption.wait()

    def _has_adopted(self, worker: WorkerId, revision: int) -> None:
        self._adopted[worker] = revision
        self._adoption.set()
        self._adoption = trio.Event()

    def _lost(self, worker: WorkerId) -> None:
        self._adopted.pop(worker, None)
        self._adoption.set()
        self._adoption = trio.Event()
        self.worker_socket.lost(worker)

    def status(self) -> StatusReply:
        """The whole, as ``swapctl status`` shows it."""
        rows = self.workers.statuses()
        return StatusReply(
            instance=self.instance,
            version=version("swapyard"),
            pid=os.getpid(),
            uptime=clock.now() - self.started,
            listen=self.address,
            revision=self.revision,
            models=status.model_statuses(self.board, self.settings, self.processes.pid),
            workers=status.with_counts(rows, self.board, self.workers.identity, self.hub.received),
            starts=sum(model.starts for model in self.board.models.values()),
            swaps=sum(model.swaps for model in self.board.models.values()),
            shutting_down=self.board.closing,
        )


def _observers(board: Board, events: EventsOut) -> Sequence[Observer]:
    """Publishing, and in debug mode the invariants after every event."""
    if not log.isEnabledFor(logging.DEBUG):
        return (events.observe,)
    return (events.observe, lambda _, effects: invariants.check(board, effects))


def _url(listener: socket.socket, scheme: str) -> str:
    host, port = listener.getsockname()[:2]
    return f"{scheme}://{f'[{host}]' if ':' in host else host}:{port}"

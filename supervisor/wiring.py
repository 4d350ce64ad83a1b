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

from config.types import Settings
from protocol import runtime_dir
from protocol.control import StatusReply
from protocol.control_hub import ControlHub
from protocol.events_link import EventPublisher
from protocol.worker_hub import WorkerHub
from supervisor import clock, rules, status
from supervisor.events_out import EventsOut
from supervisor.guardian_link import GuardianLink
from supervisor.loop import Loop, Observer
from supervisor.options import Options
from supervisor.perform import Performer
from supervisor.processes import Processes
from supervisor.questions import Questions
from supervisor.scheduler import invariants
from supervisor.scheduler.board import Board
from supervisor.scheduler.core import Core
from supervisor.worker_socket import WorkerSocket
from supervisor.workers import Workers

log = logging.getLogger("swapyard")
REVISION = 1


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
        self.started = clock.now()
        self.address = _url(sockets[0])
        self._directory = directory
        names = rules.names_of(settings)
        core = Core(rules.rules_of(settings), self.instance)
        self.board = core.board
        self.publisher = EventPublisher(self._endpoint("events"))
        events = EventsOut(self.board, self.publisher.publish)
        self.loop = Loop(core, _observers(self.board, events))
        self.processes = Processes(
            nursery,
            post=self.loop.post,
            spec=lambda model, generation: rules.launch_spec(settings.models[model], generation),
            on_lines=events.lines,
            guardian=guardian,
        )
        self.questions = Questions(
            self.instance,
            post=self.loop.post,
            resolve=names.get,
            status=self.status,
            logs=self.processes.logs,
            queue=lambda: status.queue(self.board),
            explain=lambda call: status.explained(self.board, call),
        )
        self.worker_socket = WorkerSocket(
            post=self.loop.post,
            resolve=names.get,
            upstream=lambda model: settings.models[model].proxy,
            questions=self.questions,
            revision=lambda: REVISION,
        )
        self.hub = self._worker_hub()
        self.worker_socket.send = self.hub.send
        self.control = ControlHub(self._endpoint("control"), on_question=self.questions.ask)
        self.workers = self._workers(sockets, options.log_level or settings.log_level)
        self.loop.perform = Performer(self.processes, self.worker_socket, self.questions)

    def _worker_hub(self) -> WorkerHub:
        return WorkerHub(
            self._endpoint("workers"),
            self.instance,
            welcome=lambda: rules.catalogue_of(self.settings, REVISION),
            on_message=self.worker_socket.received,
            # The workers are made right after the hub; nothing arrives before the sockets run.
            on_hello=lambda worker, slot, pid: self.workers.greeted(worker, slot, pid),  # noqa: PLW0108
            on_fault=lambda worker, pid, why: self.workers.faulty(worker, pid, why),  # noqa: PLW0108
        )

    def _workers(self, sockets: list[socket.socket], log_level: str) -> Workers:
        return Workers(
            sockets,
            endpoints=(self._endpoint("workers"), self._endpoint("events")),
            log_level=log_level,
            send=self.hub.send,
            forget=self.hub.forget,
            lost=self.worker_socket.lost,
        )

    def _endpoint(self, name: str) -> str:
        return runtime_dir.endpoint(self._directory, name)

    def status(self) -> StatusReply:
        """The whole, as ``swapctl status`` shows it."""
        rows = self.workers.statuses()
        return StatusReply(
            instance=self.instance,
            version=version("swapyard"),
            pid=os.getpid(),
            uptime=clock.now() - self.started,
            listen=self.address,
            revision=REVISION,
            models=status.model_statuses(self.board, self.settings, self.processes.pid),
            workers=status.with_counts(rows, self.board, self.workers.identity),
            starts=sum(model.starts for model in self.board.models.values()),
            swaps=sum(model.swaps for model in self.board.models.values()),
            shutting_down=self.board.closing,
        )


def _observers(board: Board, events: EventsOut) -> Sequence[Observer]:
    """Publishing, and in debug mode the invariants after every event."""
    if not log.isEnabledFor(logging.DEBUG):
        return (events.observe,)
    return (events.observe, lambda _, effects: invariants.check(board, effects))


def _url(listener: socket.socket) -> str:
    host, port = listener.getsockname()[:2]
    return f"http://{f'[{host}]' if ':' in host else host}:{port}"

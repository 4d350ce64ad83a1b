"""The supervisor process: takes over the configuration, opens the sockets, and runs the nursery tree.

``_serve`` is the table of contents of the program. Started by the guardian (``__main__.py``) as
``python -P -m supervisor.app``; ends with exit 0 after a drain, 1 when it could not start or lost its
guardian, 2 for a bad configuration, each with clear lines and no traceback.
"""

import logging
import os
import secrets
import signal
import socket
import sys
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path

import trio
from config.check import load
from protocol.control_hub import ControlHub
from protocol.events_link import EventPublisher
from protocol.worker_hub import WorkerHub

from config.types import Settings
from protocol import runtime_dir
from protocol.control import StatusReply
from protocol.errors import ProtocolError
from supervisor import clock, rules, status
from supervisor.events_out import EventsOut
from supervisor.guardian_link import GuardianLink
from supervisor.listen import CannotListen, listening
from supervisor.loop import Loop, Observer
from supervisor.options import Options, parse
from supervisor.perform import Performer
from supervisor.process.reaper import Reaper, kill_everything
from supervisor.processes import Processes
from supervisor.questions import Questions
from supervisor.rules import RulesRefused
from supervisor.scheduler import invariants
from supervisor.scheduler.core import Core
from supervisor.scheduler.state import Board
from supervisor.worker_socket import WorkerSocket
from supervisor.workers import Workers, WorkersDoNotStart

log = logging.getLogger("swapyard")
REVISION = 1


class GuardianGone(Exception):
    """The process that would clean up after us has died."""


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
        instance = secrets.token_hex(4)
        names = rules.names_of(settings)
        host, port = sockets[0].getsockname()[:2]
        self.address = f"http://{f'[{host}]' if ':' in host else host}:{port}"
        self.started = clock.now()
        self.instance = instance
        self.settings = settings
        core = Core(rules.rules_of(settings), instance)
        self.board = core.board
        self.publisher = EventPublisher(runtime_dir.endpoint(directory, "events"))
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
            instance, post=self.loop.post, resolve=names.get, status=self.status, logs=self.processes.logs
        )
        self.worker_socket = WorkerSocket(
            post=self.loop.post,
            resolve=names.get,
            upstream=lambda model: settings.models[model].proxy,
            questions=self.questions,
            revision=lambda: REVISION,
        )
        self.hub = WorkerHub(
            runtime_dir.endpoint(directory, "workers"),
            instance,
            welcome=lambda: rules.catalogue_of(settings, REVISION),
            on_message=self.worker_socket.received,
            # The workers exist a few lines below; nothing arrives before the sockets run.
            on_hello=lambda worker, slot, pid: self.workers.greeted(worker, slot, pid),  # noqa: PLW0108
            on_fault=lambda worker, pid, why: self.workers.faulty(worker, pid, why),  # noqa: PLW0108
        )
        self.worker_socket.send = self.hub.send
        self.control = ControlHub(runtime_dir.endpoint(directory, "control"), instance, on_question=self.questions.ask)
        self.workers = Workers(
            sockets,
            endpoints=(runtime_dir.endpoint(directory, "workers"), runtime_dir.endpoint(directory, "events")),
            log_level=options.log_level or settings.log_level,
            send=self.hub.send,
            forget=self.hub.forget,
            lost=self.worker_socket.lost,
        )
        self.loop.perform = Performer(self.processes, self.worker_socket, self.questions)

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


async def _serve(
    options: Options,
    settings: Settings,
    directory: Path,
    sockets: list[socket.socket],
    guardian: GuardianLink | None,
) -> None:
    """The nursery tree: sockets, timer, signals, workers, and the model processes among them."""
    async with trio.open_nursery() as nursery:
        app = App(options, settings, directory=directory, sockets=sockets, nursery=nursery, guardian=guardian)
        nursery.start_soon(Reaper().run)
        await nursery.start(app.publisher.run)
        await nursery.start(app.hub.run)
        await nursery.start(app.control.run)
        nursery.start_soon(app.loop.run_timer)
        await nursery.start(_obey_signals, app, options.grace, nursery)
        if guardian is not None:
            nursery.start_soon(_watch_guardian, guardian)
        nursery.start_soon(app.workers.run)
        await app.workers.wait_greeted()
        count = len(sockets)
        _say(f"swapyard listening on {app.address} ({count} worker{'s' if count > 1 else ''})")


async def _obey_signals(
    app: App, grace: float, nursery: trio.Nursery, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED
) -> None:
    """SIGTERM and SIGINT drain, a second one hurries; SIGHUP is noted."""
    with trio.open_signal_receiver(signal.SIGTERM, signal.SIGINT, signal.SIGHUP) as received:
        task_status.started()
        async for number in received:
            if number == signal.SIGHUP:
                log.warning("SIGHUP: this version does not reload; restart to take over a changed configuration")
                continue
            log.info("%s: ending within %g s", signal.Signals(number).name, grace)
            nursery.start_soon(_shut_down, app, grace, nursery.cancel_scope)
            grace = 0.0


async def _shut_down(app: App, grace: float, scope: trio.CancelScope) -> None:
    """Let exchanges end within ``grace`` seconds, stop all models, end the workers, then everything else."""
    ended = trio.Event()
    app.workers.drain(grace)
    app.questions.shut_down(grace, lambda _: ended.set())
    await ended.wait()
    with trio.move_on_after(WORKERS_LAST):
        await app.workers.wait_ended()
    app.workers.kill()
    scope.cancel()


WORKERS_LAST = 3.0
"""Seconds that workers get to end after the last exchange has."""


async def _watch_guardian(guardian: GuardianLink) -> None:
    """Without a guardian nobody would clean up after us: end everything now."""
    await guardian.wait_gone()
    log.error("the guardian process has died; stopping all models")
    await kill_everything(within=1.5)
    raise GuardianGone


def _say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def _log_to_stderr(level: str) -> None:
    logging.basicConfig(
        stream=sys.stderr, level=level.upper(), format="%(asctime)s %(levelname)-7s %(name)s: %(message)s"
    )


def main(arguments: list[str]) -> int:
    """Run the supervisor; the exit status."""
    options = parse(arguments)
    loaded = load(options.config)
    for problem in loaded.problems:
        if problem.severity != "notice":
            sys.stderr.write(f"{problem}\n")
    if loaded.settings is None:
        return 2
    _log_to_stderr(options.log_level or loaded.settings.log_level)
    try:
        directory = runtime_dir.prepare(runtime_dir.choose(options.runtime_dir))
        return _run(options, loaded.settings, directory)
    except (CannotListen, ProtocolError, RulesRefused) as error:
        sys.stderr.write(f"swapyard: {error}\n")
        return 1


def _run(options: Options, settings: Settings, directory: Path) -> int:
    guardian = GuardianLink.from_environment()
    stall = settings.gateway.client_stall_timeout
    exit_status = 0
    with listening(options.host, options.port, options.workers, stall) as sockets:
        try:
            trio.run(_serve, options, settings, directory, sockets, guardian, strict_exception_groups=True)
        except* WorkersDoNotStart as group:
            sys.stderr.write(f"swapyard: {group.exceptions[0]}\n")
            exit_status = 1
        except* GuardianGone:
            exit_status = 1
    return exit_status


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

"""The supervisor process: takes over the configuration, opens the sockets, and runs the nursery tree.

``_serve`` is the table of contents of the program. Started by the guardian (``__main__.py``) as
``python -P -m supervisor.app``; ends with exit 0 after a drain, 1 when it could not start or lost its
guardian, 2 for a bad configuration, each with clear lines and no traceback.
"""

import contextlib
import logging
import signal
import socket
import sys
from pathlib import Path

import trio

from config.check import Loaded, load
from config.types import Settings
from protocol import runtime_dir
from protocol.errors import ProtocolError
from supervisor.guardian_link import GuardianLink
from supervisor.listen import CannotListen, listening
from supervisor.options import Options, parse
from supervisor.process.reaper import collect_orphans, kill_everything
from supervisor.scheduler.configured import RulesRefused, rules_of
from supervisor.watch import watch
from supervisor.wiring import App
from supervisor.workers import WorkersDoNotStart

log = logging.getLogger("swapyard")


class GuardianGone(Exception):
    """The process that would clean up after us has died."""


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
        nursery.start_soon(collect_orphans)
        await nursery.start(app.publisher.run)
        await nursery.start(app.hub.run)
        await nursery.start(app.control.run)
        nursery.start_soon(app.loop.run_timer)
        nursery.start_soon(app.reload.run)
        if options.watch_config:
            await nursery.start(watch, options.sources, app.reload.trigger)
        await nursery.start(_obey_signals, app, options.grace, nursery)
        if guardian is not None:
            nursery.start_soon(_watch_guardian, app, guardian)
        nursery.start_soon(app.workers.run)
        await app.workers.wait_greeted()
        count = len(sockets)
        _say(f"swapyard listening on {app.address} ({count} worker{'s' if count > 1 else ''})")


async def _obey_signals(
    app: App, grace: float, nursery: trio.Nursery, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED
) -> None:
    """SIGTERM and SIGINT drain, a second one hurries; SIGHUP reloads."""
    with trio.open_signal_receiver(signal.SIGTERM, signal.SIGINT, signal.SIGHUP) as received:
        task_status.started()
        async for number in received:
            if number == signal.SIGHUP:
                app.reload.trigger()
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
    await app.recorder.finish(RECORDING_LAST)
    scope.cancel()


WORKERS_LAST = 3.0
"""Seconds that workers get to end after the last exchange has."""
RECORDING_LAST = 1.0
"""Seconds that the disk gets for the rest of a recording."""


async def _watch_guardian(app: App, guardian: GuardianLink) -> None:
    """Without a guardian nobody would clean up after us: end everything now. Stop commands get their time."""
    await guardian.wait_gone()
    log.error("the guardian process has died; stopping all models")
    guardian.mark_stopping()
    ended = trio.Event()
    app.questions.shut_down(0.0, lambda _: ended.set())
    await kill_everything(within=1.5, spare=app.processes.left_to_stop_commands)
    await ended.wait()
    await kill_everything(within=0.2)
    raise GuardianGone


def _say(line: str) -> None:
    # Whoever read our output may have gone; that is no reason to end.
    with contextlib.suppress(OSError):
        sys.stdout.write(line + "\n")
        sys.stdout.flush()


def _accepted(loaded: Loaded, settings: Settings) -> bool:
    """Do the policy and the eviction rule take their settings?"""
    try:
        rules_of(settings)
    except RulesRefused as refused:
        for problem in refused.problems:
            sys.stderr.write(f"{loaded.error(problem.path, problem.text)}\n")
        return False
    return True


def _log_to_stderr(level: str) -> None:
    logging.basicConfig(
        stream=sys.stderr, level=level.upper(), format="%(asctime)s %(levelname)-7s %(name)s: %(message)s"
    )


def main(arguments: list[str]) -> int:
    """Run the supervisor; the exit status."""
    options = parse(arguments)
    loaded = load(options.sources)
    for problem in loaded.problems:
        if problem.severity != "notice":
            sys.stderr.write(f"{problem}\n")
    if loaded.settings is None or not _accepted(loaded, loaded.settings):
        return 2
    _log_to_stderr(options.log_level or loaded.settings.log_level)
    try:
        directory = runtime_dir.prepare(runtime_dir.choose(options.runtime_dir))
        return _run(options, loaded.settings, directory)
    except (CannotListen, ProtocolError) as error:
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

"""The guardian: the process that the user starts. Parent of the supervisor, adoptive parent of all orphans.

Standard library only, so that it outlives every mistake of the rest. It holds the runtime directory, forwards
signals and the exit status, and when the supervisor has ended it runs the stop commands that are still due
and ends every descendant that is left. Mirror: ``guardian_link.py``. ``python -P -m supervisor <serve options>``.
"""

import contextlib
import json
import os
import select
import signal
import subprocess  # noqa: TID251 (the guardian has no third-party code, and must not depend on the supervisor's)
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path

from protocol import runtime_dir
from protocol.errors import RuntimeDirError
from supervisor.process.tree import adopt_orphans, descendants

FORWARDED = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
PATIENCE = 15.0
"""Seconds to wait for a former instance that is stopping its models."""
GENTLE = 0.7
"""Seconds between SIGTERM and SIGKILL for what the supervisor left behind."""
_TURN = 0.02
_MOST_LINE = 1 << 20


@dataclass
class Ward:
    """One generation with a stop command. ``pid`` is None before the supervisor said it."""

    cmd_stop: list[str]
    env: dict[str, str]
    grace: float
    pid: int | None = None


@dataclass
class Guardian:
    """``wards``: what the supervisor told us to stop with a command of its own."""

    lock: runtime_dir.Lock
    wards: dict[str, Ward] = field(default_factory=dict)
    rest: bytes = b""
    started: list[subprocess.Popen[bytes]] = field(default_factory=list)
    """Kept for ever: an object that is thrown away waits for its process, and would take the exit status."""

    def run(self, command: list[str]) -> int:
        """Start the supervisor, watch it to its end, clean up; the exit status."""
        waking, waked = os.pipe()
        os.set_blocking(waking, False)
        os.set_blocking(waked, False)
        signal.set_wakeup_fd(waked, warn_on_full_buffer=False)
        for number in (*FORWARDED, signal.SIGCHLD):
            signal.signal(number, lambda *_: None)
        alive_reading, _alive_writing = os.pipe()
        telling_reading, telling = os.pipe()
        child = self._start(command, alive_reading, telling)
        os.close(alive_reading)
        os.close(telling)
        status = self._watch(child, waking, telling_reading)
        self.read(telling_reading)
        self.clean_up()
        return _exit_status(status)

    def _start(self, command: list[str], alive: int, tell: int) -> int:
        fds = {"SWAPYARD_GUARDIAN_ALIVE": alive, "SWAPYARD_GUARDIAN_TELL": tell, "SWAPYARD_LOCK_FD": self.lock.fd}
        env = os.environ | {name: str(fd) for name, fd in fds.items()}
        # A session of its own: Ctrl-C reaches the supervisor once, through us.
        self.started.append(subprocess.Popen(command, env=env, pass_fds=tuple(fds.values()), start_new_session=True))
        return self.started[-1].pid

    def _watch(self, child: int, waking: int, tell: int) -> int:
        """Until the supervisor has ended; its wait status."""
        sources = [waking, tell]
        while True:
            readable, _, _ = select.select(sources, [], [])
            if tell in readable and not self.read(tell):
                sources.remove(tell)
            if waking in readable:
                for number in os.read(waking, 4096):
                    if number != signal.SIGCHLD:
                        _signal(child, signal.Signals(number))
            status = _reap(child)
            if status is not None:
                return status

    def read(self, tell: int) -> bool:
        """Take in what the supervisor has said; False at the end."""
        os.set_blocking(tell, False)
        while True:
            try:
                data = os.read(tell, 65536)
            except BlockingIOError:
                return True
            if not data:
                return False
            *lines, self.rest = (self.rest + data).split(b"\n")
            self.rest = self.rest[-_MOST_LINE:]
            for line in lines:
                self._take(line)

    def _take(self, line: bytes) -> None:
        try:
            said = json.loads(line)
            key = said["key"]
            match said["event"]:
                case "announce":
                    self.wards[key] = Ward(said["cmd_stop"], said["env"], said["grace"])
                case "started" if key in self.wards:
                    self.wards[key].pid = said["pid"]
                case "ended":
                    self.wards.pop(key, None)
        except (ValueError, KeyError, TypeError):
            _say("the guardian did not understand its supervisor; please report this")

    def clean_up(self) -> None:
        """Run the stop commands that are due, end everything else, until no descendant is left."""
        if not self.wards and not descendants(os.getpid()):
            return
        self.lock.mark(runtime_dir.STOPPING)
        now = time.monotonic()
        stoppers = [self._run(ward) for ward in self.wards.values()]
        latest = now + max((ward.grace for ward in self.wards.values()), default=0.0)
        terminated: set[int] = set()
        while True:
            _reap(None)
            spared = self._spared(stoppers) if time.monotonic() < latest else set()
            left = descendants(os.getpid()) - spared
            if not left and not spared:
                return
            harsh = time.monotonic() > now + GENTLE
            for pid in left if harsh else left - terminated:
                _signal(pid, signal.SIGKILL if harsh else signal.SIGTERM)
            terminated |= left
            select.select([], [], [], _TURN)

    def _run(self, ward: Ward) -> int | None:
        """Start one stop command; its pid."""
        argv = [word.replace("${PID}", str(ward.pid or 0)) for word in ward.cmd_stop]
        try:
            stopper = subprocess.Popen(
                argv,
                env=os.environ | ward.env,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                start_new_session=True,
            )
        except OSError as error:
            _say(f"cmdStop {argv[0]!r} did not start: {error.strerror}")
            return None
        self.started.append(stopper)
        return stopper.pid

    def _spared(self, stoppers: list[int | None]) -> set[int]:
        """Processes that a stop command is still to end, and the commands themselves."""
        roots = {ward.pid for ward in self.wards.values() if ward.pid is not None} | {pid for pid in stoppers if pid}
        alive = descendants(os.getpid())
        return {pid for root in roots & alive for pid in (root, *descendants(root))}


def _reap(child: int | None) -> int | None:
    """Collect every ended child; the wait status of ``child`` if it was among them."""
    found = None
    while True:
        try:
            pid, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return found
        if pid == 0:
            return found
        if pid == child:
            found = status


def _signal(pid: int, number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.kill(pid, number)  # noqa: TID251 (the guardian is the exception)


def _exit_status(status: int) -> int:
    code = os.waitstatus_to_exitcode(status)
    if code < 0:
        _say(f"the supervisor was killed by {signal.Signals(-code).name}; everything it ran has been ended")
        return 1
    return code


def _say(text: str) -> None:
    sys.stderr.write(f"swapyard: {text}\n")
    sys.stderr.flush()


def _runtime_dir(arguments: list[str]) -> Path | None:
    """The one option that the guardian needs itself."""
    for position, word in enumerate(arguments):
        if word == "--runtime-dir" and position + 1 < len(arguments):
            return Path(arguments[position + 1])
        if word.startswith("--runtime-dir="):
            return Path(word.partition("=")[2])
    return None


def main(arguments: list[str]) -> int:
    """Guard ``python -P -m supervisor.app`` with these arguments."""
    if sys.platform == "win32":
        _say("Windows is not supported; use Linux, or WSL")
        return 1
    if not adopt_orphans():
        _say("on this system, processes that a model server leaves behind are not found after a crash")
    try:
        path = runtime_dir.prepare(runtime_dir.choose(_runtime_dir(arguments)))
        lock = runtime_dir.Lock.acquire(path, patience=PATIENCE, say=_say)
    except RuntimeDirError as error:
        _say(str(error))
        return 1
    return Guardian(lock).run([sys.executable, "-P", "-m", "supervisor.app", *arguments])


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

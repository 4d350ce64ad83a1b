"""Processes that the benchmark starts: each on a core, with a log, ended when its block ends."""

import os
import socket
import subprocess  # noqa: TID251 (a developer's tool: proxies to compare with, started as their users start them)
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tools.dev.bench.problems import CannotMeasure

START_WITHIN = 60.0
END_WITHIN = 40.0
"""Seconds; swapyard gives running requests 30."""
LOOK_EVERY = 0.02


@dataclass(frozen=True, slots=True)
class Cores:
    """Where the proxy runs, and where load and upstream run; the same one if there is one only."""

    proxy: int
    load: int

    @classmethod
    def found(cls) -> "Cores":
        """The first two that this process may use."""
        usable = sorted(os.sched_getaffinity(0))
        return cls(usable[0], usable[min(1, len(usable) - 1)])

    @property
    def alone(self) -> bool:
        """Is there one core for everything?"""
        return self.proxy == self.load


@dataclass(frozen=True, slots=True)
class Started:
    """A process, and where it writes what it has to say."""

    process: subprocess.Popen[str]
    log: Path

    @property
    def pid(self) -> int:
        """Of the process that was started."""
        return self.process.pid

    def last_words(self) -> str:
        """The last line that it wrote; for people."""
        lines = self.log.read_text(errors="replace").strip().splitlines()
        return lines[-1] if lines else f"exit status {self.process.returncode}, without a word"


@contextmanager
def started(
    argv: Sequence[str], core: int, log: Path, *, env: Mapping[str, str] | None = None, speaks: bool = True
) -> Iterator[Started]:
    """Run it on a core; what it writes goes to the log, but for the stdout of one that ``speaks`` (to ``said``).

    Ended by SIGTERM, then SIGKILL.
    """
    with log.open("w") as sink, on_core(core):
        process = subprocess.Popen(
            argv,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE if speaks else sink,
            stderr=sink,
            text=True,
            env={**os.environ, "GOMAXPROCS": "1", **(env or {})},
        )
    try:
        yield Started(process, log)
    finally:
        process.terminate()
        try:
            process.wait(END_WITHIN)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        if process.stdout is not None:
            process.stdout.close()


@contextmanager
def on_core(core: int) -> Iterator[None]:
    """What starts in here runs on that core."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {core})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def move(pid: int, core: int) -> None:
    """Put a process that somebody else started on a core, with all its threads."""
    for thread in Path(f"/proc/{pid}/task").iterdir():
        os.sched_setaffinity(int(thread.name), {core})


def said(it: Started, beginning: str, within: float = START_WITHIN) -> str:
    """The rest of the first line of its stdout that begins so, if that comes within so many seconds."""
    assert it.process.stdout is not None
    patience = threading.Timer(within, it.process.kill)
    patience.start()
    try:
        for line in it.process.stdout:
            if line.startswith(beginning):
                return line.removeprefix(beginning).strip()
        it.process.wait()
        raise CannotMeasure(it.last_words())
    finally:
        patience.cancel()


def wait_listening(it: Started, port: int) -> None:
    """Until it accepts connections."""
    for _ in range(int(START_WITHIN / LOOK_EVERY)):
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        try:
            it.process.wait(LOOK_EVERY)
        except subprocess.TimeoutExpired:
            continue
        raise CannotMeasure(it.last_words())
    raise CannotMeasure(f"it did not listen within {START_WITHIN:g} s: {it.last_words()}")


def free_port() -> int:
    """A port that nobody has now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])

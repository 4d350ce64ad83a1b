"""A whole swapyard for end-to-end tests: the real command, real processes, a runtime directory of its own.

``yard(config)`` starts it with a file, or with a folder of files, waits for its "listening" line, and at the end makes
sure that it stops with exit 0 and leaves no process behind. Every process of a yard carries ``SWAPYARD_TEST=<mark>`` in
its environment, so leftovers are found wherever they were re-parented.
"""

import os
import secrets
import signal
import socket
import subprocess  # noqa: TID251 (tests start the program as a user does)
import sys
import tempfile
from collections.abc import AsyncIterator, Mapping
from contextlib import ExitStack, asynccontextmanager
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any

import trio

from protocol import runtime_dir
from protocol.control import ModelStatus, Reply, Status, StatusReply, Verb
from protocol.control_link import open_control
from tests.support.http import Answer, ask

ROOT = Path(__file__).parents[2]
MODEL_SERVER = ROOT / "tests" / "support" / "model_server.py"
PATIENCE = 30.0
"""Seconds that a wait for a condition may take before the test fails."""


def fake(*options: str) -> str:
    """The command of a reporting model server with these options."""
    return " ".join([sys.executable, str(MODEL_SERVER), "--port", "${PORT}", *options])


def marked(mark: str) -> set[int]:
    """Pids of all processes (zombies excepted) that carry the mark of a yard."""
    needle = f"SWAPYARD_TEST={mark}".encode()
    found = set()
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                if needle in (entry / "environ").read_bytes():
                    found.add(int(entry.name))
            except OSError:
                continue
    return found


def free_ports(many: int = 8) -> int:
    """The first of so many consecutive free ports, below the range that the system hands out itself.

    Each test process has a block of its own, so that several test runs do not get in each other's way.
    """
    for turn in _TURNS:
        first = 10_000 + os.getpid() % 200 * 100 + turn % 10 * 10
        with ExitStack() as stack:
            try:
                for port in range(first, first + many):
                    stack.enter_context(socket.socket()).bind(("127.0.0.1", port))
            except OSError:
                continue
        return first
    raise AssertionError("there is no end to the turns")


_TURNS = count(1)


async def wait_gone(mark: str, within: float) -> set[int]:
    """Wait until no marked process is left; what is left after ``within`` seconds."""
    with trio.move_on_after(within):
        while marked(mark):
            await trio.sleep(0.02)
    return marked(mark)


@dataclass
class Yard:
    """A running swapyard. ``lines``: what it printed on stdout."""

    process: trio.Process
    mark: str
    directory: Path
    port: int = 0
    lines: list[str] = field(default_factory=list)
    stderr: Path = Path()
    config: Path = Path()
    """The file, or the folder of files."""
    ports: str = ""
    """The line that gives this yard ports of its own."""

    def rewrite(self, text: str) -> None:
        """Another configuration, with the same ports."""
        self.config.write_text(self.ports + text)

    async def ask(self, method: str, path: str, body: Any = None, headers: dict[str, str] | None = None) -> Answer:
        """One request on a connection of its own."""
        return await ask(self.port, method, path, body, headers)

    async def chat(self, model: str, text: str = "hello", **more: Any) -> Answer:
        """One chat completion."""
        body = {"model": model, "messages": [{"role": "user", "content": text}], **more}
        return await self.ask("POST", "/v1/chat/completions", body)

    async def control(self, verb: Verb) -> Reply:
        """One question to the control socket."""
        async with open_control(self.directory) as link:
            return await link.ask(verb, timeout=PATIENCE)

    async def status(self) -> StatusReply:
        """The state of the whole."""
        reply = await self.control(Status())
        assert isinstance(reply, StatusReply)
        return reply

    async def model(self, name: str) -> ModelStatus:
        """The state of one model."""
        return next(row for row in (await self.status()).models if row.id == name)

    async def wait_model(self, name: str, condition: Any) -> ModelStatus:
        """Poll until ``condition(row)`` holds."""
        with trio.fail_after(PATIENCE):
            while not condition(row := await self.model(name)):
                await trio.sleep(0.02)
        return row

    async def seen(self, name: str) -> Any:
        """What a reporting model server has seen so far."""
        upstream = (await self.model(name)).upstream
        return (await ask(int(upstream.rsplit(":", 1)[1]), "GET", "/seen")).json

    def supervisor_pid(self) -> int:
        """The pid of the supervisor: the guardian's child."""
        children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children")
        if children.exists():
            return int(children.read_text().split()[0])
        (pid,) = [pid for pid in marked(self.mark) if _parent(pid) == self.process.pid]
        return pid

    def log(self) -> str:
        """What it wrote to stderr so far."""
        return self.stderr.read_text()


def _parent(pid: int) -> int:
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])


@asynccontextmanager
async def yard(
    config: str | Mapping[str, str],
    *arguments: str,
    exit_status: int | None = 0,
    mark: str | None = None,
    directory: Path | None = None,
) -> AsyncIterator[Yard]:
    """Start with this configuration; on leaving send SIGTERM, unless it has ended, and check the exit status.

    Several texts are files of a folder, by their names.
    """
    mark = mark or secrets.token_hex(8)
    with tempfile.TemporaryDirectory(prefix="yard-") as scratch:
        base = Path(scratch)
        ports = "" if "startPort" in str(config) else f"startPort: {free_ports()}\n"
        source = _written(base, config, ports)
        place = directory or base / "run"
        stderr = base / "stderr"
        option = "--config-dir" if source.is_dir() else "--config"
        command = [sys.executable, "-P", "-m", "tools.cli", "serve", option, str(source)]
        command += ["--listen", "127.0.0.1:0", "--runtime-dir", str(place), *arguments]
        with stderr.open("wb") as sink:
            process = await trio.lowlevel.open_process(  # noqa: TID251 (tests start the program as a user does)
                command,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=sink,
                env={**os.environ, "SWAPYARD_TEST": mark},
                cwd=base,
            )
        found = Yard(process, mark, place, stderr=stderr, config=source, ports=ports)
        try:
            async with trio.open_nursery() as nursery:
                await nursery.start(_read_lines, found)
                yield found
                with trio.fail_after(PATIENCE + 30):
                    if process.poll() is None:
                        process.send_signal(signal.SIGTERM)
                    status = await process.wait()
                nursery.cancel_scope.cancel()
            assert exit_status is None or status == exit_status, f"exit {status}\n{found.log()}"
            left = await wait_gone(mark, 3.0)
            assert not left, f"left behind: {left}\n{found.log()}"
        except BaseException:
            sys.stderr.write(f"--- what the yard wrote ---\n{stderr.read_text()[-8000:]}\n")
            raise
        finally:
            if process.stdout is not None:
                await trio.aclose_forcefully(process.stdout)
            for pid in marked(mark):
                os.kill(pid, signal.SIGKILL)  # noqa: TID251 (nothing of a failed test may live on)


def _written(base: Path, config: str | Mapping[str, str], ports: str) -> Path:
    """The file or folder with this configuration."""
    if isinstance(config, str):
        (base / "config.yaml").write_text(ports + config)
        return base / "config.yaml"
    folder = base / "conf.d"
    folder.mkdir()
    for name, text in {"ports.yaml": ports, **config}.items():
        (folder / name).write_text(text)
    return folder


async def _read_lines(found: Yard, *, task_status: trio.TaskStatus[None]) -> None:
    rest = b""
    assert found.process.stdout is not None
    while chunk := await _some(found):
        *lines, rest = (rest + chunk).split(b"\n")
        for line in lines:
            found.lines.append(line.decode())
            if found.lines[-1].startswith("swapyard listening on "):
                found.port = int(found.lines[-1].split(" (")[0].rsplit(":", 1)[1])
                task_status.started()
    if not found.port:
        raise AssertionError(f"it ended before it listened:\n{found.log()}")


async def _some(found: Yard) -> bytes:
    assert found.process.stdout is not None
    with trio.fail_after(PATIENCE) if not found.port else trio.CancelScope():
        return bytes(await found.process.stdout.receive_some())


def runtime_endpoint(found: Yard, name: str) -> str:
    """The address of one of its sockets."""
    return runtime_dir.endpoint(found.directory, name)

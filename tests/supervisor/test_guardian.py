"""The guardian around a small stand-in for the supervisor: exit status, signals, stop commands, leftovers."""

import json
import os
import signal
import subprocess  # noqa: TID251 (the guardian is run as a user runs it)
import sys
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trio

from tests.support.yard import marked, wait_gone

GUARD = """
import sys
from pathlib import Path
from protocol.runtime_dir import Lock
from supervisor.__main__ import Guardian
from supervisor.process.tree import adopt_orphans
adopt_orphans()
lock = Lock.acquire(Path(sys.argv[1]), patience=0, say=print)
sys.exit(Guardian(lock).run([sys.executable, "-c", sys.argv[2]]))
"""
SLEEPER = "import time; time.sleep(600)"


@asynccontextmanager
async def guarded(script: str) -> AsyncIterator[tuple[trio.Process, str, Path]]:
    """A guardian whose supervisor is this script; process, mark and directory."""
    mark = os.urandom(8).hex()
    with tempfile.TemporaryDirectory() as directory:
        process = await trio.lowlevel.open_process(  # noqa: TID251 (as above)
            [sys.executable, "-P", "-c", GUARD, directory, script],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env={**os.environ, "SWAPYARD_TEST": mark},
        )
        try:
            yield process, mark, Path(directory)
            left = await wait_gone(mark, 5)
            assert not left
        finally:
            for stream in (process.stdout, process.stderr):
                assert stream is not None
                await trio.aclose_forcefully(stream)
            for pid in marked(mark):
                os.kill(pid, signal.SIGKILL)  # noqa: TID251 (nothing of a failed test may live on)
            await process.wait()


async def first_line(process: trio.Process) -> str:
    assert process.stdout is not None
    data = b""
    with trio.fail_after(20):
        while not data.endswith(b"\n"):
            data += await process.stdout.receive_some()
    return data.decode().strip()


async def exit_status(process: trio.Process) -> int:
    with trio.fail_after(20):
        return await process.wait()


@pytest.mark.parametrize("status", [0, 2])
async def test_the_exit_status_is_passed_on(status: int) -> None:
    async with guarded(f"import sys; sys.exit({status})") as (process, _, _):
        assert await exit_status(process) == status


async def test_a_killed_supervisor_is_an_exit_status_and_a_line() -> None:
    async with guarded("import os; os.kill(os.getpid(), 9)") as (process, _, _):
        assert await exit_status(process) == 1
        assert process.stderr is not None
        said = b""
        with trio.fail_after(20):
            while chunk := await process.stderr.receive_some():
                said += chunk
        assert b"killed by SIGKILL" in said


async def test_signals_are_passed_on() -> None:
    script = (
        "import signal, sys\n"
        "got = []\n"
        "for s in (signal.SIGHUP, signal.SIGTERM): signal.signal(s, lambda n, f: got.append(n))\n"
        "print('up', flush=True)\n"
        "while len(got) < 1: signal.pause()\n"
        "print(got[0], flush=True)\n"
        "while len(got) < 2: signal.pause()\n"
        "sys.exit(got[1])\n"
    )
    async with guarded(script) as (process, _, _):
        assert await first_line(process) == "up"
        process.send_signal(signal.SIGHUP)
        assert await first_line(process) == "1"
        process.send_signal(signal.SIGTERM)
        assert await exit_status(process) == 15


async def test_whatever_a_dead_supervisor_left_is_ended_in_other_sessions_too() -> None:
    stubborn = f"import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); {SLEEPER}"
    script = (
        "import subprocess, sys, os\n"
        f"for code in ({SLEEPER!r}, {stubborn!r}):\n"
        "    subprocess.Popen([sys.executable, '-c', code], start_new_session=True)\n"
        "subprocess.run(['sh', '-c', 'setsid sleep 600 &'])\n"
        "print('up', flush=True)\n"
        "os.kill(os.getpid(), 9)\n"
    )
    async with guarded(script) as (process, mark, _):
        assert await first_line(process) == "up"
        assert await wait_gone(mark, 2.0) == set()
        assert await exit_status(process) == 1


async def test_a_stop_command_that_is_due_runs_at_once_and_gets_its_time(tmp_path: Path) -> None:
    """The container of a model: its client process goes on until the stop command has done its work."""
    proof = tmp_path / "proof"
    stop = ["sh", "-c", f"echo began > {proof}; sleep 1.5; echo ${{PID}} >> {proof}; kill ${{PID}}"]
    told = json.dumps({"event": "announce", "key": "1/m", "cmd_stop": stop, "env": {"X": "1"}, "grace": 10})
    script = (
        "import subprocess, sys, os, json\n"
        "tell = int(os.environ['SWAPYARD_GUARDIAN_TELL'])\n"
        f"os.write(tell, {told!r}.encode() + b'\\n')\n"
        f"model = subprocess.Popen([sys.executable, '-c', {SLEEPER!r}], start_new_session=True)\n"
        "os.write(tell, json.dumps({'event': 'started', 'key': '1/m', 'pid': model.pid}).encode() + b'\\n')\n"
        "print(model.pid, flush=True)\n"
        "os.kill(os.getpid(), 9)\n"
    )
    async with guarded(script) as (process, _, directory):
        pid = await first_line(process)
        with trio.fail_after(5):
            while not proof.exists() or not proof.read_text():
                await trio.sleep(0.01)
        assert (directory / "lock").read_text().split() == [str(process.pid), "stopping"]
        assert await exit_status(process) == 1
        assert proof.read_text().split() == ["began", pid]


async def test_the_supervisor_notices_the_death_of_the_guardian() -> None:
    script = "import os\nprint('up', flush=True)\nos.read(int(os.environ['SWAPYARD_GUARDIAN_ALIVE']), 1)\n"
    async with guarded(script) as (process, mark, _):
        assert await first_line(process) == "up"
        process.kill()
        assert await wait_gone(mark, 2.0) == set()

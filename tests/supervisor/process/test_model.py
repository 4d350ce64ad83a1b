"""One model process, from its spawn to its exit, with real processes."""

import os
import signal
import socket
import sys
from pathlib import Path
from typing import Any

import pytest
import trio

from protocol.ids import ModelId
from supervisor.process import tree
from supervisor.process.model import LaunchSpec, ModelProcess
from supervisor.process.output import OutputRing
from supervisor.scheduler.events import Event, ModelExited, ModelReady, ModelStartFailed, StopOverdue
from tests.support.yard import MODEL_SERVER, free_ports

M = ModelId("m")
LIMIT = 20.0


class Life:
    """A model process and what it reported."""

    def __init__(self, *options: str, argv: tuple[str, ...] | None = None, **spec: Any) -> None:
        port = free_ports(1)
        command = (sys.executable, str(MODEL_SERVER), "--port", str(port), *options)
        made: dict[str, Any] = {
            "env": (),
            "cmd_stop": None,
            "upstream": f"http://127.0.0.1:{port}",
            "check_endpoint": "/health",
            "start_timeout": 15.0,
            "stop_grace": 5.0,
        }
        self.spec = LaunchSpec(model=M, generation=1, argv=argv or command, **{**made, **spec})
        self.events: list[Event] = []
        self.came = trio.Event()
        self.output = OutputRing(lambda first, lines: None)
        self.process = ModelProcess(self.spec, post=self.post, output=self.output, guardian=None)

    def post(self, event: Event) -> None:
        self.events.append(event)
        self.came.set()
        self.came = trio.Event()

    async def wait(self, kind: type) -> Any:
        with trio.fail_after(LIMIT):
            while not any(isinstance(event, kind) for event in self.events):
                await self.came.wait()
        return next(event for event in self.events if isinstance(event, kind))

    async def run_to_the_end(self) -> str:
        """The reason of the one and last exit."""
        with trio.fail_after(LIMIT):
            await self.process.run()
        return self.reason()

    def reason(self) -> str:
        exits = [event for event in self.events if isinstance(event, ModelExited)]
        assert len(exits) == 1
        assert self.events[-1] is exits[0]
        return exits[0].reason


async def test_it_becomes_ready_and_stops_when_asked() -> None:
    life = Life()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(life.process.run)
        await life.wait(ModelReady)
        assert life.process.pid is not None
        life.process.stop()
        life.process.stop()
        await life.wait(ModelExited)
    assert life.reason() == "exited with status 0"
    assert any("listens on" in line for line in life.output.snapshot()[1])


async def test_one_that_exits_at_once_says_with_what() -> None:
    assert await Life("--exit-at-start", "3").run_to_the_end() == "exited with status 3 before it was ready"


async def test_one_that_does_not_exist_is_named_without_its_path() -> None:
    life = Life(argv=("/nowhere/at/all/llama", "--secret"))
    assert await life.run_to_the_end() == "there is no program 'llama'"
    assert isinstance(life.events[0], ModelStartFailed)


async def test_one_that_may_not_be_run(tmp_path: Path) -> None:
    (tmp_path / "data").write_text("x")
    assert await Life(argv=(str(tmp_path / "data"),)).run_to_the_end() == "the program 'data' may not be run"


@pytest.mark.parametrize("how", ["--never-ready", "--hang-health"])
async def test_one_that_never_answers_its_probe_fails_to_start_and_is_ended(how: str) -> None:
    life = Life(how, start_timeout=0.5)
    # How it takes SIGTERM depends on how far it has come by then.
    assert (await life.run_to_the_end()).endswith(" before it was ready")
    failed = life.events[0]
    assert isinstance(failed, ModelStartFailed)
    assert failed.reason == f"did not answer GET {life.spec.upstream}/health with 200 within 0.5 s"


@pytest.mark.rule("C6.6")
async def test_one_that_needs_no_check_is_ready_at_once() -> None:
    life = Life("--never-ready", check_endpoint=None)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(life.process.run)
        await life.wait(ModelReady)
        life.process.stop()


async def test_a_taken_port_refuses_the_spawn_and_names_the_holder() -> None:
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        holder.listen()
        port = holder.getsockname()[1]
        life = Life(upstream=f"http://127.0.0.1:{port}")
        reason = await life.run_to_the_end()
    assert reason == f"port {port} is already taken (pid {os.getpid()}, {Path('/proc/self/comm').read_text().strip()})"
    assert life.output.snapshot()[1] == []


async def test_one_that_ignores_sigterm_is_killed_after_its_grace() -> None:
    life = Life("--ignore-sigterm", stop_grace=0.3)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(life.process.run)
        await life.wait(ModelReady)
        life.process.stop()
        with trio.fail_after(5):
            await life.wait(ModelExited)
    assert life.reason() == "was killed by SIGKILL"
    assert not any(isinstance(event, StopOverdue) for event in life.events)


async def test_a_stop_before_the_spawn_has_returned_is_obeyed() -> None:
    life = Life()
    life.process.stop()
    assert await life.run_to_the_end() == "was stopped before it was started"


async def test_a_start_that_fails_although_it_is_to_stop_exits_once() -> None:
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        holder.listen()
        life = Life(upstream=f"http://127.0.0.1:{holder.getsockname()[1]}")
        life.process.stop()
        await life.run_to_the_end()
    assert [type(event) for event in life.events] == [ModelStartFailed, ModelExited]


async def test_a_stop_during_the_load_ends_it() -> None:
    life = Life("--never-ready")
    async with trio.open_nursery() as nursery:
        nursery.start_soon(life.process.run)
        with trio.fail_after(LIMIT):
            while not any("listens" in line for line in life.output.snapshot()[1]):
                await trio.sleep(0.01)
        life.process.stop()
        await life.wait(ModelExited)
    assert not any(isinstance(event, ModelStartFailed) for event in life.events)


async def test_a_cancelled_task_leaves_no_process_and_still_reports_the_exit() -> None:
    life = Life("--ignore-sigterm", stop_grace=0.2)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(life.process.run)
        await life.wait(ModelReady)
        pid = life.process.pid
        nursery.cancel_scope.cancel()
    assert life.reason() == "was cancelled"
    assert pid not in tree.descendants(os.getpid())


async def test_a_crash_ends_the_helpers_of_the_same_group() -> None:
    script = "import subprocess, sys, time; subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)'])"
    life = Life(argv=(sys.executable, "-c", f"{script}; sys.exit(7)"), check_endpoint="/health")
    assert await life.run_to_the_end() == "exited with status 7 before it was ready"
    left = [pid for pid in tree.descendants(os.getpid()) if b"time.sleep(600)" in command_of(pid)]
    assert left == []


def command_of(pid: int) -> bytes:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return b""


async def test_a_pipe_that_a_stranger_keeps_open_does_not_hold_the_exit() -> None:
    script = (
        "import subprocess, sys; print('pid', subprocess.Popen([sys.executable, '-c', "
        "'import time; time.sleep(600)'], start_new_session=True).pid, flush=True)"
    )
    life = Life(argv=(sys.executable, "-c", script))
    await life.run_to_the_end()
    pid = next(int(line.split()[1]) for line in life.output.snapshot()[1] if line.startswith("pid "))
    os.kill(pid, signal.SIGKILL)  # noqa: TID251 (made by this test)


async def test_a_flood_of_output_is_drained_and_bounded() -> None:
    script = "import sys\nfor n in range(200000): print('line', n)\nsys.exit(4)"
    life = Life(argv=(sys.executable, "-c", script))
    assert await life.run_to_the_end() == "exited with status 4 before it was ready"
    first, lines = life.output.snapshot()
    assert lines[-2:] == ["line 199999", "--- m: exited with status 4"]
    assert first + len(lines) - 1 >= 200000


async def stopped_by(*command: str, options: tuple[str, ...] = (), grace: float = 3.0) -> tuple[str, float]:
    """The reason and the seconds of a stop with this stop command."""
    life = Life(*options, cmd_stop=command, stop_grace=grace)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(life.process.run)
        await life.wait(ModelReady)
        begun = trio.current_time()
        life.process.stop()
        await life.wait(ModelExited)
    return life.reason(), trio.current_time() - begun


@pytest.mark.rule("C4.3.8", "C6.2")
async def test_a_stop_command_gets_the_pid_and_is_enough() -> None:
    reason, _ = await stopped_by("sh", "-c", "kill -9 ${PID}")
    assert reason == "was killed by SIGKILL"


async def test_a_stop_command_that_fails_or_does_not_exist_falls_back_to_the_signal() -> None:
    assert (await stopped_by("false"))[0] == "exited with status 0"
    assert (await stopped_by("no-such-program"))[0] == "exited with status 0"


async def test_a_stop_command_that_hangs_is_cut_off_and_the_signal_follows() -> None:
    reason, seconds = await stopped_by("sleep", "600", grace=0.3)
    assert reason == "exited with status 0"
    assert 0.3 <= seconds < 10


async def test_a_stop_command_that_does_nothing_for_a_stubborn_model_is_bounded() -> None:
    reason, seconds = await stopped_by("true", options=("--ignore-sigterm",), grace=0.3)
    assert reason == "was killed by SIGKILL"
    assert seconds < 10


async def test_the_environment_is_ours_and_the_models_without_our_own_names(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", "/ours")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3")
    script = "import os; print(sorted(k for k in os.environ if k in ('PYTHONPATH', 'VIRTUAL_ENV', 'X')), "
    script += "os.environ['CUDA_VISIBLE_DEVICES'], os.environ['X'])"
    life = Life(argv=(sys.executable, "-c", script), env=(("X", "1"), ("X", "2")))
    await life.run_to_the_end()
    assert life.output.snapshot()[1][1:-1] == ["['X'] 3 2"]

"""The two commands as a user runs them, mistakes included."""

import json
import socket
import subprocess  # noqa: TID251 (the commands are run as a user runs them)
import sys
from pathlib import Path

import pytest
import trio

from tests.support.yard import PATIENCE, fake, yard

CONFIG = f"models: {{one: {{cmd: '{fake('--name one')}', aliases: [uno]}}, two: {{cmd: '{fake('--name two')}'}}}}"


async def run(module: str, *arguments: str, cwd: Path | None = None) -> subprocess.CompletedProcess[bytes]:
    """A command to its end."""
    command = [sys.executable, "-P", "-m", module, *arguments]
    with trio.fail_after(PATIENCE):
        return await trio.run_process(  # noqa: TID251
            command, capture_stdout=True, capture_stderr=True, check=False, cwd=cwd
        )


@pytest.mark.rule("C1.1", "C1.8")
@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("sevre",), "did you mean 'serve'?"),
        (("serve",), "--config FILE, --config-dir FOLDER, or both"),
        (("serve", "--config", "x", "--listen", "nowhere"), "expected [HOST]:PORT"),
        (("serve", "--config", "x", "--workers", "0"), "expected 1 to 64"),
        (("serve", "--config", "x", "-tls-cert-file=x"), "name it with --tls-key-file"),
        (("serve", "--config-dir"), "expected one argument"),
        (("serve", "--confg", "x"), "--config"),
        (("check",), "--config FILE, --config-dir FOLDER, or both"),
    ],
)
async def test_a_bad_command_line_is_exit_2_without_a_traceback(arguments: tuple[str, ...], words: str) -> None:
    done = await run("tools.cli", *arguments)
    assert done.returncode == 2
    assert words in done.stderr.decode()
    assert "Traceback" not in done.stderr.decode()


@pytest.mark.rule("C1.6")
async def test_version_and_help() -> None:
    assert (await run("tools.cli", "--version")).stdout.startswith(b"swapyard 0.")
    assert b"serve --config FILE" in (await run("tools.cli", "--help")).stdout


async def test_check_tells_valid_from_not_and_strict_from_lenient(tmp_path: Path) -> None:
    (tmp_path / "c.yaml").write_text(CONFIG + "\nmodles: {}\n")
    done = await run("tools.cli", "check", "-config", "c.yaml", cwd=tmp_path)
    assert (done.returncode, done.stdout.decode()) == (0, "c.yaml: valid, 2 models\n")
    assert done.stderr.decode() == "c.yaml:2:1: warning: modles: there is no such key; did you mean 'models'?\n"
    assert (await run("tools.cli", "check", "--config", "c.yaml", "--strict", cwd=tmp_path)).returncode == 2
    done = await run("tools.cli", "check", "--config", "c.yaml", "-o", "json", cwd=tmp_path)
    said = json.loads(done.stdout)
    assert (said["valid"], said["problems"][0]["line"]) == (True, 2)


async def test_check_takes_a_folder_beside_the_file_or_alone(tmp_path: Path) -> None:
    (tmp_path / "c.yaml").write_text("startPort: 7000\n")
    (tmp_path / "conf.d").mkdir()
    (tmp_path / "conf.d" / "m.yaml").write_text(CONFIG + "\nmodles: {}\n")
    warning = "conf.d/m.yaml:2:1: warning: modles: there is no such key; did you mean 'models'?\n"
    for option in ("--config-dir", "-config-dir"):
        done = await run("tools.cli", "check", "--config", "c.yaml", option, "conf.d", cwd=tmp_path)
        assert (done.returncode, done.stdout.decode()) == (0, "c.yaml and conf.d: valid, 2 models\n")
        assert done.stderr.decode() == warning
    done = await run("tools.cli", "check", "--config-dir=conf.d", "--print", cwd=tmp_path)
    assert list(json.loads(done.stdout)["models"]) == ["one", "two"]
    (tmp_path / "c.yaml").write_text("routing:\n  scheduler: {use: fiffo}\n" + CONFIG)
    done = await run("tools.cli", "check", "--config", "c.yaml", "--config-dir", "conf.d", "-o", "json", cwd=tmp_path)
    found = [(row["file"], row["line"], row["path"]) for row in json.loads(done.stdout)["problems"]]
    assert found == [
        ("conf.d/m.yaml", 1, "models.one"),
        ("conf.d/m.yaml", 1, "models.two"),
        ("conf.d/m.yaml", 2, "modles"),
    ]
    (tmp_path / "c.yaml").write_text("routing:\n  scheduler: {use: fiffo}\n")
    done = await run("tools.cli", "check", "--config", "c.yaml", "--config-dir", "conf.d", cwd=tmp_path)
    assert done.returncode == 2
    assert done.stderr.decode().startswith("c.yaml:2:15: error: routing.scheduler.use: ")
    assert done.stderr.decode().endswith(warning)


async def test_swapctl_without_a_swapyard_says_where_it_looked(tmp_path: Path) -> None:
    done = await run("tools.ctl", "status", "--runtime-dir", str(tmp_path))
    assert done.returncode == 3
    assert f"looked for {tmp_path}/control" in done.stderr.decode()
    assert "Traceback" not in done.stderr.decode()


async def test_swapctl_does_not_take_a_socket_that_was_left_over_for_a_swapyard(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as former:
        former.bind(str(tmp_path / "control"))
    done = await run("tools.ctl", "status", "--runtime-dir", str(tmp_path))
    assert done.returncode == 3
    assert b"no swapyard is running here" in done.stderr


async def test_swapctl_says_when_nobody_answers(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as silent:
        silent.bind(str(tmp_path / "control"))
        silent.listen()
        await check_no_answer(tmp_path)


async def check_no_answer(tmp_path: Path) -> None:
    script = "import tools.ctl as c; c.ANSWER_WITHIN = 0.2; c.main()"
    command = [sys.executable, "-P", "-c", script, "status", "--runtime-dir", str(tmp_path)]
    done = await trio.run_process(command, capture_stderr=True, check=False)  # noqa: TID251
    assert done.returncode == 3
    assert b"no answer from" in done.stderr


async def test_every_swapctl_command_against_a_running_swapyard() -> None:
    async with yard(CONFIG) as it:
        where = ("--runtime-dir", str(it.directory))

        async def ctl(*arguments: str) -> subprocess.CompletedProcess[bytes]:
            return await run("tools.ctl", *arguments, *where)

        done = await ctl("load", "uno")
        assert (done.returncode, done.stdout) == (0, b"")
        done = await ctl("status")
        assert (done.returncode, [line.split()[:2] for line in done.stdout.decode().splitlines()[3:5]]) == (
            0,
            [["one", "ready"], ["two", "stopped"]],
        )
        found = json.loads((await ctl("status", "-o", "json")).stdout)
        assert (found["models"][0]["id"], found["models"][0]["phase"]) == ("one", "ready")
        assert b"one listens on" in (await ctl("logs", "one")).stdout
        done = await ctl("unload", "one", "two", "-o", "json")
        assert (done.returncode, json.loads(done.stdout)) == (0, {"done": True})
        assert (await ctl("unload", "--drain")).returncode == 0
        assert (await ctl("reset", "one")).returncode == 0
        for arguments in (("load", "nobody"), ("unload", "nobody"), ("reset", "nobody"), ("logs", "nobody")):
            done = await ctl(*arguments)
            assert (done.returncode, done.stderr) == (1, b"swapctl: there is no model 'nobody'\n"), arguments
        assert (await run("tools.ctl", "sing")).returncode == 2


INTERRUPTIBLE = """
import signal, tools.ctl
signal.signal(signal.SIGINT, signal.default_int_handler)  # a test run in the background ignores it
tools.ctl.main()
"""


async def test_logs_are_followed_and_status_is_watched_until_ctrl_c() -> None:
    async with yard(CONFIG) as it:
        for arguments in (("logs", "-f", "one"), ("status", "--watch")):
            command = [sys.executable, "-P", "-c", INTERRUPTIBLE, *arguments, "--runtime-dir", str(it.directory)]
            process = await trio.lowlevel.open_process(  # noqa: TID251
                command, stdout=subprocess.PIPE, stderr=subprocess.PIPE
            )
            assert process.stdout is not None
            assert process.stderr is not None
            async with process.stdout, process.stderr:
                await it.chat("one")
                seen = b""
                with trio.fail_after(PATIENCE):
                    while b"POST /v1/chat/completions" not in seen and b"ready" not in seen:
                        seen += await process.stdout.receive_some()
                process.send_signal(2)
                with trio.fail_after(PATIENCE):
                    assert await process.wait() == 0
                assert await process.stderr.receive_some() == b""

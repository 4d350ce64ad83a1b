"""Bad requests, bad files and bad circumstances, as a user meets them: clear words, no traceback."""

import socket
import subprocess  # noqa: TID251 (the program is run as a user runs it)
import sys
from pathlib import Path

import pytest
import trio

from tests.support.http import ask
from tests.support.yard import Yard, fake, yard

CONFIG = f"""
apiKeys: [let-me-in]
gateway: {{bodyLimit: 1000}}
models:
  one: {{cmd: '{fake("--name one")}'}}
"""
KEY = {"Authorization": "Bearer let-me-in"}
CHAT = "/v1/chat/completions"

CASES = {
    "unknown model": ("POST", CHAT, b'{"model": "nobody"}', KEY, 404, "not_found"),
    "no model": ("POST", CHAT, b'{"messages": []}', KEY, 404, "not_found"),
    "broken json": ("POST", CHAT, b'{"model": "one"', KEY, 400, "bad_request"),
    "missing key": ("POST", CHAT, b'{"model": "one"}', {}, 401, "unauthorized"),
    "wrong key": ("GET", "/v1/models", b"", {"x-api-key": "let-me-out"}, 401, "unauthorized"),
    "body too large": ("POST", CHAT, b'{"model": "one", "x": "' + b"x" * 1000 + b'"}', KEY, 413, None),
    "unknown path": ("GET", "/v1/nothing", b"", KEY, 404, "not_found"),
    "wrong method": ("GET", CHAT, b"", KEY, 405, None),
    "wrong method of an api route": ("POST", "/running", b"", KEY, 405, None),
}


async def test_every_refusal_is_the_json_envelope() -> None:
    async with yard(CONFIG) as it:
        for name, (method, path, body, headers, status, code) in CASES.items():
            answer = await ask(it.port, method, path, headers=headers, raw=body)
            assert answer.status == status, (name, answer)
            assert answer.json["src"] == "swapyard", name
            assert answer.json["error"]["message"], name
            if code is not None:
                assert answer.json["error"]["code"] == code, name
            if status == 401:
                assert answer.headers["www-authenticate"] == 'Basic realm="swapyard"'
            if status == 405:
                assert answer.headers["allow"], name
        good = await it.ask("POST", CHAT, {"model": "one", "messages": []}, KEY)
        assert good.status == 200
        assert "let-me-in" not in str(await it.seen("one"))


async def run(*arguments: str, cwd: Path) -> subprocess.CompletedProcess[bytes]:
    """The command line to its end."""
    command = [sys.executable, "-P", "-m", "tools.cli", *arguments]
    if arguments[0] == "serve" and "--runtime-dir" not in arguments:
        command += ["--runtime-dir", str(cwd / "run")]
    with trio.fail_after(30):
        return await trio.run_process(command, capture_stdout=True, capture_stderr=True, check=False, cwd=cwd)  # noqa: TID251


BAD_FILES = {
    "bad yaml": ("models: {a: [", 1),
    "duplicate key": ("models:\n  a: {cmd: 'x ${PORT}'}\n  a: {cmd: 'y ${PORT}'}\n", 3),
    "duplicate alias": (
        "models:\n  a: {cmd: 'x ${PORT}', aliases: [z]}\n  b: {cmd: 'x ${PORT}', aliases: [z]}\n",
        3,
    ),
    "missing cmd": ("models:\n  a: {name: x}\n", 2),
    "not a mapping": ("- a\n", 1),
    "unknown policy": ("routing:\n  scheduler: {use: fiffo}\n", 2),
    "a priority of nobody": ("routing:\n  scheduler:\n    settings: {fifo: {priority: {who: 1}}}\n", 3),
    "a set that is none": ("matrix:\n  sets:\n    talk: 'a &'\nmodels:\n  a: {cmd: 'x ${PORT}'}\n", 3),
    "too large to run": (
        "models:\n  a: {cmd: 'x ${PORT}', memory: {gpu0: 9GiB}}\n"
        "routing: {router: {use: memory, settings: {memory: {devices: {gpu0: 8GiB}}}}}\n",
        2,
    ),
}


@pytest.mark.rule("C1.8")
@pytest.mark.parametrize("name", BAD_FILES)
async def test_a_bad_file_ends_with_exit_2_and_a_line_that_says_where(name: str, tmp_path: Path) -> None:
    text, line = BAD_FILES[name]
    path = tmp_path / "bad.yaml"
    path.write_text(text)
    for command in ("check", "serve"):
        done = await run(command, "--config", str(path), cwd=tmp_path)
        assert done.returncode == 2, (command, done)
        said = done.stderr.decode() + done.stdout.decode()
        assert f"bad.yaml:{line}:" in said, said
        assert "Traceback" not in said


async def test_an_unreadable_file_is_one_line(tmp_path: Path) -> None:
    done = await run("serve", "--config", str(tmp_path / "none.yaml"), cwd=tmp_path)
    assert done.returncode == 2
    assert "none.yaml" in done.stderr.decode()
    assert len(done.stderr.decode().strip().splitlines()) == 1


@pytest.mark.rule("C1.8")
async def test_a_port_in_use_is_one_line_and_exit_1(tmp_path: Path) -> None:
    config = tmp_path / "config.yaml"
    config.write_text(f"models: {{one: {{cmd: '{fake('--name one')}'}}}}")
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        holder.listen()
        address = f"127.0.0.1:{holder.getsockname()[1]}"
        where = str(tmp_path / "run")
        done = await run("serve", "--config", str(config), "--listen", address, "--runtime-dir", where, cwd=tmp_path)
    assert done.returncode == 1
    assert f"cannot listen on {address}" in done.stderr.decode()
    assert "Traceback" not in done.stderr.decode()


async def test_a_second_instance_is_refused_with_the_pid_of_the_first(tmp_path: Path) -> None:
    async with yard(CONFIG) as it:
        config = tmp_path / "config.yaml"
        config.write_text(CONFIG)
        done = await run(
            "serve", "--config", str(config), "--listen", ":0", "--runtime-dir", str(it.directory), cwd=tmp_path
        )
        assert done.returncode == 1
        assert str(it.process.pid) in done.stderr.decode()
        assert await still_serves(it)


async def still_serves(it: Yard) -> bool:
    return (await it.ask("GET", "/health")).status == 200

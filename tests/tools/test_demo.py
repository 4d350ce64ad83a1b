"""The demo, its server command and its generated model, on the real engine."""

import socket
import subprocess  # noqa: TID251 (the commands are run as a user runs them)
import sys
from pathlib import Path

import trio

from config.check import load
from tests.support.http import ask
from tests.support.tiny_models import tiny_model
from tests.support.yard import PATIENCE, yard
from tools.demo import prepare
from tools.tiny_model import write_tiny_model


def test_the_same_seed_gives_the_same_model_and_another_one_another(tmp_path: Path) -> None:
    one, again, other = (write_tiny_model(tmp_path / str(i), seed).read_bytes() for i, seed in enumerate((1, 1, 2)))
    assert one == again != other


def test_the_demo_writes_a_valid_configuration_and_leaves_an_edited_one_alone(tmp_path: Path) -> None:
    config = prepare(tmp_path / "it's a demo")
    loaded = load(config)
    assert loaded.problems == ()
    assert loaded.settings is not None
    assert list(loaded.settings.models) == ["smollm2", "tiny"]
    config.write_text("models: {}\n")
    assert prepare(tmp_path / "it's a demo").read_text() == "models: {}\n"


async def test_the_demos_models_answer_and_smollm2_knows_the_capital_of_france(tmp_path: Path) -> None:
    async with yard(prepare(tmp_path).read_text()) as it:
        question = {"role": "user", "content": "Which city is the capital of France?"}
        body = {"model": "smollm2", "temperature": 0, "max_tokens": 40, "messages": [question]}
        answer = await it.ask("POST", "/v1/chat/completions", body)
        assert "Paris" in answer.json["choices"][0]["message"]["content"]
        for model, width in (("smollm2", 576), ("tiny", 64)):
            answer = await it.ask("POST", "/v1/embeddings", {"model": model, "input": "a text"})
            assert len(answer.json["data"][0]["embedding"]) == width
        nonsense = await it.chat("tiny", max_tokens=10)
        assert nonsense.json["usage"]["completion_tokens"] == 10


async def server(*arguments: str) -> subprocess.CompletedProcess[bytes]:
    command = [sys.executable, "-P", "-m", "tools.llama_server", *arguments]
    with trio.fail_after(PATIENCE):
        return await trio.run_process(command, capture_stderr=True, capture_stdout=True, check=False)  # noqa: TID251


async def test_mistakes_with_the_llama_server_are_one_line(tmp_path: Path) -> None:
    (tmp_path / "x.gguf").write_text("nothing")
    done = await server("--model", str(tmp_path / "x.gguf"), "--port", "1")
    assert (done.returncode, b"is not a GGUF file" in done.stderr) == (1, True)
    done = await server("--model", str(tmp_path / "none.gguf"), "--port", "1")
    assert (done.returncode, b"No such file" in done.stderr) == (1, True)
    with socket.create_server(("127.0.0.1", 0)) as holder:
        done = await server("--model", str(tiny_model(1)), "--port", str(holder.getsockname()[1]))
    assert (done.returncode, b"cannot listen on" in done.stderr) == (1, True)
    broken = tmp_path / "broken.gguf"
    broken.write_bytes(tiny_model(1).read_bytes()[:2000])
    done = await server("--model", str(broken), "--port", "5")
    assert done.returncode == 1
    assert b"Traceback" not in done.stderr


async def test_the_demo_refuses_a_taken_port_in_one_line(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as holder:
        address = f"127.0.0.1:{holder.getsockname()[1]}"
        command = [sys.executable, "-P", "-m", "tools.cli", "demo", "--dir", str(tmp_path / "d"), "--listen", address]
        done = await trio.run_process(command, capture_stderr=True, check=False)  # noqa: TID251
    assert done.returncode == 1
    assert done.stderr.decode().startswith(f"swapyard: cannot listen on {address}")


async def test_the_demo_reaches_its_listening_line(tmp_path: Path) -> None:
    directory, runtime = tmp_path / "d", tmp_path / "r"
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [
        sys.executable,
        "-P",
        "-m",
        "tools.cli",
        "demo",
        "--dir",
        str(directory),
        "--listen",
        f"127.0.0.1:{port}",
    ]
    env = {"RUNTIME_DIRECTORY": str(runtime), "PATH": "/usr/bin:/bin"}
    process = await trio.lowlevel.open_process(command, stdout=subprocess.PIPE, env=env)  # noqa: TID251
    assert process.stdout is not None
    said = b""
    async with process.stdout:
        with trio.fail_after(PATIENCE * 2):
            while f"swapyard listening on http://127.0.0.1:{port}".encode() not in said:
                said += await process.stdout.receive_some()
            assert (await ask(port, "GET", "/v1/models")).status == 200
            process.terminate()
            assert await process.wait() == 0
    assert f"curl http://127.0.0.1:{port}/v1/models".encode() in said

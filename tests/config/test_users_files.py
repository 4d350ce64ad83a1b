"""Three files as people write them load without a warning and mean what they are meant to."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from config.check import load
from config.errors import Severity
from tools.check import run

FILES = Path(__file__).parent / "users"
Printed = Callable[[str], dict[str, Any]]


@pytest.fixture
def printed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Printed:
    """What ``swapyard check --print`` says of a file, on a machine that has the programs."""
    for program in ("llama-server", "docker"):
        (tmp_path / program).write_text("#!/bin/sh\n")
        (tmp_path / program).chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("GATEWAY_KEY", "sk-hush")
    monkeypatch.setenv("ROUTER_KEY", "sk-hush")
    monkeypatch.setenv("STATE_DIR", str(tmp_path))

    def ask(name: str) -> dict[str, Any]:
        problems = load(FILES / name).problems
        assert [str(problem) for problem in problems if problem.severity is not Severity.NOTICE] == []
        assert run(["--config", str(FILES / name), "--strict", "--print", "-o", "json"]) == 0
        said = capsys.readouterr()
        assert "hush" not in said.out + said.err
        found = json.loads(said.out)
        assert isinstance(found, dict)
        return found

    return ask


def test_a_workstation_with_macros_and_groups(printed: Printed) -> None:
    found = printed("workstation.yaml")
    daily = found["models"]["qwen3-30b-a3b"]
    assert daily["cmd"] == [
        "llama-server", "--host", "127.0.0.1", "--port", "9103", "--jinja", "--flash-attn", "on", "--no-mmap",
        "--device", "CUDA0", "-ngl", "99", "--model", "/srv/models/Qwen3-30B-A3B-Instruct-2507-UD-Q4_K_XL.gguf",
        "--cache-type-k", "q8_0", "--cache-type-v", "q8_0", "--ctx-size", "65536", "--temp", "0.7", "--top-p", "0.8",
        "--top-k", "20", "--min-p", "0",
    ]  # fmt: skip
    assert daily["aliases"] == ["gpt-4o-mini", "qwen", "qwen3-30b-a3b:deterministic"]
    assert daily["filters"] == {
        "stripParams": "temperature, top_k, top_p",
        "setParams": {},
        "setParamsByID": {"qwen3-30b-a3b:deterministic": {"seed": 42, "temperature": 0}},
    }
    assert daily["metadata"] == {"context": 65536, "quant": "UD-Q4_K_XL"}
    assert (daily["ttl"], daily["sendLoadingState"], daily["healthCheckTimeout"]) == (1800, True, 300)
    oss = found["models"]["gpt-oss:20b"]
    assert oss["cmd"][-2:] == ["--chat-template-kwargs", '{"reasoning_effort": "high"}']
    assert (oss["proxy"], oss["ttl"]) == ("http://localhost:9101", 600)
    assert "--ctx-size" in oss["cmd"]
    assert "32768" in oss["cmd"]
    coder = found["models"]["qwen2.5-coder-7b"]
    assert (coder["concurrencyLimit"], coder["queueLimit"], coder["ttl"], coder["unlisted"]) == (4, 0, 0, True)
    assert found["models"]["embed"]["proxy"] == "http://localhost:9100"
    assert found["groups"] == {
        "small": {"swap": False, "exclusive": False, "persistent": True, "members": ["qwen2.5-coder-7b", "embed"]}
    }
    assert found["hooks"] == {"on_startup": {"preload": ["embed"]}}


def test_a_server_of_containers_with_a_matrix(printed: Printed) -> None:
    found = printed("containers.yaml")
    coder = found["models"]["coder"]
    assert coder["cmd"][:14] == [
        "docker", "run", "--init", "--rm", "--name", "coder", "--gpus", '"device=0,1"', "-v",
        "/srv/huggingface:/root/.cache/huggingface", "--ipc=host", "-p", "5800:8000", "vllm/vllm-openai:v0.11.0",
    ]  # fmt: skip
    assert coder["cmdStop"] == ["docker", "stop", "--time", "40", "coder"]
    assert coder["env"] == ["DOCKER_HOST=unix:///run/user/1000/docker.sock"]
    assert (coder["proxy"], coder["useModelName"]) == ("http://127.0.0.1:5800", "coder")
    assert (coder["concurrencyLimit"], coder["queueLimit"], coder["unloadTimeout"]) == (64, 256, 45)
    assert coder["capabilities"] == {
        "in": ["text"],
        "out": ["text"],
        "tools": True,
        "reranker": False,
        "context": 131072,
    }
    assert coder["timeouts"]["responseHeader"] == 600
    comfy = found["models"]["comfyui_auto"]
    assert (comfy["concurrencyLimit"], comfy["queueLimit"], comfy["compat"]) == (50, 512, {"ignoreWebsockets": True})
    assert (comfy["checkEndpoint"], comfy["cmdStop"][-1]) == ("/", "comfyui_auto")
    assert found["matrix"] == {
        "vars": {"comfy": "comfyui_auto"},
        "evict_costs": {"coder": 10, "comfyui_auto": 4},
        "sets": {"speech": "whisper & vision", "pictures": "vision & comfy", "code": "coder"},
    }
    assert found["apiKeys"] == ["***"]
    assert found["performance"] == {"disabled": False, "every": 15}
    assert (found["metricsMaxInMemory"], found["captureBuffer"], found["logToStdout"]) == (5000, 20, "both")
    assert found["store"]["path"].endswith("/activity.db")


def test_a_laptop_with_peers_selectors_and_a_profile(printed: Printed) -> None:
    found = printed("laptop.yaml")
    assert list(found["models"]) == ["tiny", "7b"]
    assert [model["proxy"] for model in found["models"].values()] == ["http://localhost:6001", "http://localhost:6000"]
    home, router = found["peers"]["home"], found["peers"]["router"]
    assert (home["proxy"], home["models"], home["apiKey"]) == (
        "http://192.168.1.20:8080", ["qwen3-30b-a3b", "gpt-oss:20b"], "",
    )  # fmt: skip
    assert (home["timeouts"]["connect"], home["timeouts"]["responseHeader"]) == (3, 300)
    assert (router["apiKey"], router["timeouts"]["responseHeader"]) == ("***", 60)
    assert router["filters"]["setParams"] == {"provider": {"data_collection": "deny"}}
    assert found["selectors"]["best"] == {
        "strategy": "spillover",
        "targets": ["7b", "home/qwen3-30b-a3b", "z-ai/glm-4.6"],
        "settings": {"spillover": 2},
        "name": "Whatever is free",
        "description": "",
        "unlisted": False,
        "metadata": {},
    }
    assert found["profiles"]["travelling"]["pins"] == {"best": "tiny", "qwen3-30b-a3b": "7b", "z-ai/glm-4.6": None}

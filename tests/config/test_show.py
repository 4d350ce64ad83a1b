"""What ``swapyard check --print`` shows: the keys of the file, everything resolved, no secrets."""

import json
from pathlib import Path

import pytest

from config.check import load_text
from config.show import shown
from tools.check import run

TEXT = """\
macros: {dir: /models}
apiKeys: [hush-key]
models:
  a:
    cmd: server --model ${dir}/a.gguf --port ${PORT} --api-key hush-one --hf-token=hush-two --tls-key-file /k
    cmdStop: stop ${PID}
    env: [HF_TOKEN=hush-three, HOME=/h]
    aliases: [x]
    ttl: 5
matrix: {vars: {v: a}, evict_costs: {v: 3}, sets: {s: v}}
"""


def test_everything_is_resolved_and_stands_under_its_key() -> None:
    loaded = load_text(TEXT)
    assert loaded.settings is not None
    found = shown(loaded.settings)
    model = found["models"]["a"]
    assert model["cmd"] == [
        "server", "--model", "/models/a.gguf", "--port", "5800", "--api-key", "***", "--hf-token=***", "--tls-key-file",
        "/k",
    ]  # fmt: skip
    assert model["cmdStop"] == ["stop", "${PID}"]
    assert model["env"] == ["HF_TOKEN=***", "HOME=/h"]
    assert (model["aliases"], model["ttl"], model["concurrencyLimit"], model["checkEndpoint"]) == (
        ["x"],
        5,
        10,
        "/health",
    )
    assert model["proxy"] == "http://localhost:5800"
    assert found["matrix"] == {"vars": {"v": "a"}, "evict_costs": {"a": 3}, "sets": {"s": "v"}}
    assert found["routing"]["router"]["use"] == "matrix"
    assert found["routing"]["scheduler"] == {"use": "fifo", "settings": {"fifo": {}}}
    assert found["groups"] == found["peers"] == found["selectors"] == found["profiles"] == {}
    assert "hush" not in json.dumps(found)


def test_the_command_prints_json_and_says_problems_beside_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "c.yaml"
    file.write_text("models: {a: {cmd: 'no-such-program ${PORT}'}}\ngroups: {g: {members: [a], swap: no}}\n")
    assert run(["--config", str(file), "--print", "-o", "json"]) == 0
    said = capsys.readouterr()
    assert json.loads(said.out)["groups"] == {
        "g": {"swap": False, "exclusive": True, "persistent": False, "members": ["a"]}
    }
    assert "there is no program" in said.err
    file.write_text("models: 3\n")
    assert run(["--config", str(file), "--print"]) == 2
    assert "not valid" in capsys.readouterr().out

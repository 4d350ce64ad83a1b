"""The simulator tells the truth about ``window``: two callers, two models, real processes, and the same trace."""

import hashlib
import json
from pathlib import Path

import pytest
import trio

from protocol.control import Record, RecordReply
from tests.support.yard import Yard, fake, yard
from tools.simulate.command import main as simulate

SPAN = 12.0
"""Seconds of the trace that are looked at."""
SERVICE, LOAD = 0.1, 1.2
"""Seconds of an exchange and of a load: what the model server is told, and what that comes to with its start."""
NEAR = 0.1
KEYS = {"light": "sk-one-share-of-four", "heavy": "sk-three-shares-of-four"}
REQUESTS = 80
"""Of each caller for each model: more than can be answered."""


def name(caller: str) -> str:
    """As it stands in settings and traces, and as ``swapctl queue`` shows it."""
    return f"key:{hashlib.sha256(KEYS[caller].encode()).hexdigest()[:12]}"


MODEL = fake("--name $m", f"--prefill {SERVICE}", "--ready-after 1.0")
CONFIG = f"""
apiKeys: [{", ".join(KEYS.values())}]
models:
  a: {{cmd: '{MODEL.replace("$m", "a")}', concurrencyLimit: 2, queueLimit: 1000, queueTimeout: 600}}
  b: {{cmd: '{MODEL.replace("$m", "b")}', concurrencyLimit: 2, queueLimit: 1000, queueTimeout: 600}}
routing:
  scheduler:
    use: window
    settings: {{window: {{maxWait: 2, batch: 2, weights: {{"{name("heavy")}": 3}}}}}}
"""


def trace() -> list[dict[str, object]]:
    """Everything at once, both callers for both models in turn."""
    return [
        {"at": 0.0, "model": model, "service": SERVICE, "caller": name(caller)}
        for _ in range(REQUESTS)
        for caller in KEYS
        for model in "ab"
    ]


async def measure(folder: Path) -> Path:
    """The trace with real clients and model servers, recorded for ``SPAN`` seconds."""
    recording = folder / "recording"

    async def ask(it: Yard, row: dict[str, object]) -> None:
        key = next(key for caller, key in KEYS.items() if name(caller) == row["caller"])
        body = {"model": row["model"], "messages": [{"role": "user", "content": "hello"}]}
        await it.ask("POST", "/v1/chat/completions", body, {"authorization": f"Bearer {key}"})

    async with yard(CONFIG) as it, trio.open_nursery() as nursery:
        assert isinstance(await it.control(Record("start", str(recording))), RecordReply)
        for row in trace():
            nursery.start_soon(ask, it, row)
        await trio.sleep(SPAN)
        assert isinstance(await it.control(Record("stop")), RecordReply)
        nursery.cancel_scope.cancel()
    return recording


def shares(capsys: pytest.CaptureFixture[str], *command: str) -> dict[str, float]:
    """Of the seconds of service in a simulation or a replay, by caller."""
    capsys.readouterr()
    assert simulate([*command, "-o", "json"]) == 0
    row, *_ = json.loads(capsys.readouterr().out)["policies"]
    service = {caller: row["callers"][name(caller)]["service"] for caller in KEYS}
    return {caller: seconds / sum(service.values()) for caller, seconds in service.items()}


async def test_shares_of_real_processes_are_those_of_the_simulator(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    recording = await measure(tmp_path)
    config, requests = tmp_path / "config.yaml", tmp_path / "trace.jsonl"
    config.write_text(CONFIG)
    requests.write_text("".join(json.dumps(row) + "\n" for row in trace()))
    simulation = ["--config", str(config), "--trace", str(requests), "--swap-cost", str(LOAD), "--until", str(SPAN)]
    real = shares(capsys, "--replay", str(recording))
    told = shares(capsys, *simulation)
    without = shares(capsys, *simulation, "--policy", "fifo")
    print(f"real {real}, simulated {told}, in arrival order {without}")
    for caller in KEYS:
        assert real[caller] == pytest.approx(told[caller], rel=NEAR), caller
        assert real[caller] != pytest.approx(without[caller], rel=2 * NEAR), "fifo would do, too"

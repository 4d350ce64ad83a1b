"""``swapyard simulate`` as a user runs it, mistakes included."""

import json
import subprocess  # noqa: TID251 (the command is run as a user runs it)
import sys
from pathlib import Path

import pytest
import trio

from tools.simulate.command import main
from tools.simulate.profiles import PROFILES

PATIENCE = 120.0
CONFIG = """\
models:
  chat: {cmd: 'serve ${PORT}', aliases: [gpt-4o], concurrencyLimit: 1, queueLimit: 100}
  embed: {cmd: 'serve ${PORT}'}
routing:
  scheduler: {settings: {fifo: {maxWait: 20}}}
"""
TRACE = """\
{"at": 0, "model": "gpt-4o", "service": 30, "caller": "ann"}
{"at": 1, "model": "embed", "service": 1, "caller": "bob"}
{"at": 2, "model": "chat", "service": 30, "caller": "ann"}
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "config.yaml").write_text(CONFIG)
    (tmp_path / "requests.jsonl").write_text(TRACE)
    monkeypatch.chdir(tmp_path)
    return tmp_path


FILES = ["--config", "config.yaml", "--trace", "requests.jsonl"]


async def simulate(*arguments: str, cwd: Path | None = None) -> subprocess.CompletedProcess[bytes]:
    command = [sys.executable, "-P", "-m", "tools.cli", "simulate", *arguments]
    with trio.fail_after(PATIENCE):
        return await trio.run_process(  # noqa: TID251
            command, capture_stdout=True, capture_stderr=True, check=False, cwd=cwd
        )


async def test_the_same_seed_gives_the_same_output_byte_for_byte(tmp_path: Path) -> None:
    asked = ["--profile", "crashes", "--compare", "fifo,drain-first,best", "-o", "json"]
    first = await simulate(*asked, "--plot", "one.png", cwd=tmp_path)
    second = await simulate(*asked, "--plot", "two.png", cwd=tmp_path)
    assert (first.returncode, first.stderr) == (0, b"")
    assert first.stdout == second.stdout
    assert (tmp_path / "one.png").read_bytes() == (tmp_path / "two.png").read_bytes()
    other = await simulate(*asked, "--seed", "1", cwd=tmp_path)
    assert other.stdout != first.stdout
    assert [row["policy"] for row in json.loads(other.stdout)["policies"]] == ["fifo", "drain-first", "best"]


async def test_a_trace_runs_through_the_configuration(folder: Path) -> None:
    done = await simulate(*FILES, "--swap-cost", "5", "--stop-cost", "1", "-o", "json", cwd=folder)
    assert (done.returncode, done.stderr) == (0, b"")
    found = json.loads(done.stdout)
    assert (found["trace"], found["swapCost"], found["seed"], found["until"]) == ("requests.jsonl", 5.0, 0, None)
    (fifo,) = found["policies"]
    assert fifo["policy"] == "fifo"
    # maxWait of the configuration: bob's request claims at 21 s, is loaded when ann's first ends.
    assert fifo["callers"]["bob"]["waits"]["max"] == 5 + 30 + 1 + 5 - 1
    assert fifo["callers"]["ann"]["waits"]["max"] == 5 + 30 + 1 + 5 + 1 + 1 + 5 - 2


async def test_mistakes_are_one_line_and_exit_2(folder: Path) -> None:
    done = await simulate("--config", "config.yaml", "--trace", "none.jsonl", cwd=folder)
    assert done.returncode == 2
    assert done.stderr == b"swapyard simulate: none.jsonl: cannot be read: No such file or directory\n"
    assert done.stdout == b""


async def test_help_tells_what_a_new_user_needs() -> None:
    done = await simulate("--help")
    assert done.returncode == 0
    for word in (b"examples:", b"--profile", b"--trace", b"cancelAfter", b"--compare", b"drain-first", b"llama-swap"):
        assert word in done.stdout
    listed = (await simulate("--list-profiles")).stdout.decode().splitlines()
    assert listed[::2] == list(PROFILES)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "give the traffic: --profile NAME (--list-profiles tells which) or --trace FILE"),
        (["--profile", "bursty", "--trace", "x"], "give the traffic"),
        (["--profile", "burst"], "there is no profile 'burst'; did you mean 'bursty'?"),
        (["--profile", "xyz"], "there is no profile 'xyz'; --list-profiles tells which there are"),
        (["--trace", "requests.jsonl"], "a trace needs a configuration: --config FILE"),
        (["--profile", "bursty", "--config", "config.yaml"], "needs a model 'a', which the configuration lacks"),
        (["--config", "none.yaml", "--trace", "requests.jsonl"], "none.yaml"),
        ([*FILES, "--swap-cost", "-1"], "argument --swap-cost: found '-1', expected a number of seconds, 0 or more"),
        ([*FILES, "--swap-cost", "nan"], "expected a number of seconds"),
        ([*FILES, "--crash", "2"], "found '2', expected a probability, 0 to 1"),
        ([*FILES, "--seed", "x"], "argument --seed: invalid int value: 'x'"),
        ([*FILES, "--cost", "chat"], "--cost: found 'chat', expected MODEL=START or MODEL=START/STOP"),
        ([*FILES, "--cost", "chta=1"], "--cost: there is no model 'chta'; did you mean 'chat'?"),
        ([*FILES, "--cost", "chat=1/x"], "--cost chat: found 'x', expected a number of seconds"),
        ([*FILES, "--policy", "fiffo"], "there is no policy 'fiffo'; did you mean 'fifo'?"),
        ([*FILES, "--compare", "fifo,,best"], "--compare: a name is missing"),
        ([*FILES, "--compare", ",".join(["fifo"] * 21)], "--compare: 21 policies, more than 20"),
        ([*FILES, "--compare", "fifo", "--policy", "fifo"], "give --policy or --compare, not both"),
        ([*FILES, "--policy", "fifo:maxWait=soon"], "policy 'fifo:maxWait=soon': maxWait: found 'soon'"),
        (
            [*FILES, "--policy", "best", "--plot", "x.png"],
            "--plot: 'best' is a search, not a run; name a policy beside it",
        ),
        ([*FILES, "--plot", "none/x.png"], "none/x.png: cannot be written"),
        (["--profle", "bursty"], "unrecognized arguments: --profle bursty"),
    ],
)
def test_what_is_said_of_a_mistake(
    arguments: list[str], said: str, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(arguments) == 2
    found = capsys.readouterr()
    assert found.out == ""
    assert found.err.startswith("swapyard simulate: ")
    assert said in found.err
    assert len(found.err.splitlines()) == 1


def test_every_error_of_a_configuration_is_a_line_with_its_place(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "config.yaml").write_text("models:\n  a: {cmd: 'sh ${PORT}', ttl: x}\nstartPort: y\n")
    assert main(FILES) == 2
    said = capsys.readouterr().err.splitlines()
    assert [line.split(" error: ")[0] for line in said] == [
        "swapyard simulate: config.yaml:2:31:",
        "swapyard simulate: config.yaml:3:12:",
    ]
    (folder / "config.yaml").write_text("models: {}\n")
    assert main(FILES) == 2
    assert capsys.readouterr().err == "swapyard simulate: the configuration has no models\n"


def test_settings_of_the_configuration_hold_unless_others_are_given(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def starts(policies: str) -> list[float]:
        more = [f'{{"at": {3 + number}, "model": "chat", "service": 30}}\n' for number in range(4)]
        (folder / "requests.jsonl").write_text(TRACE + "".join(more))
        assert main([*FILES, "--compare", policies, "-o", "json"]) == 0
        return [row["callers"]["bob"]["waits"]["max"] for row in json.loads(capsys.readouterr().out)["policies"]]

    default, same, longer, never = starts("fifo,fifo:maxWait=20,fifo:maxWait=100,llama-swap")
    assert default == same < longer < never


def test_costs_of_single_models_go_before_the_general_ones(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    costs = ["--swap-cost", "100", "--stop-cost", "9", "--cost", "chat=2/3", "--cost", "embed=4"]
    assert main([*FILES, *costs, "--policy", "llama-swap", "-o", "json"]) == 0
    (row,) = json.loads(capsys.readouterr().out)["policies"]
    assert row["callers"]["ann"]["waits"]["max"] == 2 + 30 - 2
    assert row["callers"]["bob"]["waits"]["max"] == 2 + 60 + 3 + 4 - 1


def test_a_run_can_be_cut_short_and_loads_can_be_made_to_fail(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--profile", "random-50", "--until", "15", "-o", "json"]) == 0
    (row,) = json.loads(capsys.readouterr().out)["policies"]
    assert row["served"] < 50
    assert main(["--profile", "random-50", "--crash", "1", "-o", "json"]) == 0
    (row,) = json.loads(capsys.readouterr().out)["policies"]
    assert (row["served"], row["refused"]) == (0, 50)

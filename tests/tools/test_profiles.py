"""The table of all profiles: what the command writes, its judgement, and the file in the repository."""

import json
import sys

import pytest
import trio

from protocol.ids import Refusal
from tools.dev.profiles import FILE, HEADER, NAMES, main, section, verdict
from tools.simulate.command import main as simulate
from tools.simulate.measures import Record
from tools.simulate.report import Row

PATIENCE = 120.0
PART = ("single", "bursty")


async def test_a_part_of_the_table_is_what_the_simulator_finds(capsys: pytest.CaptureFixture[str]) -> None:
    command = [sys.executable, "-P", "-m", "tools.dev.profiles", "--only", "bursty", "--costs", "2,20"]
    with trio.fail_after(PATIENCE):
        done = await trio.run_process(command, capture_stdout=True, capture_stderr=True)  # noqa: TID251
    printed = done.stdout.decode()
    assert HEADER in printed
    for cost in ("2", "20"):
        asked = ["--profile", "bursty", "--swap-cost", cost, "--compare", ",".join(NAMES), "-o", "json"]
        assert simulate(asked) == 0
        for row in json.loads(capsys.readouterr().out)["policies"]:
            waits = row["waits"]
            cells = [
                f"{cost} s",
                f"`{row['policy']}`",
                str(row["swaps"]),
                f"{100 * row['shareServing']:.1f} %",
                *(f"{waits[name]:.1f} s" for name in ("mean", "p95", "p99", "max")),
                str(row["served"]),
            ]
            assert f"| {' | '.join(cells)} |" in printed


def test_the_file_in_the_repository_is_what_the_command_writes() -> None:
    text = FILE.read_text()
    for name in PART:
        assert "\n".join(section(name, (2.0, 5.0, 10.0, 20.0))) in text, "make profiles writes it anew"


def record(serving: float, worst: float) -> Record:
    """A record of ten seconds."""
    made = Record()
    made.asked("a", "", 0.0)
    made.granted("a", "", 0.0, worst, 1)
    made.ended_exchange("a", "", worst, worst + serving)
    made.asked("a", "", 0.0)
    made.refused_one("a", "", Refusal.TIMED_OUT, 10.0)
    made.close(10.0)
    return made


@pytest.mark.parametrize(
    ("ours", "rival", "best", "said"),
    [
        ((4.5, 1), (4.0, 2), (5.0, 1), "0.90 of best; not worse than drain-first"),
        ((4.0, 2), (4.0, 2), (5.0, 1), "**0.80 of best**; not worse than drain-first"),
        ((3.9, 3), (4.0, 2), None, "**worse than drain-first: serving, worst wait**"),
        ((4.5, 3), (4.0, 2), (4.5, 1), "1.00 of best; **worse than drain-first: worst wait**"),
    ],
)
def test_the_judgement_says_what_is_worse(
    ours: tuple[float, float], rival: tuple[float, float], best: tuple[float, float] | None, said: str
) -> None:
    rows = {"window": Row("window", record(*ours)), "drain-first": Row("drain-first", record(*rival))}
    rows["best"] = Row("best", record(*best)) if best else Row("best", None, "too large")
    assert verdict(rows) == said
    rows["drain-batch"] = Row("drain-batch", record(5.0, 0.5))
    assert verdict(rows) == f"{said}; worse than drain-batch: serving, worst wait"
    assert verdict({"fifo": Row("fifo", record(1, 1))}) == ""


def test_an_unknown_profile_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["--only", "burst"])
    assert "there is no profile 'burst'; did you mean 'bursty'?" in capsys.readouterr().err

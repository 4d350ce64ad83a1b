"""``swapyard simulate --replay``: what was recorded beside what would have been, and mistakes in one line."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from config.check import load_text
from config.scheduling import scheduling
from supervisor.recording.veil import Veil
from supervisor.scheduler import events as ev
from supervisor.scheduler.configured import rules_of
from tests.support.recordings import Tape
from tools.simulate.command import main
from tools.simulate.what_if import answer
from tools.simulate.world import Arrival, Cost, World

CONFIG = """
models:
  hot.one: {cmd: x, proxy: 'http://127.0.0.1:1', queueLimit: 100}
  rare: {cmd: x, proxy: 'http://127.0.0.1:2', concurrencyLimit: 1, queueLimit: 5}
"""
COSTS = {"hot.one": Cost(8.0, 2.0), "rare": Cost(4.0, 1.0)}
MAX_WAIT = "routing.scheduler.settings.fifo.maxWait=20"


class Taped(World):
    """A world whose core is recorded from its beginning on."""

    tape: Tape

    def _send(self, event: ev.Event) -> None:
        effects = self.core.handle(event, self.now)
        self.tape.take(event, self.now, effects)
        for effect in effects:
            self._carry[type(effect)](effect)


def traffic() -> list[Arrival]:
    """Five minutes: a busy model without a pause, and now and then one that has to wait for it; some give up."""
    busy = [Arrival(0.5 * number, "hot.one", 1.25, "ann") for number in range(600)]
    rare = [
        Arrival(40.0 + 50 * number, "rare", 3.0, "bob", cancel_after=[None, 15.0][number % 2]) for number in range(5)
    ]
    late = [Arrival(150.0 + number, "rare", 2.0, "eve", deadline=90.0) for number in range(12)]
    return sorted([*busy, *rare, *late], key=lambda arrival: arrival.at)


@pytest.fixture
def made(tmp_path: Path) -> Callable[..., Path]:
    def make(*, veil: Veil | None = None) -> Path:
        settings = load_text(CONFIG).settings
        assert settings is not None
        world = Taped(rules_of(settings, parking=False), COSTS)
        world.tape = Tape(world.core, 0.0, lambda: scheduling(settings), veil)
        world.run(traffic())
        return world.tape.write(tmp_path / "recording")

    return make


def test_the_simulation_of_an_unchanged_recording_is_what_was_recorded(made: Callable[..., Path]) -> None:
    found = answer(made(), [], [], seed=0, timelines=False)
    assert found.replayed.difference is None
    recorded, simulated = (row.record for row in found.rows)
    assert recorded is not None
    assert simulated is not None
    assert len(recorded.waits) > 500
    for model in ("hot.one", "rare"):
        assert recorded.of(model) == pytest.approx(simulated.of(model))
    for kind in ("starts", "wasted", "refusals", "serving", "share", "jain"):
        assert getattr(recorded, kind) == pytest.approx(getattr(simulated, kind)), kind
    for name, account in recorded.models.items():
        assert account.left == simulated.models[name].left
        assert account.asked == simulated.models[name].asked
    assert recorded.models["rare"].left > 0
    assert recorded.refused > 0
    unserved = recorded.refused + recorded.models["rare"].left
    assert found.notes == (f"{unserved} of 617 requests were not served to their end; theirs is estimated",)


def test_a_shorter_longest_wait_is_seen_in_the_row_of_the_change(made: Callable[..., Path]) -> None:
    found = answer(made(), [MAX_WAIT], [], seed=0, timelines=True)
    assert [row.name for row in found.rows] == ["recorded", "simulated", "maxWait=20"]
    worst = [max(row.record.of("rare")) for row in found.rows if row.record is not None]
    assert worst[0] == pytest.approx(worst[1])
    assert worst[2] < worst[0] - 30
    assert [run.name for run in found.runs] == ["recorded", "simulated", "maxWait=20"]
    lanes = [run.timeline.lanes for run in found.runs]
    assert lanes[0] == lanes[1] != lanes[2]


def test_policies_are_compared_on_a_recording(made: Callable[..., Path]) -> None:
    found = answer(made(), ["models.rare.concurrencyLimit=4"], ["fifo", "llama-swap"], seed=0, timelines=False)
    assert [row.name for row in found.rows] == ["recorded", "simulated", "fifo", "llama-swap"]
    refused = [row.record.refused for row in found.rows if row.record is not None]
    assert refused[2] < refused[1]


def test_hashed_names_give_the_same_numbers(made: Callable[..., Path]) -> None:
    plain, hashed = (answer(made(veil=veil), [MAX_WAIT], [], seed=0, timelines=False) for veil in (None, Veil()))
    assert hashed.replayed.difference is None
    numbers = [[sorted(row.record.of()) for row in found.rows if row.record] for found in (plain, hashed)]
    assert numbers[0] == numbers[1]


def test_the_command_prints_the_replay_and_one_table(made: Callable[..., Path], capsys: Any) -> None:
    assert main(["--replay", str(made()), "--set", MAX_WAIT]) == 0
    out = capsys.readouterr().out
    assert ": every decision is the recorded one\n" in out
    rows = [line.split()[0] for line in out.splitlines() if line]
    assert rows[rows.index("policy") + 1 :][:3] == ["recorded", "simulated", "maxWait=20"]
    assert main(["--replay", str(made()), "--set", MAX_WAIT, "-o", "json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["difference"], len(found["policies"]), found["set"]) == (None, 3, [MAX_WAIT])


def test_a_picture_of_it_can_be_drawn(made: Callable[..., Path], tmp_path: Path, capsys: Any) -> None:
    picture = tmp_path / "picture.png"
    assert main(["--replay", str(made()), "--set", MAX_WAIT, "--plot", str(picture)]) == 0
    assert picture.read_bytes().startswith(b"\x89PNG")
    capsys.readouterr()


def test_another_decision_than_the_recorded_one_is_exit_status_1(made: Callable[..., Path], capsys: Any) -> None:
    file = made()
    file.write_text(file.read_text().replace('"reason":"evicted"', '"reason":"drained"', 1))
    assert main(["--replay", str(file)]) == 1
    out = capsys.readouterr().out
    assert "was StopModel(model='hot.one', generation=1, reason=<StopReason.DRAINED: 'drained'>), and is now" in out
    assert "simulated" in out


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--replay", "nothing"], "cannot read nothing: No such file or directory"),
        (["--set", MAX_WAIT], "--set changes a recording: give --replay FILE as well"),
        (["--replay", "FILE", "--set", "maxWait"], "--set: found 'maxWait', expected PATH=VALUE"),
        (["--replay", "FILE", "--set", "routing.shedule.use=fifo"], "--set routing.shedule: there is no such key"),
        (["--replay", "FILE", "--set", f"{MAX_WAIT.replace('max', 'mix')}"], "mixWait: there is no such setting"),
        (["--replay", "FILE", "--set", "models.hot.one.concurrencyLimit=x"], "--set models.hot.one.concurrencyLimit"),
        (["--replay", "FILE", "--set", "models.hot.one.ttl.x=1"], "there is nothing below a single value"),
        (["--replay", "FILE", "--set", "routing.scheduler.use=lifo"], "there is no policy 'lifo'"),
        (["--replay", "FILE", "--profile", "zipf"], "costs in it; leave out --profile"),
        (["--replay", "FILE", "--cost", "a=1"], "leave out --cost"),
        (["--replay", "FILE", "--swap-cost", "3"], "leave out --swap-cost"),
        (["--replay", "FILE", "--until", "3"], "leave out --until"),
        (["--replay", "FILE", "--compare", "best"], "--replay: there is no 'best' for a recording"),
    ],
)  # fmt: skip
def test_mistakes_are_one_line_and_exit_status_2(
    made: Callable[..., Path], capsys: Any, arguments: list[str], words: str
) -> None:
    file = str(made())
    assert main([file if argument == "FILE" else argument for argument in arguments]) == 2
    told = capsys.readouterr()
    assert told.out == ""
    assert told.err.count("\n") == 1
    assert told.err.startswith("swapyard simulate: ")
    assert words in told.err


MEMORY = [
    "routing.router.use=memory",
    'routing.router.settings={"memory": {"devices": {"gpu": "10GiB"}}}',
    'models.hot.one.memory={"gpu": "4GiB"}',
    "models.rare.memory.gpu=5GiB",
]
SETS = ["routing.router.use=matrix", "routing.router.settings.matrix.sets.both=hot.one & rare"]
GROUPS = ['routing.router.settings.groups.both={"swap": false, "members": ["hot.one", "rare"]}']


@pytest.mark.parametrize("changes", [MEMORY, SETS, GROUPS])
def test_a_budget_a_set_or_a_group_that_lets_both_run_can_be_tried(
    made: Callable[..., Path], changes: list[str]
) -> None:
    found = answer(made(), changes, [], seed=0, timelines=False)
    record = found.rows[2].record
    assert record is not None
    assert record.starts == 2, "both fit beside each other"

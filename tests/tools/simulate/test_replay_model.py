"""A recording of any random life, begun anywhere in it, replays to the same decisions (with every policy and rule)."""

import tempfile
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, seed, settings
from hypothesis import strategies as st
from hypothesis.stateful import initialize, run_state_machine_as_test

from protocol.ids import ModelId
from supervisor.scheduler import effects as do
from supervisor.scheduler import events as ev
from supervisor.scheduler.state import Rules
from tests.support.random_parts import EVICTIONS, NAMES, POLICIES
from tests.support.random_trouble import TroubledWorld
from tests.support.recordings import Tape
from tools.simulate.replay import replay

QUICK = settings(
    max_examples=15,
    stateful_step_count=50,
    deadline=None,
    database=None,
    phases=[Phase.generate, Phase.shrink],
    suppress_health_check=list(HealthCheck),
)
MOST_ROUNDS = 12
WANTED = ("mid-life", "RulesChanged", "WorkerLost", "ModelStartFailed", "RequestAbandoned", "ExchangesReported")
COMBINATIONS = [(policy, eviction) for policy in POLICIES for eviction in EVICTIONS]


class RecordedWorld(TroubledWorld):
    """Records from any moment on, and replays at its end."""

    tape: Tape | None = None
    silent = 0
    """Events that go unrecorded."""
    names: tuple[ModelId, ...] = tuple(NAMES)
    replayed: Counter[str]

    @initialize(after=st.integers(0, 30))
    def begin_after(self, after: int) -> None:
        self.silent = after

    def begin(self) -> None:
        self.tape = Tape(self.core, self.now, self.config)
        if self.core.board.leases and self.core.board.waiters:
            self.replayed["mid-life"] += 1

    def config(self) -> dict[str, Any]:
        return {"settings": list(self.settings), "models": list(self.names)}

    def rebuilt(self, config: Mapping[str, Any]) -> Rules:
        kept, self.settings = self.settings, tuple(config["settings"])
        try:
            return self.make_rules([ModelId(name) for name in config["models"]])
        finally:
            self.settings = kept

    def handled(self, event: ev.Event, effects: list[do.Effect]) -> None:
        if isinstance(event, ev.RulesChanged):
            self.names = tuple(event.rules.models)
        if self.tape is not None:
            self.replayed[type(event).__name__] += 1
            self.tape.take(event, self.now, effects)
        elif self.silent:
            self.silent -= 1
        else:
            self.begin()

    def teardown(self) -> None:
        super().teardown()
        if self.tape is not None:
            with tempfile.TemporaryDirectory() as scratch:
                found = replay(self.tape.write(Path(scratch) / "recording"), self.rebuilt)
            assert found.difference is None, found.told()
            self.replayed["events"] += found.events


def missing(replayed: Counter[str]) -> list[str]:
    """What no replay has had to go through yet."""
    return [kind for kind in WANTED if not replayed[kind]]


@pytest.mark.parametrize(("policy", "eviction"), COMBINATIONS)
def test_a_recording_of_a_random_life_replays_to_the_same_decisions(policy: str, eviction: str) -> None:
    attributes: dict[str, Any] = {
        "make_policy": staticmethod(POLICIES[policy]),
        "make_eviction": staticmethod(EVICTIONS[eviction]),
        "seen": Counter(),
        "replayed": Counter(),
    }
    world: Any = type(f"Recorded_{policy}_{eviction}", (RecordedWorld,), attributes)
    for number in range(MOST_ROUNDS):
        run_state_machine_as_test(seed(number)(world), settings=QUICK)
        if not missing(world.replayed):
            break
    assert not missing(world.replayed), f"in no recording: {missing(world.replayed)}"

"""Workers that park leases against the real core: any order of messages, recalls, cuts, crashes and reloads."""

import logging
from collections.abc import Callable

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import run_state_machine_as_test

from supervisor import clock
from tests.support.lease_supervisor import MODELS, VirtualTime
from tests.support.lease_world import LeaseWorld

STEPS = 80
SHORT = settings(
    phases=[Phase.generate],
    max_examples=400,
    stateful_step_count=STEPS,
    deadline=None,
    derandomize=True,
    suppress_health_check=list(HealthCheck),
)
LONG = settings(
    max_examples=400_000 // STEPS,
    stateful_step_count=STEPS,
    deadline=None,
    database=None,
    phases=[Phase.generate, Phase.shrink],
    suppress_health_check=list(HealthCheck),
)
MUST_HAPPEN = {
    "request", "reuse", "park", "release", "swept", "Held", "AcquireRefused", "cancel", "dropped", "crash",
    "recall of idle", "recall of busy", "recall too late", "cut of idle", "cut of busy", "cut too late",
    "worker lost", "message of a lost worker", "alias moved", "claim", "stop ttl", "stop evicted", "stop unloaded",
    "stop drained", "stop reloaded", "RulesChanged", "ExchangesReported", "WorkerLost", "ModelStartFailed",
    "RequestAbandoned", "LeaseReleased", "ModelExited",
}  # fmt: skip


@pytest.fixture(autouse=True)
def virtual_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clock, "now", lambda: VirtualTime.now)
    for name in ("scheduler", "workers"):
        monkeypatch.setattr(logging.getLogger(f"swapyard.{name}"), "disabled", True)


def run(how: settings, tell: Callable[[str], None]) -> None:
    LeaseWorld.seen.clear()
    run_state_machine_as_test(LeaseWorld, settings=how)
    tell(str(dict(sorted(LeaseWorld.seen.items()))))
    missing = {name for name in MUST_HAPPEN if not LeaseWorld.seen[name]}
    assert not missing, f"never happened: {missing}"


def test_no_order_of_messages_loses_or_doubles_a_lease(tell: Callable[[str], None]) -> None:
    run(SHORT, tell)


@pytest.mark.long
def test_no_order_of_messages_loses_or_doubles_a_lease_in_four_hundred_thousand_steps(
    tell: Callable[[str], None],
) -> None:
    run(LONG, tell)


def test_who_waits_gets_the_lease_that_ends_first_whichever_was_recalled() -> None:
    world = LeaseWorld()
    world.configure(eviction=0, limit=2, ttl=0.0)
    for _ in range(2):
        world.request(slot=0, name="a")
        world.all_messages()
        world.go_on()
        world.all_messages()
    world.request(slot=1, name="a")
    world.all_messages()
    keeper, waiting = world.yard.workers[:2]
    assert (len(keeper.exchanges), len(waiting.calls)) == (2, 1)
    world.finish(slot=0, which=1)
    world.all_messages()
    assert (len(keeper.exchanges), len(waiting.exchanges)) == (1, 1)
    world.teardown()


def test_a_start_that_fails_while_it_is_being_stopped_exits_once() -> None:
    world = LeaseWorld()
    world.seen.clear()
    world.configure(eviction=0, limit=1, ttl=0.0)
    world.request(slot=0, name="a")
    world.all_messages()
    world.yard.unload(MODELS[0], drain=False)
    world.fail_to_start()
    world.go_on()
    assert not world.yard.core.forbidden
    assert world.seen["ModelStartFailed"] == world.seen["ModelExited"] == 1
    world.teardown()

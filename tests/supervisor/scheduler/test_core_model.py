"""The invariants of the core under random events, for every policy with every eviction rule.

``make test-long`` takes 200,000 steps for each combination, with a seed of its own; CI a short, fixed form.
"""

from collections.abc import Callable

import pytest
from hypothesis import HealthCheck, Phase, seed, settings
from hypothesis.stateful import run_state_machine_as_test

from protocol.ids import Refusal
from supervisor.scheduler import effects as do
from supervisor.scheduler import events as ev
from tests.support.random_parts import EVICTIONS, POLICIES
from tests.support.random_trouble import world_for
from tests.support.random_world import World

SHORT_STEPS, LONG_STEPS = 5_000, 200_000
MOST_ROUNDS = 32
"""Of the short form, until there are enough steps and every class has occurred; each has a seed of its own, the same
in every run."""
SHORT = settings(
    max_examples=25,
    stateful_step_count=60,
    deadline=None,
    database=None,
    phases=[Phase.generate, Phase.shrink],
    suppress_health_check=list(HealthCheck),
)
LONG = settings(SHORT, max_examples=1000)
EVENTS = {event.__name__ for event in ev.Event.__args__}
EFFECTS = {effect.__name__ for effect in do.Effect.__args__} - {"ReportProgress"}
HAPPENINGS = {"cancel crosses grant", "crash", "late ready", "restore", "stopped with leases", "plan given up"}
REFUSALS = {
    f"refused: {kind}"
    for kind in (
        Refusal.BACKING_OFF, Refusal.OVERLOADED, Refusal.SHUTTING_DOWN, Refusal.START_FAILED, Refusal.STUCK,
        Refusal.TIMED_OUT, Refusal.UNKNOWN_MODEL, Refusal.UNLOADED,
    )
}  # fmt: skip
PARKING = {"Recall", "park", "reuse", "parked leases"}
CLAIMS = {"claims room", "drains for it"}
COMBINATIONS = [(policy, eviction) for policy in POLICIES for eviction in EVICTIONS]


def expected(policy: str, eviction: str) -> set[str]:
    """What has to happen at least once; a class that never occurs was not tested."""
    wanted = EVENTS | EFFECTS | HAPPENINGS | REFUSALS | PARKING | CLAIMS
    if policy in ("strict", "window"):
        wanted -= PARKING
    if policy not in ("fifo", "window"):
        wanted -= CLAIMS
    if eviction == "memory":
        wanted |= {f"refused: {Refusal.IMPOSSIBLE}"}
    return wanted


def missing(world: type[World], name: tuple[str, str]) -> list[str]:
    """What should have happened by now."""
    return sorted(kind for kind in expected(*name) if not world.seen[kind])


def told(world: type[World], steps: int, name: tuple[str, str], tell: Callable[[str], None]) -> None:
    """Say how often each class occurred; none may be missing."""
    tell(", ".join(f"{kind} {world.seen[kind]:,}" for kind in sorted(world.seen)))
    assert world.seen["steps"] >= steps
    assert not missing(world, name), f"never happened: {missing(world, name)}"


@pytest.mark.parametrize(("policy", "eviction"), COMBINATIONS)
def test_the_invariants_hold_under_random_events(policy: str, eviction: str, tell: Callable[[str], None]) -> None:
    world, name = world_for(policy, eviction), (policy, eviction)
    for number in range(MOST_ROUNDS):
        # What rules a round draws depends on all of the code, so rare classes may be missing from any one.
        run_state_machine_as_test(seed(number)(world), settings=SHORT)
        if world.seen["steps"] >= SHORT_STEPS and not missing(world, name):
            break
    told(world, SHORT_STEPS, name, tell)


@pytest.mark.long
@pytest.mark.parametrize(("policy", "eviction"), COMBINATIONS)
def test_the_invariants_hold_for_two_hundred_thousand_steps(
    policy: str, eviction: str, tell: Callable[[str], None]
) -> None:
    world = world_for(policy, eviction)
    while world.seen["steps"] < LONG_STEPS:
        run_state_machine_as_test(world, settings=LONG)
    told(world, LONG_STEPS, (policy, eviction), tell)

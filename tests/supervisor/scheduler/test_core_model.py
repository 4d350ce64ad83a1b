"""The invariants of the core under random events, for every policy with every eviction rule.

``make test-long`` takes 200,000 steps for each combination, with a seed of its own; CI a short, fixed form.
"""

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import run_state_machine_as_test

from supervisor.scheduler import events as ev
from tests.support.random_world import EVICTIONS, POLICIES, World, world_for

STEPS = 60
SHORT = settings(
    max_examples=150,
    stateful_step_count=STEPS,
    deadline=None,
    derandomize=True,
    suppress_health_check=list(HealthCheck),
)
LONG = settings(
    max_examples=200_000 // STEPS,
    stateful_step_count=STEPS,
    deadline=None,
    database=None,
    phases=[Phase.generate, Phase.shrink],
    suppress_health_check=list(HealthCheck),
)
EVENTS = {event.__name__ for event in ev.Event.__args__}
EFFECTS = {"Grant", "Refuse", "StartModel", "StopModel", "Cut", "Answer", "WakeAt", "Note"}
COMBINATIONS = [(policy, eviction) for policy in POLICIES for eviction in EVICTIONS]


def expected(policy: str, eviction: str) -> set[str]:
    """What has to happen at least once; a class that never occurs was not tested."""
    wanted = EVENTS | EFFECTS | {"restore"}
    if policy != "strict":
        wanted |= {"Recall", "park", "reuse"}
    if policy == "fifo":
        wanted |= {"claims room", "drains for it"}
    return wanted


def run(world: type[World], how: settings, policy: str, eviction: str) -> None:
    """Run, and say how often each class occurred."""
    run_state_machine_as_test(world, settings=how)
    print(policy, eviction, dict(sorted(world.seen.items())))
    missing = {name for name in expected(policy, eviction) if not world.seen[name]}
    assert not missing, f"never happened: {missing}"


@pytest.mark.parametrize(("policy", "eviction"), COMBINATIONS)
def test_the_invariants_hold_under_random_events(policy: str, eviction: str) -> None:
    run(world_for(policy, eviction), SHORT, policy, eviction)


@pytest.mark.long
@pytest.mark.parametrize(("policy", "eviction"), COMBINATIONS)
def test_the_invariants_hold_for_two_hundred_thousand_steps(policy: str, eviction: str) -> None:
    run(world_for(policy, eviction), LONG, policy, eviction)

"""The invariants of the core under random events, for every policy with every eviction rule.

``make test-long`` takes 200,000 steps for each combination, with a seed of its own; CI a short, fixed form.
"""

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import run_state_machine_as_test

from protocol.ids import Refusal
from supervisor.scheduler import effects as do
from supervisor.scheduler import events as ev
from tests.support.random_parts import EVICTIONS, POLICIES
from tests.support.random_trouble import world_for
from tests.support.random_world import World

SHORT_STEPS, LONG_STEPS = 5_000, 200_000
SHORT = settings(
    max_examples=150,
    stateful_step_count=60,
    deadline=None,
    derandomize=True,
    suppress_health_check=list(HealthCheck),
)
LONG = settings(
    SHORT,
    max_examples=1000,
    derandomize=False,
    database=None,
    phases=[Phase.generate, Phase.shrink],
)
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
    if policy == "strict":
        wanted -= PARKING
    if policy != "fifo":
        wanted -= CLAIMS
    if eviction == "memory":
        wanted |= {f"refused: {Refusal.IMPOSSIBLE}"}
    return wanted


def run(
    world: type[World], how: settings, steps: int, name: tuple[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    """Run until there were enough steps, and say how often each class occurred."""
    run_state_machine_as_test(world, settings=how)
    while world.seen["steps"] < steps and not how.derandomize:
        run_state_machine_as_test(world, settings=how)
    with capsys.disabled():
        counts = ", ".join(f"{kind} {world.seen[kind]:,}" for kind in sorted(world.seen))
        print(f"\n{' with '.join(name)}: {counts}")
    assert world.seen["steps"] >= steps
    missing = {kind for kind in expected(*name) if not world.seen[kind]}
    assert not missing, f"never happened: {sorted(missing)}"


@pytest.mark.parametrize(("policy", "eviction"), COMBINATIONS)
def test_the_invariants_hold_under_random_events(
    policy: str, eviction: str, capsys: pytest.CaptureFixture[str]
) -> None:
    run(world_for(policy, eviction), SHORT, SHORT_STEPS, (policy, eviction), capsys)


@pytest.mark.long
@pytest.mark.parametrize(("policy", "eviction"), COMBINATIONS)
def test_the_invariants_hold_for_two_hundred_thousand_steps(
    policy: str, eviction: str, capsys: pytest.CaptureFixture[str]
) -> None:
    run(world_for(policy, eviction), LONG, LONG_STEPS, (policy, eviction), capsys)

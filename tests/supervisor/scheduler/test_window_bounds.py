"""No request waits longer under ``window`` than the bound that ``design.md`` derives; a policy that breaks it is found.

The long form takes 100,000 scenarios, ``make test-long``.
"""

import itertools
from collections import Counter

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from supervisor.scheduler.contracts import Choice, Claim, Nothing, Queue
from supervisor.scheduler.policies.window import Settings, Window
from tests.support.random_parts import EVICTIONS, SOUND
from tests.support.window_traffic import Scenario, bound, overstepped, run
from tools.simulate.world import Arrival

SHORT, LONG = 150, 100_000


def look_at(seed: int, rule: str, seen: Counter[str], policy: type[Window] = Window) -> list[tuple[str, float, float]]:
    """What is wrong about one scenario."""
    scenario = Scenario.of(seed)
    record = scenario.record(EVICTIONS[rule](seed % SOUND), policy)
    assert len(record.waits) == len(scenario.arrivals), "somebody was never served"
    seen["starts"] += record.starts
    for _, _, wait in record.waits:
        late = wait > scenario.settings.max_wait
        seen["at once" if wait == 0.0 else "beyond maxWait" if late else "within maxWait"] += 1
    return overstepped(scenario, record)


@pytest.mark.parametrize("rule", EVICTIONS)
def test_no_request_waits_longer_than_the_bound(rule: str) -> None:
    seen: Counter[str] = Counter()
    for seed in range(SHORT):
        assert not look_at(seed, rule, seen), f"seed {seed}"
    print(rule, dict(seen))
    assert all(seen[kind] for kind in ("at once", "within maxWait", "beyond maxWait", "starts"))


@given(st.integers(0, 2**32), st.sampled_from(sorted(EVICTIONS)))
@settings(max_examples=60, deadline=None, database=None, derandomize=True, suppress_health_check=list(HealthCheck))
def test_hypothesis_finds_no_scenario_beyond_the_bound(seed: int, rule: str) -> None:
    assert not look_at(seed, rule, Counter())


@pytest.mark.long
def test_no_request_waits_longer_than_the_bound_in_a_hundred_thousand_scenarios() -> None:
    seen: Counter[str] = Counter()
    for seed, rule in zip(range(LONG), itertools.cycle(EVICTIONS), strict=False):
        assert not look_at(seed, rule, seen), f"seed {seed}, {rule}"
    print(dict(seen))


class Forgetful(Window):
    """Never claims: who is not ready waits until the others happen to be idle."""

    def choose(self, queue: Queue, now: float) -> Choice:
        choice = super().choose(queue, now)
        return Nothing() if isinstance(choice, Claim) else choice


def hot_and_rare(policy: Window) -> list[float]:
    """What rare requests wait beside a model that is never idle; two slots, 1 s of service, swaps of 1 s."""
    hot = [Arrival(0.6 * number, "a", 1.0, "x") for number in range(500)]
    rare = [Arrival(20.0 + 100.0 * number, "b", 1.0, "y") for number in range(3)]
    return run(policy, hot + rare, 1.0, limit=2).of("b")


def test_the_bound_is_tight_enough_to_find_a_policy_that_never_claims() -> None:
    chosen = Settings(max_wait=2.0, batch=2.0)
    longest = bound(chosen, models=2, model="b", before=0, limit=2, lease=1.0, swap=1.0)
    assert hot_and_rare(Window(chosen))[-1] <= longest
    assert hot_and_rare(Forgetful(chosen))[-1] > longest


def test_random_scenarios_find_it_too() -> None:
    assert any(look_at(seed, "group", Counter(), Forgetful) for seed in range(SHORT))

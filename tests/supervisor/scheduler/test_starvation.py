"""How long requests wait, in virtual time, against the bound that ``design.md`` derives."""

import math
import random
from collections import Counter

import pytest

from protocol.ids import ModelId
from supervisor.scheduler.contracts import Eviction
from supervisor.scheduler.evictions.group import Groups
from supervisor.scheduler.policies.fifo import Fifo
from supervisor.scheduler.state import ModelRule, Rules
from tests.support.examples import DESIGN
from tests.support.random_parts import EVICTIONS, NAMES, SOUND
from tests.support.traffic import (
    HOUR,
    LONG_LOAD,
    RARE_AT,
    alternating,
    bound,
    hot_and_rare,
    long_load,
    percentile,
    table,
    two_equal,
)
from tools.simulate.world import Arrival, Cost, World


def test_a_rare_model_behind_a_hot_one_waits_within_the_bound() -> None:
    longest = bound(max_wait=60.0, lease=6.0, swap=20.0, resident=0.0, ahead=0, behind=0, limit=10)
    for seed in range(8):
        waits = hot_and_rare(60.0, seed).of("b")
        print(f"seed {seed}: worst {waits[-1]:.1f} s of {len(waits)}, bound {longest:.1f} s")
        assert len(waits) > 50
        assert waits[-1] <= longest


def test_without_the_claim_a_rare_model_waits_until_the_hot_one_happens_to_pause() -> None:
    assert hot_and_rare(0.0).of("b")[-1] > 1.5 * hot_and_rare(60.0).of("b")[-1]


@pytest.mark.parametrize(("swap", "limit"), [(60.0, 220.0), (90.0, 290.0)])
def test_two_models_that_take_turns_keep_their_waits_flat(swap: float, limit: float) -> None:
    for seed in range(8):
        record = two_equal(seed, swap)
        first, second = record.of(until=3 * HOUR), record.of(since=3 * HOUR)
        print(f"seed {seed}: 99 % {percentile(record.of(), 0.99):.0f} s, worst {first[-1]:.0f}, {second[-1]:.0f} s")
        assert percentile(record.of(), 0.99) <= limit
        assert second[-1] <= 1.3 * first[-1]


@pytest.mark.parametrize("swap", [5.0, 60.0, 300.0])
def test_one_caller_who_alternates_pays_no_residence(swap: float) -> None:
    record = alternating(100, swap, 6.0)
    assert record.starts == 100
    assert record.ended == pytest.approx(100 * (swap + 6.0), rel=0.01)


def test_who_waited_through_a_long_load_is_served_before_a_claim_that_ripened_meanwhile() -> None:
    record = long_load(60.0)
    (rare,) = record.of("b")
    assert RARE_AT + 60.0 < LONG_LOAD, "the claim has to ripen during the load"
    during_the_load = [at + wait for model, at, wait in record.waits if model == "a" and at < LONG_LOAD]
    assert len(during_the_load) == LONG_LOAD
    assert max(during_the_load) < RARE_AT + rare
    longest = bound(max_wait=60.0, lease=6.0, swap=LONG_LOAD, resident=0.0, ahead=0, behind=0, limit=10)
    print(f"the rare one waited {rare:.0f} s, bound {longest:.0f} s")
    assert rare <= longest
    # Without the claim it waits until nobody asks for the other one any more.
    assert long_load(0.0).of("b")[-1] > 1800.0 - RARE_AT


def test_the_table_in_the_design_is_what_a_run_gives() -> None:
    wanted = "\n".join(table())
    assert f"\n{wanted}\n\n" in DESIGN.read_text(), f"put into design.md:\n{wanted}"


def scenario(rng: random.Random, eviction: Eviction, seen: Counter[str]) -> None:
    """Random traffic with capped leases and swaps; every wait against its own bound."""
    limit, max_wait, resident = rng.randint(1, 3), rng.choice([1.0, 10.0, 40.0]), rng.choice([0.0, 0.0, 15.0])
    lease, start, stop = rng.choice([1.0, 8.0]), rng.choice([1.0, 12.0]), rng.choice([0.0, 3.0])
    rule = ModelRule(limit=limit, queue_limit=10_000, queue_timeout=1e9)
    rules = Rules(dict.fromkeys(NAMES, rule), Fifo(max_wait=max_wait, min_resident=resident), eviction)
    models = rng.sample(NAMES, rng.randint(2, 5))
    arrivals, now = [], 0.0
    for _ in range(rng.randint(5, 120)):
        now += rng.expovariate(rng.choice([0.2, 1.0, 5.0]))
        arrivals.append(Arrival(now, rng.choice([models[0], *models]), rng.uniform(0.0, lease)))
    record = World(rules, {name: Cost(start, stop) for name in NAMES}).run(arrivals)
    assert record.refused == 0
    assert len(record.waits) == len(arrivals), "somebody was never served"
    for model, at, wait in record.waits:
        older: Counter[str] = Counter(other for other, when, waited in record.waits if when < at < when + waited)
        behind = older.pop(model, 0)
        ahead = sum(math.ceil(count / limit) for count in older.values())
        longest = bound(
            max_wait=max_wait,
            lease=lease,
            swap=start + stop,
            resident=resident,
            ahead=ahead,
            behind=behind,
            limit=limit,
        )
        assert wait <= longest, f"{model} waited {wait} s, more than {longest} s"
        seen["immediate" if wait == 0.0 else "within maxWait" if wait <= max_wait else "beyond maxWait"] += 1
        seen["behind others"] += bool(ahead or behind)
    seen["swaps"] += record.starts


@pytest.mark.parametrize("name", ["group", "matrix", "memory", "lru"])
def test_no_request_waits_longer_than_the_bound(name: str) -> None:
    seen: Counter[str] = Counter()
    for seed in range(300):
        rng = random.Random(seed)
        scenario(rng, EVICTIONS[name](seed % SOUND), seen)
    print(name, dict(seen))
    assert all(seen[kind] for kind in ("immediate", "within maxWait", "beyond maxWait", "behind others", "swaps")), seen


def test_the_bound_is_tight_enough_to_mean_something() -> None:
    """Without the claim, the same traffic breaks it."""
    rules = Rules(
        {ModelId(name): ModelRule(limit=2, queue_limit=10_000, queue_timeout=1e9) for name in "ab"},
        Fifo(max_wait=0.0),
        Groups(),
    )
    hot = [Arrival(number * 1.0, "a", 8.0) for number in range(600)]
    arrivals = sorted([*hot, Arrival(50.0, "b", 8.0)], key=lambda arrival: arrival.at)
    (wait,) = World(rules, {"a": Cost(5.0), "b": Cost(5.0)}).run(arrivals).of("b")
    assert wait > bound(max_wait=60.0, lease=8.0, swap=5.0, resident=0.0, ahead=5, behind=0, limit=2)

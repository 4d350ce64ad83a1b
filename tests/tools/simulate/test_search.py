"""The best possible schedule, against schedules that were found by hand, and against all there are."""

import random
from itertools import permutations

import pytest

from tests.tools.simulate.cases import FIFO, Arrival, Choice, Cost, Scenario, run, scenario
from tools.simulate import search
from tools.simulate.command import profile_scenario
from tools.simulate.profiles import one_at_a_time, with_memory
from tools.simulate.search import NotSearchable, best, schedule


def test_a_case_that_is_solved_by_hand() -> None:
    """a at 0, b at 0, a at 4; 3 s to load, 1 s each: a, a, b and b, a, a end at 9, with one load more a, b, a at 12."""
    case = scenario([Arrival(0, "a", 1), Arrival(0, "b", 1), Arrival(4, "a", 1)], Cost(3))
    record = best(case)
    assert (record.ended, record.starts) == (9, 2)
    assert record.share == pytest.approx(3 / 9)
    assert [(step.arrival.model, step.granted) for step in schedule(case)] in (
        [("a", 3), ("a", 4), ("b", 8)],
        [("b", 3), ("a", 7), ("a", 8)],
    )
    assert record.summary().worst in (8, 7)


def test_waiting_for_a_request_that_will_come_can_be_best() -> None:
    """To swap back costs 20 s; to wait for the next a costs 2 s."""
    case = scenario([Arrival(0, "a", 1), Arrival(0.5, "b", 1), Arrival(13, "a", 1)], {"a": Cost(10), "b": Cost(10, 10)})
    found = [(step.arrival.model, step.granted) for step in schedule(case)]
    assert found == [("a", 10), ("a", 13), ("b", 24)]
    assert best(case).ended == 25
    assert run(case, FIFO).ended == 10 + 1 + 10 + 1 + 10 + 10 + 1


def test_a_model_does_not_load_before_a_request_waits_for_it() -> None:
    assert best(scenario([Arrival(5, "a", 1)], Cost(10))).ended == 16


def test_stops_count_and_are_those_of_the_model_that_goes() -> None:
    case = scenario([Arrival(0, "a", 1), Arrival(0, "b", 1)], {"a": Cost(2, 50), "b": Cost(3, 4)})
    assert [step.arrival.model for step in schedule(case)] == ["b", "a"]
    assert best(case).ended == 3 + 1 + 4 + 2 + 1


def by_trying_all(case: Scenario) -> float:
    """The least makespan over all orders of all requests, those of one model in any order, too."""
    arrivals = list(case.arrivals)
    least = float("inf")
    for order in permutations(arrivals):
        now, resident = 0.0, ""
        for arrival in order:
            now = max(now, arrival.at)
            if arrival.model != resident:
                now += case.costs[arrival.model].start + (case.costs[resident].stop if resident else 0.0)
            now, resident = now + arrival.service, arrival.model
        least = min(least, now)
    return least


def test_it_finds_what_trying_all_orders_finds_and_no_policy_is_better() -> None:
    for seed in range(60):
        rng = random.Random(seed)
        models = "abc"[: rng.randint(2, 3)]
        arrivals, now = [], 0.0
        for _ in range(6):
            now += rng.choice([0.0, rng.uniform(0, 6)])
            arrivals.append(Arrival(now, rng.choice(models), rng.uniform(0.1, 4)))
        costs = {name: Cost(rng.uniform(0, 9), rng.uniform(0, 4)) for name in "abc"}
        case = scenario(arrivals, costs, one_at_a_time("abc"))
        least = best(case).ended
        assert least == pytest.approx(by_trying_all(case)), f"seed {seed}"
        for policy in ("fifo", "fifo:maxWait=5", "llama-swap", "drain-first", "arrival-order"):
            assert run(case, Choice.of(policy)).ended >= least - 1e-9, f"seed {seed}, {policy}"


@pytest.mark.parametrize("name", ["balanced", "bursty", "dominant-80", "interleave", "surge", "three-models"])
def test_it_bounds_every_policy_on_the_small_profiles(name: str) -> None:
    case = profile_scenario(name, 10.0)
    record = best(case)
    assert record.models.keys() == run(case, FIFO).models.keys()
    for policy in ("fifo", "drain-first", "arrival-order"):
        assert run(case, Choice.of(policy)).share <= record.share + 1e-9


@pytest.mark.parametrize(
    ("case", "said"),
    [
        (
            scenario([Arrival(0, "a", 1)], Cost(1), one_at_a_time("a", limit=2)),
            "one request at a time; 'a' has another",
        ),
        (scenario([Arrival(0, "a", 1)], Cost(1), with_memory(9, {"a": 1}, limit=1)), "one model at a time only"),
        (scenario([Arrival(0, "a", 1, cancel_after=1)], Cost(1)), "does not know clients who leave"),
        (scenario([Arrival(0, "a", 1, deadline=1)], Cost(1)), "nor deadlines"),
        (scenario([Arrival(0, "a", 1)], Cost(1, crash=0.1)), "does not know loads that fail"),
        (scenario([], Cost(1), loops=[[Arrival(0, "a", 1)]]), "requests with given times"),
        (scenario([Arrival(0, "a", 1)], Cost(1), until=5), "leave --until out"),
        (scenario([Arrival(0, "ab"[n % 2], 1) for n in range(2000)], Cost(1)), "too many to search"),
    ],
)
def test_what_it_cannot_search_is_told(case: Scenario, said: str) -> None:
    with pytest.raises(NotSearchable, match=said):
        best(case)


def test_the_bound_on_states_is_that_of_the_product(monkeypatch: pytest.MonkeyPatch) -> None:
    case = scenario([Arrival(0, "ab"[number % 2], 1) for number in range(6)], Cost(1))
    monkeypatch.setattr(search, "MOST_STATES", 4 * 4 * 2)
    assert best(case).starts == 2
    monkeypatch.setattr(search, "MOST_STATES", 4 * 4 * 2 - 1)
    with pytest.raises(NotSearchable, match="more than 31 states"):
        best(case)

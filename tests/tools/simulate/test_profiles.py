"""Each profile is what its definition says."""

import random
from collections import Counter
from itertools import pairwise

import pytest

from tests.tools.simulate.cases import settings
from tools.simulate.command import profile_scenario
from tools.simulate.profiles import PROFILES, Traffic, definition
from tools.simulate.scenario import Choice, run
from tools.simulate.world import Cost

COST = 10.0


def traffic(name: str, seed: int = 0) -> Traffic:
    return PROFILES[name](random.Random(seed), COST)


def counts(name: str) -> dict[str, int]:
    return dict(Counter(arrival.model for arrival in traffic(name).arrivals))


@pytest.mark.parametrize("name", PROFILES)
def test_a_profile_has_a_definition_a_valid_configuration_and_requests_in_order(name: str) -> None:
    assert 20 < len(definition(name)) < 350
    made = traffic(name)
    found = settings(made.config)
    requests = [*made.arrivals, *(arrival for loop in made.loops for arrival in loop)]
    assert {arrival.model for arrival in requests} <= set(found.models)
    assert set(made.costs) <= set(found.models)
    assert all(first.at <= second.at for first, second in pairwise(made.arrivals))
    assert traffic(name) == made, "the same seed gives the same requests"


@pytest.mark.parametrize("name", PROFILES)
def test_every_request_of_a_profile_ends(name: str) -> None:
    made = traffic(name)
    record = run(profile_scenario(name, COST), Choice.of("llama-swap"))
    assert sum(account.asked for account in record.models.values()) == len(made.arrivals) + sum(map(len, made.loops))
    for account in record.models.values():
        assert account.open == 0
        assert account.asked == account.served + account.refused + account.left
    assert record.starts > 0
    assert not record.complaints
    assert (record.refused > 0) == (name == "crashes")


@pytest.mark.parametrize(
    ("name", "models", "gap"),
    [
        ("balanced", {"a": 10, "b": 10}, 0.25),
        ("dominant-80", {"a": 40, "b": 10}, 0.5),
        ("interleave", {"a": 15, "b": 15}, 0.5),
        ("three-models", {"a": 10, "b": 10, "c": 10}, 0.5),
        ("dominant-95", {"a": 95, "b": 5}, 0.5),
    ],
)
def test_evenly_spaced_profiles(name: str, models: dict[str, int], gap: float) -> None:
    arrivals = traffic(name).arrivals
    assert counts(name) == models
    assert [arrival.at for arrival in arrivals] == [number * gap for number in range(len(arrivals))]
    assert {arrival.service for arrival in arrivals} == {0.5}


def test_interleaved_models_take_turns() -> None:
    assert "".join(arrival.model for arrival in traffic("interleave").arrivals) == "ab" * 15
    assert "".join(arrival.model for arrival in traffic("three-models").arrivals) == "abc" * 10


def test_shuffled_profiles_depend_on_the_seed() -> None:
    for name in ("balanced", "dominant-80", "dominant-95", "random-50"):
        assert traffic(name, 1).arrivals != traffic(name, 2).arrivals


@pytest.mark.parametrize(
    ("name", "bursts", "size", "gap"), [("bursty", "abab", 10, 10.0), ("heavy-burst", "abcabc", 50, 20.0)]
)
def test_bursts(name: str, bursts: str, size: int, gap: float) -> None:
    found = Counter((arrival.at, arrival.model) for arrival in traffic(name).arrivals)
    assert found == {(number * gap, model): size for number, model in enumerate(bursts)}


@pytest.mark.parametrize("count", [50, 100, 200])
def test_random_profiles_have_their_number_and_rate(count: int) -> None:
    arrivals = traffic(f"random-{count}").arrivals
    assert len(arrivals) == count
    assert arrivals[-1].at == pytest.approx(count * 0.5, rel=0.4)
    assert set(counts(f"random-{count}")) == {"a", "b", "c"}


def test_single_and_surge() -> None:
    assert [(arrival.at, arrival.model) for arrival in traffic("single").arrivals] == [(0.0, "a")] * 20
    found = Counter((arrival.at, arrival.model) for arrival in traffic("surge").arrivals)
    assert found == {(20.0, "b"): 20, **{(float(second), "a"): 1 for second in range(0, 60, 2)}}


def test_agents_wait_for_their_answers() -> None:
    loops = traffic("agents").loops
    assert [(loop[0].caller, loop[0].model, len(loop)) for loop in loops] == [
        ("orchestrator", "orchestrator", 12),
        ("coder", "coder", 8),
        ("explorer-1", "explorer", 30),
        ("explorer-2", "explorer", 30),
    ]


def test_the_image_job_takes_twenty_minutes_and_everything_else_fits_beside_each_other() -> None:
    (job,) = [arrival for arrival in traffic("image-job").arrivals if arrival.model == "image"]
    assert (job.at, job.service) == (600.0, 1200.0)
    assert traffic("image-job").costs == {"image": Cost(30.0)}
    found = settings(traffic("image-job").config).models
    size = {name: model.memory["gpu0"] >> 30 for name, model in found.items()}
    assert size["chat"] + size["embed"] <= 24 < size["chat"] + size["image"]


def test_the_tail_follows_zipfs_law() -> None:
    found = counts("zipf")
    assert len(settings(traffic("zipf").config).models) == 50
    assert sum(found.values()) == 1000
    assert found["m01"] / found["m02"] == pytest.approx(2, rel=0.25)
    assert found["m01"] == pytest.approx(1000 / sum(1 / number for number in range(1, 51)), rel=0.15)


def test_storms_leave_crashes_fail_and_slow_stops_are_slow() -> None:
    gone = [arrival for arrival in traffic("cancel-storm").arrivals if arrival.cancel_after is not None]
    assert Counter(arrival.at for arrival in gone) == dict.fromkeys(map(float, range(15, 300, 30)), 40)
    assert {arrival.cancel_after for arrival in gone} == {3.0}
    assert {cost.crash for cost in traffic("crashes").costs.values()} == {0.3}
    assert traffic("slow-stops").costs == {"b": Cost(10.0, 30.0)}
    assert traffic("asymmetric").costs == {"large": Cost(20.0, 5.0), "small": Cost(1.0)}


def test_the_fairness_profiles_keep_as_many_requests_open_as_they_say() -> None:
    four = Counter((loop[0].caller, loop[0].model) for loop in traffic("four-callers").loops)
    assert set(four.values()) == {10}
    assert len(four) == 8
    greedy = traffic("greedy")
    assert Counter(loop[0].model for loop in greedy.loops) == {"a": 500, "b": 500}
    assert [arrival.at for arrival in greedy.arrivals] == [float(second) for second in range(5, 1200, 10)]

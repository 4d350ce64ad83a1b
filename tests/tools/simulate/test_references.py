"""The reference rows do what they say, by hand, and serve everybody on random traffic under every eviction rule."""

import random

import pytest

from supervisor.scheduler import invariants
from supervisor.scheduler.board import Board
from supervisor.scheduler.contracts import Policy
from supervisor.scheduler.policies.fifo import Fifo
from supervisor.scheduler.state import ModelRule, Rules
from tests.support.random_parts import EVICTIONS, NAMES, SOUND
from tests.tools.simulate.cases import FIFO, Arrival, Choice, Cost, World, run, scenario
from tools.simulate.profiles import one_at_a_time
from tools.simulate.references import REFERENCES, DrainBatch
from tools.simulate.scenario import BadScenario

HOT = [Arrival(float(second), "a", 1) for second in range(41)]
HOT_AND_RARE = sorted([*HOT, Arrival(3.0, "b", 1)], key=lambda arrival: arrival.at)


def test_arrival_order_swaps_for_each_request_where_fifo_collates() -> None:
    case = scenario([Arrival(0, "a", 1), Arrival(0, "b", 1), Arrival(0, "a", 1)], Cost(10))
    strict, fifo = run(case, Choice.of("arrival-order")), run(case, FIFO)
    assert (strict.starts, [wait for _, _, wait in strict.waits]) == (3, [10, 21, 32])
    assert (fifo.starts, [wait for _, _, wait in fifo.waits]) == (2, [10, 11, 22])


def test_in_arrival_order_neighbours_share_a_model_but_nobody_is_overtaken() -> None:
    models = ["a", "a", "b", "a", "a"]
    case = scenario([Arrival(0, model, 1) for model in models], Cost(10), one_at_a_time("ab", limit=4))
    record = run(case, Choice.of("arrival-order"))
    assert [(model, wait) for model, _, wait in record.waits] == [("a", 10)] * 2 + [("b", 21)] + [("a", 32)] * 2


def test_drain_first_serves_a_ready_model_until_somebody_elses_request_is_stale() -> None:
    case = scenario(HOT_AND_RARE, Cost(2))
    stale = run(case, Choice.of("drain-first"))
    assert stale.of("b") == [15 + 2]  # at 18 s an exchange of a ends, and nobody is served any more; b loads
    assert stale.starts == 3
    never = run(case, Choice.of("drain-first:staleness=1000"))
    assert never.of("b") == [2 + 41 + 2 - 3]
    assert never.starts == 2


def test_drain_first_is_arrival_order_once_everybody_is_stale() -> None:
    arrivals = [Arrival(0, model, 1) for model in "abab"]
    stale = run(scenario(arrivals, Cost(2)), Choice.of("drain-first:staleness=0"))
    assert stale.waits == run(scenario(arrivals, Cost(2)), Choice.of("arrival-order")).waits
    assert run(scenario(arrivals, Cost(2)), Choice.of("drain-first")).starts == 2


def test_drain_batch_serves_who_waited_when_a_model_became_ready_even_if_others_are_stale() -> None:
    arrivals = [Arrival(0, "a", 1), Arrival(0, "b", 1), Arrival(0, "a", 1), Arrival(0, "b", 1), Arrival(2.5, "a", 1)]
    record = run(scenario(arrivals, Cost(2)), Choice.of("drain-batch:staleness=0"))
    assert [(model, at + wait) for model, at, wait in record.waits] == [
        ("a", 2),
        ("a", 3),
        ("b", 6),
        ("b", 7),
        ("a", 10),
    ]


def test_both_drain_while_nobody_is_stale_and_end_it_for_whoever_is() -> None:
    case = scenario(HOT_AND_RARE, Cost(2))
    assert run(case, Choice.of("drain-batch")).of("b") == run(case, Choice.of("drain-first")).of("b") == [17]


def test_drain_batch_carries_its_accounts_over() -> None:
    policy = DrainBatch(0.0)
    policy.restore({"fresh": ["a"], "owed": {"b": 2}})
    assert policy.snapshot() == {"fresh": ["a"], "owed": {"b": 2}}


def test_llama_swaps_rule_is_fifo_without_claims() -> None:
    case = scenario(HOT_AND_RARE, Cost(2))
    theirs = run(case, Choice.of("llama-swap"))
    assert theirs.waits == run(case, Choice.of("fifo:maxWait=0")).waits
    assert theirs.of("b") == [42]
    assert run(case, Choice.of("fifo:maxWait=5")).of("b")[0] < 12


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("drain-first:stale=3", "there is no such setting; known: staleness|did you mean 'staleness'"),
        ("drain-first:staleness=soon", "found 'soon', expected a number of seconds"),
        ("arrival-order:x=1", "x: arrival-order has no settings"),
        ("fifo:maxWait", "found 'maxWait', expected KEY=VALUE"),
        ("fifo:maxwait=3", "did you mean 'maxWait'"),
        ("arrivalorder", "there is no policy 'arrivalorder'; did you mean 'arrival-order'"),
    ],
)
def test_settings_of_a_policy_are_checked(text: str, said: str) -> None:
    with pytest.raises(BadScenario, match=said):
        run(scenario([Arrival(0, "a", 1)], Cost(1)), Choice.of(text))


class Checked:
    """Holds the invariants after each event."""

    def look(self, board: Board, now: float) -> None:
        invariants.check(board, ())


@pytest.mark.parametrize("eviction", EVICTIONS)
@pytest.mark.parametrize("policy", [Fifo, *REFERENCES.values()])
def test_everybody_is_served_whatever_the_eviction_rule(policy: type[Policy], eviction: str) -> None:
    swaps = 0
    for seed in range(40):
        rng = random.Random(seed)
        rule = ModelRule(limit=rng.randint(1, 3), queue_limit=10_000, queue_timeout=1e9)
        made, problems = policy.parse({}, {})
        assert not problems
        rules = Rules(dict.fromkeys(NAMES, rule), made, EVICTIONS[eviction](seed % SOUND))
        arrivals, now = [], 0.0
        for _ in range(60):
            now += rng.expovariate(rng.choice([0.2, 1.0, 5.0]))
            leaves = rng.choice([None, None, rng.uniform(0, 30)])
            arrivals.append(Arrival(now, rng.choice(NAMES), rng.uniform(0.0, 5.0), cancel_after=leaves))
        costs = dict.fromkeys(map(str, NAMES), Cost(rng.uniform(0, 8), rng.uniform(0, 3)))
        record = World(rules, costs, watcher=Checked()).run(arrivals)
        assert sum(account.open for account in record.models.values()) == 0, f"seed {seed}"
        assert not record.complaints
        assert record.refused == 0
        swaps += record.starts
    assert swaps > 200


def test_no_reference_row_can_be_served_with() -> None:
    from supervisor.scheduler.registry import POLICIES

    assert not set(REFERENCES) & set(POLICIES)

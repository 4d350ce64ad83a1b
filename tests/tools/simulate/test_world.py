"""What happens when in the virtual world, by hand: every number here can be checked with a pencil."""

import tracemalloc
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, ClassVar, Self

import pytest

from protocol.ids import ModelId, Refusal
from supervisor.scheduler.contracts import Choice as Answer
from supervisor.scheduler.contracts import Models, Nothing, Queue, Serve, SettingProblem
from supervisor.scheduler.events import Event, Snapshot
from tests.tools.simulate.cases import FIFO, Arrival, Choice, Cost, Scenario, World, run, scenario
from tools.simulate.profiles import one_at_a_time, with_memory
from tools.simulate.scenario import BadScenario, rules_for
from tools.simulate.timeline import Timeline
from tools.simulate.world import Stuck


def spans(of: Scenario, choice: Choice = FIFO) -> dict[str, list[tuple[str, float, float]]]:
    """What each model did, from when until when."""
    timeline = Timeline()
    record = run(of, choice, timeline)
    return {
        name: [(kind, since, since + lasts) for kind, since, lasts in lane.spans(record.ended)]
        for name, lane in timeline.lanes.items()
    }


def test_a_swap_waits_for_the_exchange_then_for_the_stop_then_for_the_load() -> None:
    case = scenario([Arrival(0, "a", 6), Arrival(1, "b", 2)], {"a": Cost(10, 3), "b": Cost(4)})
    record = run(case, FIFO)
    assert record.waits == [("a", 0, 10), ("b", 1, 22)]  # 10 + 6 until a is idle, 3 to stop it, 4 to load b
    assert record.served == [("", 10, 6), ("", 23, 2)]
    assert (record.starts, record.wasted, record.ended) == (2, 0, 25)
    assert record.share == pytest.approx(8 / 25)
    assert spans(case) == {
        "a": [("starting", 0, 10), ("serving", 10, 16), ("stopping", 16, 19)],
        "b": [("starting", 19, 23), ("serving", 23, 25)],
    }


def test_requests_of_one_model_share_it_up_to_its_limit() -> None:
    arrivals = [Arrival(0, "a", 4), Arrival(0, "a", 6), Arrival(0, "a", 1)]
    record = run(scenario(arrivals, Cost(2), one_at_a_time("a", limit=2)), FIFO)
    assert [wait for _, _, wait in record.waits] == [2, 2, 6]
    assert (record.serving, record.ended) == (6, 8)
    assert record.models["a"].service == 11


def test_models_that_fit_run_beside_each_other_and_the_least_recently_used_makes_room() -> None:
    config = with_memory(10, {"a": 6, "b": 4, "c": 4})
    arrivals = [Arrival(0, "a", 1), Arrival(0, "b", 1), Arrival(10, "a", 1), Arrival(20, "c", 1), Arrival(30, "a", 1)]
    case = scenario(arrivals, Cost(2, 1), config)
    assert [wait for _, _, wait in run(case, FIFO).waits] == [2, 2, 0, 3, 0]
    found = spans(case)
    assert found["b"][-1] == ("stopping", 20, 21)
    assert [kind for kind, _, _ in found["a"]] == ["starting", "serving", "ready", "serving", "ready", "serving"]


def test_a_budget_that_no_model_fits_into_is_told_with_its_path() -> None:
    with pytest.raises(BadScenario, match=r"models.a.memory.gpu0: needs 12 GiB"):
        run(scenario([Arrival(0, "a", 1)], Cost(2), with_memory(10, {"a": 12})), FIFO)


def test_a_client_who_leaves_while_waiting_costs_nothing_but_the_load() -> None:
    record = run(scenario([Arrival(0, "a", 5, cancel_after=4)], Cost(10)), FIFO)
    assert (record.waits, record.models["a"].left, record.refused) == ([], 1, 0)
    assert (record.starts, record.wasted, record.serving) == (1, 1, 0)


def test_a_load_that_nobody_wants_any_more_is_stopped_when_it_is_in_the_way() -> None:
    case = scenario([Arrival(0, "a", 5, cancel_after=4), Arrival(6, "b", 1)], Cost(10, 2))
    assert spans(case) == {
        "a": [("starting", 0, 6), ("stopping", 6, 8)],
        "b": [("starting", 8, 18), ("serving", 18, 19)],
    }
    assert run(case, FIFO).wasted == 1


def test_a_client_who_leaves_while_served_frees_the_model_at_once() -> None:
    record = run(scenario([Arrival(0, "a", 50, cancel_after=12), Arrival(1, "a", 1)], Cost(10)), FIFO)
    assert record.waits == [("a", 0, 10), ("a", 1, 11)]
    assert record.models["a"].service == 3
    assert record.models["a"].left == 0


def test_a_client_who_would_leave_after_the_end_does_not() -> None:
    record = run(scenario([Arrival(0, "a", 1, cancel_after=100)], Cost(10)), FIFO)
    assert record.models["a"].service == 1
    assert record.models["a"].open == 0


def test_a_deadline_is_missed_when_the_load_takes_longer() -> None:
    record = run(scenario([Arrival(0, "a", 1, deadline=9), Arrival(0, "a", 1, deadline=11)], Cost(10)), FIFO)
    assert (record.models["a"].missed, record.refused) == (1, 1)
    assert [wait for _, _, wait in record.waits] == [10]


def test_a_load_that_crashes_refuses_its_waiters_and_the_next_is_told_of_the_pause() -> None:
    arrivals = [Arrival(0, "a", 1), Arrival(2.5, "a", 1), Arrival(9, "a", 1)]
    record = run(scenario(arrivals, Cost(2, crash=1.0)), FIFO)
    assert dict(record.refusals) == {Refusal.START_FAILED: 2, Refusal.BACKING_OFF: 1}
    assert (record.starts, record.wasted, record.waits) == (2, 2, [])


def test_crashes_are_as_likely_as_asked_for_and_their_luck_is_the_same_for_every_policy() -> None:
    arrivals = [Arrival(100.0 * number, "ab"[number % 2], 1) for number in range(1000)]
    case = scenario(arrivals, Cost(2, crash=0.3))
    fifo, strict = run(case, FIFO), run(case, Choice.of("arrival-order"))
    assert 250 < fifo.wasted < 350
    assert fifo.waits == strict.waits
    assert run(replace(case, seed=1), FIFO).waits != fifo.waits
    assert run(case, FIFO).waits == fifo.waits


def test_a_slow_stop_holds_up_whoever_needs_the_room() -> None:
    record = run(scenario([Arrival(0, "a", 1), Arrival(1, "b", 1)], {"a": Cost(1, 60), "b": Cost(1)}), FIFO)
    assert record.of("b") == [1 + 60 + 1]


def test_a_loop_sends_its_next_request_after_the_answer_and_its_pause() -> None:
    loop = [Arrival(3, "a", 1, "x"), Arrival(2, "a", 1, "x"), Arrival(2, "a", 1, "x")]
    record = run(scenario([], Cost(10), loops=[loop]), FIFO)
    assert record.waits == [("a", 3, 10), ("a", 16, 0), ("a", 19, 0)]
    assert record.callers["x"].present == 13
    assert record.began == 3


@pytest.mark.parametrize(
    "first", [Arrival(0, "a", 1, deadline=1), Arrival(0, "a", 50, cancel_after=4), Arrival(0, "a", 1, cancel_after=1)]
)
def test_a_loop_goes_on_after_a_refusal_and_after_its_client_left(first: Arrival) -> None:
    record = run(scenario([], Cost(2), loops=[[first, Arrival(1, "a", 1), Arrival(1, "a", 1)]]), FIFO)
    assert record.models["a"].asked == 3
    assert record.models["a"].served >= 2


def test_a_run_that_is_cut_short_counts_what_was_done_until_then() -> None:
    record = run(scenario([Arrival(0, "a", 10, "x"), Arrival(0, "a", 10, "y")], Cost(2), until=5), FIFO)
    assert (record.serving, record.ended, record.span) == (3, 5, 5)
    assert (record.serving_now, record.models["a"].open) == (1, 2)
    assert record.callers["y"].present == 5


def test_a_storm_of_clients_who_leave_does_not_hold_up_who_comes_later() -> None:
    storm = [Arrival(18.0, "b", 1, "storm", cancel_after=0.5)] * 2000
    record = run(scenario([*storm, Arrival(20.0, "a", 1, "patient")], Cost(5, 1)), FIFO)
    assert (record.callers["storm"].left, record.callers["storm"].served) == (2000, 0)
    assert record.of("a") == [1 + 5]  # the load of b is given up
    assert record.wasted == 1


def test_a_request_that_has_ended_costs_a_few_numbers_and_no_object() -> None:
    case = scenario([], Cost(1), one_at_a_time("a", limit=4))

    def kept(requests: int) -> int:
        """Bytes that world and record hold after so many requests."""
        world = World(rules_for(case.settings, FIFO), case.costs)
        tracemalloc.start()
        world.run(Arrival(number * 0.3, "a", 1.0, f"caller-{number % 7}") for number in range(requests))
        held, _ = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert len(world.record.waits) == requests
        return held

    kept(100)
    assert (kept(6000) - kept(2000)) / 4000 < 50


class Impatient:
    """Wants to be asked again at once, for ever."""

    name: ClassVar[str] = "impatient"
    parks: ClassVar[bool] = False
    min_resident: float = 0.0

    @classmethod
    def parse(cls, settings: Mapping[str, Any], models: Models) -> tuple[Self, list[SettingProblem]]:
        return cls(), []

    def choose(self, queue: Queue, now: float) -> Answer:
        return Nothing(until=now)

    def observe(self, event: Event, now: float) -> None:
        pass

    def snapshot(self) -> Snapshot:
        return {}

    def restore(self, snapshot: Snapshot) -> None:
        pass


class Confused(Impatient):
    """Serves a model that does not exist."""

    def choose(self, queue: Queue, now: float) -> Answer:
        return Serve(ModelId("nobody"), 1)


def test_a_policy_that_never_lets_time_go_on_is_told_of() -> None:
    case = scenario([Arrival(0, "a", 1)], Cost(1))
    rules = replace(rules_for(case.settings, FIFO), policy=Impatient())
    with pytest.raises(Stuck, match=r"'impatient' wants to be asked again and again at 0 s"):
        World(rules, case.costs).run(case.arrivals)


def test_mistakes_of_a_policy_are_kept_and_who_was_never_served_is_open() -> None:
    case = scenario([Arrival(0, "a", 1)], Cost(1), until=100)
    rules = replace(rules_for(case.settings, FIFO), policy=Confused())
    record = World(rules, case.costs).run(case.arrivals, until=100)
    assert record.complaints == ["the policy named 'nobody', which does not exist"]
    assert record.models["a"].open == 1

"""Each measure on numbers that can be checked by hand."""

import pytest

from protocol.ids import Refusal
from tools.simulate.measures import COMPLAINTS, Record, Waits, jain, percentile


def test_percentiles_are_the_nearest_ranks() -> None:
    hundred = [float(number) for number in range(1, 101)]
    assert [percentile(hundred, share) for share in (0.01, 0.5, 0.95, 0.99, 1.0)] == [1, 50, 95, 99, 100]
    assert [percentile([1.0, 2.0, 3.0], share) for share in (0.0, 0.33, 0.34, 0.5, 0.67, 0.99)] == [1, 1, 2, 2, 3, 3]
    assert percentile([7.0], 0.5) == 7.0
    for count in range(1, 500):  # products that binary fractions miss by a little
        assert percentile(range(1, count + 1), 0.95) == -(-95 * count // 100)
        assert percentile(range(1, count + 1), 0.99) == -(-99 * count // 100)


def test_waits_are_summed_up_in_any_order() -> None:
    assert Waits.of([4.0, 1.0, 1.0, 2.0]) == Waits(mean=2.0, p50=1.0, p95=4.0, p99=4.0, worst=4.0)
    assert Waits.of([]) == Waits(None, None, None, None, None)


def test_jains_index_is_one_for_equals_and_one_nth_for_a_single_winner() -> None:
    assert jain([3.0, 3.0, 3.0, 3.0]) == 1.0
    assert jain([5.0, 0.0, 0.0, 0.0]) == 0.25
    assert jain([1.0, 3.0]) == pytest.approx(16 / 20)
    assert jain([]) is None
    assert jain([0.0, 0.0]) is None


def told() -> Record:
    """x is served twice by a, y once by b, z is refused and w leaves."""
    record = Record()
    record.started("a", 1)
    record.asked("a", "x", 10.0)
    record.asked("a", "x", 11.0)
    record.granted("a", "x", 10.0, 12.0, 1)
    record.granted("a", "x", 11.0, 13.0, 1)
    record.ended_exchange("a", "x", 12.0, 15.0)
    record.asked("b", "y", 15.0)
    record.asked("b", "z", 15.0)
    record.asked("b", "w", 15.0)
    record.ended_exchange("a", "x", 13.0, 16.0)
    record.started("b", 2)
    record.left("b", "w", 18.0)
    record.refused_one("b", "z", Refusal.TIMED_OUT, 19.0)
    record.exited("b", 2)
    record.started("b", 3)
    record.granted("b", "y", 15.0, 24.0, 3)
    record.ended_exchange("b", "y", 24.0, 25.0)
    record.started("a", 4)
    record.close(30.0)
    return record


def test_the_time_serving_is_that_with_a_lease_out_from_the_first_arrival_on() -> None:
    record = told()
    assert (record.began, record.ended, record.span) == (10.0, 30.0, 20.0)
    assert record.serving == (16 - 12) + 1
    assert record.share == 0.25


def test_loads_that_served_nobody_are_wasted_also_when_they_run_at_the_end() -> None:
    record = told()
    assert (record.starts, record.wasted) == (4, 2)
    assert (record.models["b"].starts, record.models["b"].wasted) == (2, 1)
    assert (record.models["a"].starts, record.models["a"].wasted) == (2, 1)


def test_waits_are_split_by_model_and_caller() -> None:
    record = told()
    assert record.waits == [("a", 10.0, 2.0), ("a", 11.0, 2.0), ("b", 15.0, 9.0)]
    assert record.summary() == Waits(13 / 3, 2.0, 9.0, 9.0, 9.0)
    assert record.by_model()["b"] == Waits(9.0, 9.0, 9.0, 9.0, 9.0)
    assert record.by_caller()["x"].mean == 2.0
    assert record.by_caller()["z"] == Waits()
    assert record.of(since=10.5) == [2.0, 9.0]
    assert record.of("a", until=10.5) == [2.0]


def test_each_caller_has_his_account() -> None:
    callers = told().callers
    assert {name: (account.asked, account.served, account.refused) for name, account in callers.items()} == {
        "x": (2, 2, 0),
        "y": (1, 1, 0),
        "z": (1, 0, 1),
        "w": (1, 0, 0),
    }
    assert (callers["z"].missed, callers["w"].left) == (1, 1)
    assert {name: account.present for name, account in callers.items()} == {"x": 6, "y": 10, "z": 4, "w": 3}
    assert callers["x"].service == 6


def test_the_index_over_callers_is_of_service_per_second_of_being_there() -> None:
    assert told().jain == jain([6 / 6, 1 / 10, 0.0, 0.0])


def test_of_many_complaints_the_first_are_kept() -> None:
    record = Record()
    for number in range(100):
        record.complain(str(number))
    assert record.complaints == [str(number) for number in range(COMPLAINTS)]

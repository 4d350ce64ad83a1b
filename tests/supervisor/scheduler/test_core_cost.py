"""What an event costs does not depend on how many requests wait for other models. Counted, so no clock is asked.

The times themselves: ``make bench``.
"""

import sys
from types import FrameType

import pytest

from supervisor.scheduler.policies.window import Window
from tools.dev.bench.scheduler import IN_FLIGHT, Traffic

EVENTS = 200


def calls_of(traffic: Traffic) -> int:
    """Calls of functions, ours and Python's own, that these events took."""
    count = 0

    def seen(frame: FrameType, event: str, argument: object) -> None:
        nonlocal count
        count += event in {"call", "c_call"}

    sys.setprofile(seen)
    try:
        traffic.per_event(EVENTS)
    finally:
        sys.setprofile(None)
    return count


@pytest.mark.parametrize("held", [IN_FLIGHT, 0], ids=["busy", "idle after each"])
def test_an_event_costs_the_same_however_many_requests_wait_for_other_models(held: int) -> None:
    few, many = (calls_of(Traffic(100, 5, waiting, held)) for waiting in (94, 10_000))
    print(f"{few / EVENTS:.0f} and {many / EVENTS:.0f} calls an event")
    assert many <= 1.05 * few


def test_an_event_that_leaves_a_model_idle_does_not_try_those_that_wait_for_another_one() -> None:
    one, all_of_them = (calls_of(Traffic(100, 5, waiting, 0)) for waiting in (1, 94))
    assert all_of_them <= 3 * one


@pytest.mark.parametrize("held", [IN_FLIGHT, 0], ids=["busy", "idle after each"])
@pytest.mark.parametrize("callers", [1, 1000])
def test_window_costs_at_most_twice_as_much_as_fifo(held: int, callers: int) -> None:
    fifo = calls_of(Traffic(100, 5, 10_000, held))
    window = calls_of(Traffic(100, 5, 10_000, held, policy=Window(), callers=callers))
    few = calls_of(Traffic(100, 5, 94, held, policy=Window(), callers=callers))
    print(f"{fifo / EVENTS:.0f}, {window / EVENTS:.0f}, with few waiting {few / EVENTS:.0f} calls an event")
    assert window <= 2 * fifo
    assert window <= 1.05 * few

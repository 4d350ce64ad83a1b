"""The best possible schedule of a small case, by exhaustive search: the reference row ``best``.

*Best* is the least makespan. Service times are given, so that is the largest share of time serving, too. The search
knows the whole trace beforehand, and does nothing that the core could not do: one model at a time, one request at a
time in a model, a swap only for a request that waits and only when nothing is served. Within a model requests are
taken in arrival order, which costs nothing: for the makespan of families with set-up times and release dates that
order is optimal (C. Monma and C. Potts, "On the complexity of scheduling with batch setup times", 1989, for the
mirrored problem of lateness).

Every schedule is a path through states (how many of each model are served, which model is resident). To be in a state
earlier is never worse, so of each state the earliest time is kept: all schedules are covered in
``product(requests + 1) * models`` steps, at most ``MOST_STATES``.
"""

import math
from array import array
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

from tools.simulate.measures import Record
from tools.simulate.scenario import BadScenario, Scenario
from tools.simulate.world import FOREVER, Arrival, Cost

MOST_STATES = 1_000_000


class NotSearchable(BadScenario):
    """The case is too large, or of a kind that the search does not know; the text says which."""


@dataclass(frozen=True, slots=True)
class Step:
    """One request of the best schedule. Times in seconds."""

    arrival: Arrival
    swapped: bool
    granted: float
    ended: float


def best(scenario: Scenario) -> Record:
    """The record of the best schedule; ``NotSearchable`` if it cannot be found."""
    return _recorded(schedule(scenario))


def schedule(scenario: Scenario) -> list[Step]:
    """The best schedule, in the order of service. Of equal ones, the one found first."""
    queues = _queues(scenario)
    costs = [scenario.costs[queue[0].model] for queue in queues]
    sizes = [len(queue) + 1 for queue in queues]
    # A state is a row, the served counts in mixed radix, and a resident; to serve one of model i adds strides[i].
    strides = [math.prod(sizes[:index]) for index in range(len(sizes))]
    earliest, came_from = _explore(queues, costs, sizes, strides)
    models = len(queues)
    last = (math.prod(sizes) - 1) * models
    state = min(range(last, last + models), key=earliest.__getitem__)
    steps: list[Step] = []
    while state >= models:
        row, resident = divmod(state, models)
        before = came_from[state]
        served = row // strides[resident] % sizes[resident] - 1
        arrival = queues[resident][served]
        ended = earliest[state]
        steps.append(Step(arrival, before != resident, ended - arrival.service, ended))
        state = (row - strides[resident]) * models + (before if before >= 0 else resident)
    return steps[::-1]


def _explore(
    queues: Sequence[Sequence[Arrival]], costs: Sequence[Cost], sizes: Sequence[int], strides: Sequence[int]
) -> tuple["array[float]", "array[int]"]:
    """The earliest end of what is served in each state, and the resident before its last request; -1: none."""
    models = len(queues)
    rows = math.prod(sizes)
    earliest = array("d", [FOREVER]) * (rows * models)
    came_from = array("b", [-1]) * (rows * models)
    released = [array("d", [arrival.at for arrival in queue]) for queue in queues]
    service = [array("d", [arrival.service for arrival in queue]) for queue in queues]
    start = [cost.start for cost in costs]
    stop = [cost.stop for cost in costs]
    for row in range(rows):
        # In the row of nothing served there is no resident: its one state stands for all.
        residents = [(-1, 0.0)] if row == 0 else [(r, earliest[row * models + r]) for r in range(models)]
        for model in range(models):
            served = row // strides[model] % sizes[model]
            if served + 1 == sizes[model]:
                continue
            release, lasts = released[model][served], service[model][served]
            state = (row + strides[model]) * models + model
            for resident, now in residents:
                ready = max(now, release)
                if resident != model:
                    ready += start[model] + (stop[resident] if resident >= 0 else 0.0)
                if ready + lasts < earliest[state]:
                    earliest[state] = ready + lasts
                    came_from[state] = resident
    return earliest, came_from


def _queues(scenario: Scenario) -> list[list[Arrival]]:
    """The requests of each model, in arrival order."""
    routing = scenario.settings.routing
    if routing.eviction != "group" or routing.eviction_settings:
        raise NotSearchable("best: the search knows one model at a time only, without groups, sets and budgets")
    if scenario.loops:
        raise NotSearchable("best: the search needs requests with given times, not callers who wait for answers")
    if scenario.until < FOREVER:
        raise NotSearchable("best: the search goes on to the end; leave --until out")
    queues: dict[str, list[Arrival]] = {}
    states = 0
    for arrival in scenario.arrivals:
        if arrival.cancel_after is not None or arrival.deadline is not None:
            raise NotSearchable("best: the search does not know clients who leave, nor deadlines")
        queues.setdefault(arrival.model, []).append(arrival)
        states = math.prod(len(queue) + 1 for queue in queues.values()) * len(queues)
        if states > MOST_STATES:
            raise NotSearchable(f"best: more than {MOST_STATES:,} states, too many to search")
    for model in queues:
        if scenario.settings.models[model].concurrency_limit != 1:
            raise NotSearchable(f"best: the search serves one request at a time; {model!r} has another limit")
        if scenario.costs[model].crash > 0.0:
            raise NotSearchable("best: the search does not know loads that fail")
    return list(queues.values())


def _recorded(steps: Sequence[Step]) -> Record:
    """The steps as a record, as if a world had told it of them."""
    record = Record()
    told: list[tuple[float, Callable[[], None]]] = []
    generation = 0
    for step in steps:
        arrival = step.arrival
        who = (arrival.model, arrival.caller)
        told.append((arrival.at, partial(record.asked, *who, arrival.at)))
        if step.swapped:
            generation += 1
            told.append((step.granted, partial(record.started, arrival.model, generation)))
        told.append((step.granted, partial(record.granted, *who, arrival.at, step.granted, generation)))
        told.append((step.ended, partial(record.ended_exchange, *who, step.granted, step.ended)))
    for _, tell in sorted(told, key=lambda entry: entry[0]):  # stable: what ends goes before what begins then
        tell()
    record.close(steps[-1].ended if steps else 0.0)
    return record

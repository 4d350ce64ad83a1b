"""Traffic for the virtual world, and the scenarios of ``supervisor/scheduler/design.md`` (*How long a request waits*).

The same seed gives the same requests. Rates in requests per second, times in seconds.
"""

import random

from protocol.ids import ModelId
from supervisor.scheduler.evictions.group import Groups
from supervisor.scheduler.policies.fifo import Fifo
from supervisor.scheduler.state import ModelRule, Rules
from tools.simulate.measures import Record
from tools.simulate.measures import percentile as percentile
from tools.simulate.world import Arrival, Cost, World

HOUR = 3600.0


def poisson(rng: random.Random, model: str, rate: float, until: float, service: float, spread: bool) -> list[Arrival]:
    """Independent arrivals; service times are exponential if ``spread``, else all the same."""
    found: list[Arrival] = []
    now = rng.expovariate(rate)
    while now < until:
        found.append(Arrival(now, model, rng.expovariate(1.0 / service) if spread else service))
        now += rng.expovariate(rate)
    return found


def rules(models: str, max_wait: float, limit: int = 10) -> Rules:
    """One model at a time, queues as long as it takes."""
    rule = ModelRule(limit=limit, queue_limit=1_000_000, queue_timeout=1e9)
    return Rules({ModelId(name): rule for name in models}, Fifo(max_wait=max_wait), Groups())


def hot_and_rare(max_wait: float, seed: int = 1) -> Record:
    """An hour of 0.5 requests/s for a, 0.02 for b; 6 s service, 20 s swap."""
    rng = random.Random(seed)
    arrivals = poisson(rng, "a", 0.5, HOUR, 6.0, False) + poisson(rng, "b", 0.02, HOUR, 6.0, False)
    arrivals.sort(key=lambda arrival: arrival.at)
    return World(rules("ab", max_wait), {"a": Cost(20.0), "b": Cost(20.0)}).run(arrivals)


def two_equal(seed: int, swap: float, max_wait: float = 60.0, hours: float = 6.0) -> Record:
    """0.2 requests/s for each of two models, exponential service of 6 s."""
    rng = random.Random(seed)
    arrivals = [arrival for name in "ab" for arrival in poisson(rng, name, 0.2, hours * HOUR, 6.0, True)]
    arrivals.sort(key=lambda arrival: arrival.at)
    return World(rules("ab", max_wait), {"a": Cost(swap), "b": Cost(swap)}).run(arrivals)


def alternating(rounds: int, swap: float, service: float, max_wait: float = 60.0) -> Record:
    """One caller who asks a, b, a, b …, each as soon as he has the answer before."""
    world = World(rules("ab", max_wait), {"a": Cost(swap), "b": Cost(swap)})
    return world.run_closed(Arrival(0.0, "ab"[number % 2], service) for number in range(rounds))


LONG_LOAD, RARE_AT = 300.0, 100.0


def long_load(max_wait: float) -> Record:
    """Half an hour of a request for a every second, 6 s service, and one for b while a loads; b starts in 20 s."""
    hot = [Arrival(float(second), "a", 6.0) for second in range(1800)]
    arrivals = sorted([*hot, Arrival(RARE_AT, "b", 6.0)], key=lambda arrival: arrival.at)
    return World(rules("ab", max_wait), {"a": Cost(LONG_LOAD), "b": Cost(20.0)}).run(arrivals)


def bound(*, max_wait: float, lease: float, swap: float, resident: float, ahead: int, behind: int, limit: int) -> float:
    """The bound on a wait that ``design.md`` derives.

    ``lease``, ``swap``: the longest; ``ahead``: claims that the older requests of other models take; ``behind``:
    older requests of the same model.
    """
    claim = 2 * swap + max(resident, swap) + lease
    return max_wait + 2 * (ahead + behind // limit + 1) * claim


def table() -> list[str]:
    """The table in ``design.md``."""
    rows = [
        "| traffic | `maxWait` | mean | 99 % | worst | worst of the rare model | time serving | starts |",
        "| --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    for max_wait in (60.0, 0.0):
        record = hot_and_rare(max_wait)
        rows.append(_row("hot 0.5/s, rare 0.02/s, swap 20 s, 1 h", max_wait, record, record.of("b")[-1]))
    for swap in (60.0, 90.0):
        for max_wait in (60.0, 0.0):
            record = two_equal(0, swap, max_wait)
            rows.append(_row(f"two at 0.2/s, swap {swap:.0f} s, 6 h", max_wait, record, None))
    for max_wait in (60.0, 0.0):
        record = alternating(100, 60.0, 6.0, max_wait)
        rows.append(_row("one caller, A B A B …, 100 times, swap 60 s", max_wait, record, None))
    for max_wait in (60.0, 0.0):
        record = long_load(max_wait)
        rows.append(_row("1/s for half an hour, loads 300 s, one for another", max_wait, record, record.of("b")[-1]))
    return rows


def _row(name: str, max_wait: float, record: Record, rare: float | None) -> str:
    waits = record.of()
    numbers = [sum(waits) / len(waits), percentile(waits, 0.99), waits[-1]]
    cells = [name, f"{max_wait:.0f} s", *(f"{number:.0f} s" for number in numbers)]
    cells.append("" if rare is None else f"{rare:.0f} s")
    return f"| {' | '.join([*cells, f'{100 * record.serving / record.ended:.0f} %', str(record.starts)])} |"

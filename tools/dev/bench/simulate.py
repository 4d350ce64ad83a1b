"""What one simulated event costs, and how long a million simulated requests take.

Poisson traffic of eight callers for four models of which one runs at a time, eight requests at a time in a model.
Policies take turns in one process, so that their ratio means something on a busy machine.
"""

import random
import statistics
import time
from collections.abc import Callable

from config.check import load_text
from supervisor.scheduler.registry import POLICIES
from tools.dev.bench.table import RUNS, Case, measure
from tools.simulate.profiles import one_at_a_time, times
from tools.simulate.scenario import Choice, Scenario, run
from tools.simulate.world import Arrival, Cost

REQUESTS = 20_000
MODELS = ("a", "b", "c", "d")
GAP, SERVICE, SWAP = 0.125, 0.5, 10.0
TARGET = 60.0
"""Microseconds of one event with ``fifo``: a million requests, of two events each, in 120 s."""


def scenario(requests: int = REQUESTS) -> Scenario:
    """The traffic, from a fixed seed."""
    settings = load_text(one_at_a_time(MODELS, limit=8)).settings
    if settings is None:
        raise RuntimeError("the configuration of the bench is not valid")
    rng = random.Random(7)  # noqa: S311 (a seeded generator is what a bench needs)
    arrivals = [
        Arrival(at, rng.choice(MODELS), SERVICE, f"caller-{rng.randrange(8)}") for at in times(rng, requests, GAP)
    ]
    return Scenario(settings, arrivals, dict.fromkeys(MODELS, Cost(SWAP)))


def per_event(policy: str, of: Scenario) -> Callable[[], float]:
    """Seconds of CPU of one event."""

    def once() -> float:
        began = time.process_time()
        record = run(of, Choice.of(policy))
        return (time.process_time() - began) / record.events

    return once


def main() -> None:
    """Print the table."""
    traffic = scenario()
    events = run(traffic, Choice.of("fifo")).events / REQUESTS
    cases = [
        Case(f"simulated event, {policy}", per_event(policy, traffic), TARGET if policy == "fifo" else None)
        for policy in POLICIES
    ]
    print("simulate")
    print("\n".join(measure(cases)))
    fifo = statistics.median(cases[0].run() for _ in range(3))
    print(f"a million requests with fifo, {events:.2f} events each: {1e6 * events * fifo:.0f} s (target 120)")
    if "window" in POLICIES:
        ours = cases[list(POLICIES).index("window")].run
        ratios = [ours() / cases[0].run() for _ in range(RUNS)]
        shown = " ".join(f"{ratio:.2f}" for ratio in ratios)
        print(f"window against fifo, per event: {statistics.median(ratios):.2f} times (target 2); all runs {shown}")

"""Small scenarios for the tests of the simulator."""

from collections.abc import Iterable, Sequence

from config.check import load_text
from config.types import Settings
from tools.simulate.profiles import one_at_a_time
from tools.simulate.scenario import Choice, Scenario, run
from tools.simulate.world import FOREVER, Arrival, Cost, Watcher, World

FIFO = Choice.of("fifo")


def settings(text: str) -> Settings:
    """A configuration that has to be valid."""
    loaded = load_text(text)
    assert loaded.settings is not None, loaded.problems
    return loaded.settings


def scenario(
    arrivals: Iterable[Arrival],
    cost: Cost | dict[str, Cost],
    config: str = one_at_a_time("ab"),
    *,
    loops: Sequence[Sequence[Arrival]] = (),
    seed: int = 0,
    until: float = FOREVER,
) -> Scenario:
    """One model at a time, one request at a time, unless ``config`` says otherwise."""
    found = settings(config)
    costs = cost if isinstance(cost, dict) else dict.fromkeys(found.models, cost)
    return Scenario(found, list(arrivals), costs, loops, seed, until)


__all__ = [
    "FIFO",
    "FOREVER",
    "Arrival",
    "Choice",
    "Cost",
    "Scenario",
    "Watcher",
    "World",
    "run",
    "scenario",
    "settings",
]

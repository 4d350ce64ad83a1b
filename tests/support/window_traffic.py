"""Scenarios for the policy ``window`` in virtual time, and the bounds that ``supervisor/scheduler/design.md`` derives.

Times in seconds. The same seed gives the same requests.
"""

import math
import random
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

from protocol.ids import ModelId
from supervisor.scheduler.contracts import Eviction, Policy
from supervisor.scheduler.evictions.group import Groups
from supervisor.scheduler.policies.window import Settings, Window
from supervisor.scheduler.state import ModelRule, Rules
from tests.support.random_parts import CALLERS, NAMES
from tools.simulate.measures import Record
from tools.simulate.world import Arrival, Cost, World


def rules(models: Iterable[str], policy: Policy, limit: int = 1, eviction: Eviction | None = None) -> Rules:
    """Queues as long as it takes; one model at a time, unless there is another rule."""
    rule = ModelRule(limit=limit, queue_limit=1_000_000, queue_timeout=1e9)
    return Rules({ModelId(name): rule for name in models}, policy, eviction or Groups())


def run(policy: Policy, arrivals: list[Arrival], swap: float, limit: int = 1) -> Record:
    """One model at a time; three quarters of a swap are the start."""
    models = sorted({arrival.model for arrival in arrivals})
    arrivals.sort(key=lambda arrival: arrival.at)
    return World(rules(models, policy, limit), dict.fromkeys(models, Cost(0.75 * swap, 0.25 * swap))).run(arrivals)


def backlog(caller: str, models: str, requests: int, service: float = 0.5) -> list[Arrival]:
    """So many requests at once, for these models in turn."""
    return [Arrival(0.0, models[number % len(models)], service, caller) for number in range(requests)]


def service(record: Record, until: float) -> Counter[str]:
    """Seconds that each caller was served before ``until``."""
    found: Counter[str] = Counter()
    for caller, granted, seconds in record.served:
        found[caller] += max(0.0, min(seconds, until - granted))  # type: ignore[assignment]
    return found


@dataclass(frozen=True, slots=True)
class Scenario:
    """Random traffic with capped leases and swaps."""

    settings: Settings
    limit: int
    lease: float
    start: float
    stop: float
    models: tuple[ModelId, ...]
    arrivals: tuple[Arrival, ...]

    @classmethod
    def of(cls, seed: int) -> "Scenario":
        """The scenario of a seed: one model is hot in most, and everybody asks for some time."""
        rng = random.Random(seed)
        settings = Settings(
            max_wait=rng.choice([0.5, 2.0, 5.0]),
            batch=rng.choice([1.0, 1.5, 3.0]),
            min_resident=rng.choice([0.0, 0.0, 1.0]),
            ageing=rng.choice([0.0, 2.0]),
            priority={name: rng.randint(-1, 2) for name in rng.sample(NAMES, rng.randint(0, 2))},
            weights=rng.choice([{}, {}, {CALLERS[0]: 3.0}]),
        )
        lease, start = rng.choice([0.2, 1.0]), rng.choice([0.1, 0.5])
        models = tuple(rng.sample(NAMES, rng.randint(2, 5)))
        hot, rate, until = rng.random() < 0.7, rng.choice([0.5, 2.0, 6.0]), rng.choice([20.0, 60.0])
        arrivals: list[Arrival] = []
        now = rng.expovariate(rate)
        while now < until and len(arrivals) < 200:
            model = models[0] if hot and rng.random() < 0.9 else rng.choice(models)
            caller = CALLERS[0] if rng.random() < 0.5 else rng.choice(CALLERS)
            arrivals.append(Arrival(now, model, rng.uniform(0.0, lease), caller))
            now += rng.expovariate(rate)
        return cls(settings, rng.randint(1, 3), lease, start, rng.choice([0.0, 0.2]), models, tuple(arrivals))

    def record(self, eviction: Eviction, policy: type[Window] = Window) -> Record:
        """What becomes of it."""
        world = World(
            rules(NAMES, policy(self.settings), self.limit, eviction), dict.fromkeys(NAMES, Cost(self.start, self.stop))
        )
        return world.run(self.arrivals)

    def bound(self, model: str, before: int) -> float:
        """The bound on a wait for ``model``; ``before``: requests for it that got leases meanwhile."""
        return bound(
            self.settings,
            models=len(self.models),
            model=model,
            before=before,
            limit=self.limit,
            lease=self.lease,
            swap=self.start + self.stop,
        )


def bound(settings: Settings, *, models: int, model: str, before: int, limit: int, lease: float, swap: float) -> float:
    """The bound on a wait that ``design.md`` derives. ``models``: for how many requests wait."""
    steps = settings.priority
    highest = max([0, *steps.values()])
    own = steps.get(ModelId(model), 0)
    ripe = max(settings.max_wait, settings.ageing * highest) - settings.ageing * own
    claim = 2 * swap + max(settings.min_resident, swap) + lease
    decision = swap + settings.longest * max((settings.batch - 1) * swap, settings.max_wait)
    return (before // limit + 1) * (ripe + 2 * (models + 1) * (decision + claim))


def overstepped(scenario: Scenario, record: Record) -> list[tuple[str, float, float]]:
    """Waits that are longer than the bound: model, wait, bound."""
    granted: dict[str, list[float]] = {}
    for model, at, wait in record.waits:
        granted.setdefault(model, []).append(at + wait)
    found = []
    for model, at, wait in record.waits:
        before = sum(1 for when in granted[model] if at <= when <= at + wait) - 1
        longest = scenario.bound(model, before)
        if wait > longest or not math.isfinite(wait):
            found.append((model, wait, longest))
    return found
